//! Who belongs to the ensemble: the members that Raft knows, the configuration that clients are shown,
//! and how the first follow what operators want.
//!
//! A server's name among the members is new whenever its disk was lost, so several names can be of one
//! server for a while. What clients are shown are servers: those who vote, and observers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;

use super::identity::{first_node, server_id};
use super::shared::{Shared, is_observer};
use super::types::{Entry, Member, Membership, log_id};
use super::wire::Answer;
use super::{INCARNATION_BITS, Role};
use crate::config::{EnsembleConfig, Role as ConfiguredRole};

/// Entries that a server may be behind when it gets its vote.
const BEHIND_MAX: u64 = 256;

/// The entry that every ensemble of this configuration begins with, whoever founds it.
pub(super) fn first_entry(config: &EnsembleConfig) -> io::Result<Entry> {
    let all = config.servers.iter();
    let nodes: BTreeMap<u64, Member> =
        all.map(|(id, spec)| (first_node(*id), Member::new(spec.to_string()))).collect();
    let votes = |node: &&u64| {
        config
            .servers
            .get(&server_id(**node))
            .is_some_and(|spec| spec.role == ConfiguredRole::Participant)
    };
    let voters: BTreeSet<u64> = nodes.keys().filter(votes).copied().collect();
    let membership = Membership::new(vec![voters], nodes).map_err(io::Error::other)?;
    Ok(Entry { log_id: log_id(0, 0), payload: openraft::EntryPayload::Membership(membership) })
}

/// The configuration that clients are shown, one line a server.
pub(super) fn text_of(membership: &Membership) -> String {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let mut lines: BTreeMap<u64, (bool, &str)> = BTreeMap::new();
    for (node, member) in membership.nodes() {
        let is_voter = voters.contains(node);
        let is_shown = is_voter || is_observer(&member.line) && !member.is_guest;
        let known = lines.get(&server_id(*node)).is_some_and(|(known, _)| *known && !is_voter);
        if is_shown && !known && !member.line.is_empty() {
            lines.insert(server_id(*node), (is_voter, &member.line));
        }
    }
    let mut text = String::new();
    for (id, (_, line)) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "server.{id}={line}");
    }
    text
}

/// Takes a server in, under a new name. It does not vote until it has caught up; a server that nobody
/// has configured yet is a guest until it is.
pub(super) async fn take_in(shared: &Shared, my_id: u64, line: String) -> io::Result<Answer> {
    let refused = |why: String| Ok(Answer::Refused(why));
    if shared.role() != Role::Leader {
        return refused("this server does not lead".to_owned());
    }
    let raft = shared.raft_or_error()?;
    let (Some(membership), Some(config)) = (shared.membership(), &shared.config) else {
        return refused("this server has no ensemble".to_owned());
    };
    let configured = config.servers.get(&my_id).map(ToString::to_string);
    let known =
        membership.nodes().filter(|(node, member)| server_id(**node) == my_id && !member.is_guest);
    let mut lines: Vec<String> = known.map(|(_, member)| member.line.clone()).collect();
    lines.extend(configured);
    let is_guest = !lines.contains(&line);
    if is_guest && !lines.is_empty() {
        return refused(format!("server.{my_id} is known as {lines:?}, not as {line:?}"));
    }
    if is_guest && !shared.admits_guests {
        return refused(format!("server.{my_id}={line} is none of the servers of the ensemble"));
    }
    let names = || membership.nodes().map(|(node, _)| *node);
    let node = next_name(names(), my_id, shared.clock.wall_ms());
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let is_stale = |other: &u64| server_id(*other) == my_id && !voters.contains(other);
    let stale: BTreeSet<u64> = names().filter(is_stale).collect();
    let member = Member { line, is_guest };
    let added = ChangeMembers::AddNodes(BTreeMap::from([(node, member)]));
    let change = ChangeMembers::Batch(vec![ChangeMembers::RemoveNodes(stale), added]);
    tracing::info!(
        "taking server {my_id} in as node {node:x}{}",
        if is_guest { ", a guest" } else { "" }
    );
    raft.change_membership(change, true).await.map_err(io::Error::other)?;
    Ok(Answer::Joined { cluster: shared.identity()?.cluster, node })
}

/// A name that nobody had before: after all that are known, and later than any whose owner is gone.
pub(super) fn next_name(known: impl Iterator<Item = u64>, my_id: u64, wall_ms: i64) -> u64 {
    let known = known.filter(|node| server_id(*node) == my_id);
    let seconds = (wall_ms / 1_000).clamp(1, i64::from(u32::MAX)) as u64;
    let after = known.max().map_or(0, |node| node + 1);
    after.max(my_id << INCARNATION_BITS | seconds)
}

/// What the leader does about members: a server that has caught up gets its vote, in place of the one
/// that it was before; a server that was standalone says where it is reached, once it has gathered most of
/// the servers of its configuration.
pub(super) async fn keep(shared: &Shared) -> io::Result<()> {
    let (Some(membership), Some(raft)) = (shared.membership(), shared.raft()) else {
        return Ok(());
    };
    if let Some(config) = &shared.config
        && let Some(spec) = config.servers.get(&config.my_id)
        && shared.is_gathering()
    {
        if !has_gathered(shared, config, &membership) {
            return Ok(());
        }
        let own = BTreeMap::from([(shared.node(), Member::new(spec.to_string()))]);
        raft.change_membership(ChangeMembers::SetNodes(own), true)
            .await
            .map_err(io::Error::other)?;
        return Ok(());
    }
    if membership.get_joint_config().len() > 1 {
        return Ok(());
    }
    let moved = moved(&membership, &shared.configured_lines());
    if !moved.is_empty() {
        tracing::info!("servers have other lines than before: {moved:x?}");
        let moved = ChangeMembers::SetNodes(moved);
        raft.change_membership(moved, true).await.map_err(io::Error::other)?;
        return Ok(());
    }
    let is_to_vote = |node: &u64| {
        let member = membership.get_node(node);
        member.is_some_and(|member| !member.is_guest && !is_observer(&member.line))
    };
    let mut ready = membership.learner_ids().filter(is_to_vote);
    let Some(ready) = ready.find(|node| is_near(shared, *node)) else { return Ok(()) };
    let others = membership.voter_ids().filter(|node| server_id(*node) != server_id(ready));
    let voters: BTreeSet<u64> = others.chain([ready]).collect();
    tracing::info!("node {ready:x} has caught up and votes from now on");
    raft.change_membership(voters, false).await.map_err(io::Error::other)?;
    Ok(())
}

/// Members with other lines than these, which replace theirs. Who votes stays as it is.
fn moved(membership: &Membership, lines: &BTreeMap<u64, String>) -> BTreeMap<u64, Member> {
    let moved = membership.nodes().filter_map(|(node, member)| {
        let line = lines.get(&server_id(*node))?;
        let is_same = member.is_guest
            || *line == member.line
            || is_observer(line) != is_observer(&member.line);
        (!is_same).then(|| (*node, Member::new(line.clone())))
    });
    moved.collect()
}

/// Whether most of the servers that are to vote belong to this leader's ensemble and have its log.
fn has_gathered(shared: &Shared, config: &EnsembleConfig, membership: &Membership) -> bool {
    let near: BTreeSet<u64> = membership
        .nodes()
        .filter(|(node, _)| is_near(shared, **node))
        .map(|(node, _)| server_id(*node))
        .collect();
    let votes = config.servers.iter().filter(|(_, spec)| spec.role == ConfiguredRole::Participant);
    let voters: Vec<u64> = votes.map(|(id, _)| *id).collect();
    voters.iter().filter(|id| near.contains(id)).count() * 2 > voters.len()
}

/// Whether a member has nearly all of this leader's log.
pub(super) fn is_near(shared: &Shared, node: u64) -> bool {
    if node == shared.node() {
        return true;
    }
    let Some(metrics) = shared.raft().map(super::RaftHandle::metrics) else { return false };
    let metrics = metrics.borrow_watched();
    let (Some(last), Some(replication)) = (metrics.last_log_index, metrics.replication.as_ref())
    else {
        return false;
    };
    let matched = replication.get(&node).copied().flatten();
    matched.is_some_and(|matched| matched.index + BEHIND_MAX >= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(line: &str, is_guest: bool) -> Member {
        Member { line: line.to_owned(), is_guest }
    }

    #[test]
    fn clients_are_shown_who_votes_and_observers_each_server_once() {
        let (one, two) = (first_node(1), first_node(2));
        let nodes = [
            (one, member("a:1:2:participant", false)),
            // It lost its disk and does not vote again yet.
            (two, member("b:1:2:participant", false)),
            (two + 7, member("b:1:2:participant", false)),
            (first_node(3), member("c:1:2:participant", true)),
            (first_node(4), member("d:1:2:observer", false)),
            (first_node(5), member("e:1:2:observer", true)),
        ];
        let membership = Membership::new(vec![[one, two].into()], BTreeMap::from(nodes)).unwrap();
        let text =
            "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.4=d:1:2:observer\n";
        assert_eq!(text_of(&membership), text);
    }

    #[test]
    fn a_server_that_moved_is_known_by_its_new_line_and_votes_as_before() {
        let nodes = [
            (first_node(1), member("a:1:2:participant", false)),
            (first_node(2), member("b:1:2:participant", false)),
            (first_node(3), member("c:1:2:observer", false)),
            (first_node(4), member("d:1:2:participant", true)),
        ];
        let voters = [first_node(1), first_node(2)].into();
        let membership = Membership::new(vec![voters], BTreeMap::from(nodes)).unwrap();
        let lines = ["a:1:2:participant", "b:9:2:participant", "c:1:2:participant", "d:9:9"];
        let lines = (1..).zip(lines.map(str::to_owned)).collect();
        let expected = BTreeMap::from([(first_node(2), member("b:9:2:participant", false))]);
        assert_eq!(moved(&membership, &lines), expected);
    }

    #[test]
    fn a_name_is_new_even_where_the_one_before_is_unknown() {
        let known = || [first_node(1) + 99_000, first_node(2) + 9_000].into_iter();
        assert_eq!(next_name(known(), 2, 5_000_000), first_node(2) + 9_001);
        assert_eq!(next_name(known(), 2, 9_002_000), first_node(2) + 9_002);
        assert_eq!(next_name(known(), 3, 5_000_000), first_node(3) + 5_000);
    }
}
