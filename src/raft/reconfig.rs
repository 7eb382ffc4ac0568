//! `reconfig`: operators change who belongs to the ensemble while it runs.
//!
//! The leader checks the request as upstream does, in upstream's order, and then changes Raft's members;
//! that entry of the log shows the new configuration to clients wherever it is carried out.
//!
//! Source: ZooKeeper, `PrepRequestProcessor.pRequest2Txn` for `reconfig`, `QuorumPeer.ProposedConfig`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jute::ErrorCode;
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};

use super::barrier::AskLeader;
use super::identity::server_id;
use super::leaving;
use super::members::{is_near, next_name};
use super::shared::Shared;
use super::types::{Member, Membership, TypeConfig};
use super::wire::{Answer, Ask};
use crate::config::{Role, ServerList, ServerSpec};

/// What an operator asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reconfiguration {
    /// Servers that come, or change: `server.N=…`, separated by commas.
    pub joining: Option<String>,
    /// Ids of servers that go, separated by commas.
    pub leaving: Option<String>,
    /// All servers there are to be; the other two are of no account then.
    pub members: Option<String>,
    /// The version that is to be changed; -1: whichever there is.
    pub from_version: i64,
    /// Whether who asks may write the node of the configuration.
    pub is_permitted: bool,
}

type Servers = BTreeMap<u64, ServerSpec>;

/// Has the leader carry it out; tells the entry after which it is so.
pub(super) async fn ask(
    shared: &Shared,
    wish: &Reconfiguration,
) -> io::Result<Result<u64, ErrorCode>> {
    let leader = shared.leader().ok_or_else(|| io::Error::other("there is no leader"))?;
    if leader.node == shared.node() {
        return Ok(carry_out(shared, wish).await);
    }
    match AskLeader::new().ask(shared, leader.node, &Ask::Reconfigure(wish.clone())).await? {
        Answer::Index(index) => Ok(Ok(index)),
        Answer::Failed(code) => {
            let code = ErrorCode::from_number(code);
            Ok(Err(code.ok_or_else(|| io::Error::other("an error without a name"))?))
        }
        other => Err(super::peers::unexpected(&other)),
    }
}

/// Carries it out, on the leader.
pub(super) async fn carry_out(shared: &Shared, wish: &Reconfiguration) -> Result<u64, ErrorCode> {
    let Ok(_alone) = shared.reconfiguring.try_lock() else {
        return Err(ErrorCode::ReconfigInProgress);
    };
    let (Some(raft), Some(membership)) = (shared.raft(), shared.membership()) else {
        return Err(ErrorCode::NewConfigNoQuorum);
    };
    if membership.get_joint_config().len() > 1 {
        return Err(ErrorCode::ReconfigInProgress);
    }
    let (shown, version) = shared.replica.tree().configuration();
    if wish.from_version != -1 && wish.from_version != version.0 {
        return Err(ErrorCode::BadVersion);
    }
    let current: ServerList = shown.parse().map_err(|_| ErrorCode::RuntimeInconsistency)?;
    let may_be_alone = shared.config.as_ref().is_some_and(|config| !config.standalone_enabled);
    let target = target(&current, wish, may_be_alone)?;
    let plan = Plan::new(&membership, &target, shared.clock.wall_ms());
    let synced = plan.voters.iter().filter(|node| is_near(shared, **node)).count();
    if synced * 2 <= plan.voters.len() {
        return Err(ErrorCode::NewConfigNoQuorum);
    }
    if !wish.is_permitted {
        return Err(ErrorCode::NoAuth);
    }
    let gone = plan.leaving.clone();
    let change = ChangeMembers::Batch(vec![
        ChangeMembers::AddNodes(plan.coming),
        ChangeMembers::SetNodes(plan.changed),
        ChangeMembers::ReplaceAllVoters(plan.voters),
    ]);
    tracing::info!("reconfiguring to {:?}", target.keys().collect::<Vec<_>>());
    let changed = raft.change_membership(change, true).await.map_err(|error| failure(&error))?;
    let has_vote =
        shared.membership().is_some_and(|now| now.voter_ids().any(|node| node == shared.node()));
    if !has_vote {
        // It would lead those to whom it does not belong any more.
        leaving::step_aside(shared).await;
    } else if !gone.is_empty() {
        let removed = raft.change_membership(ChangeMembers::RemoveNodes(gone), true).await;
        if let Err(error) = removed {
            tracing::debug!("servers that left are still told of entries: {error}");
        }
    }
    Ok(changed.log_id.index)
}

fn failure(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ErrorCode {
    tracing::warn!("the members stay as they are: {error}");
    match error {
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => {
            ErrorCode::ReconfigInProgress
        }
        _ => ErrorCode::NewConfigNoQuorum,
    }
}

/// The servers there are to be.
fn target(
    current: &ServerList,
    wish: &Reconfiguration,
    may_be_alone: bool,
) -> Result<Servers, ErrorCode> {
    let list = match &wish.members {
        Some(members) => ServerList::replaced(members, !may_be_alone),
        None => current.changed(wish.joining.as_deref(), wish.leaving.as_deref(), !may_be_alone),
    };
    list.map(|list| list.servers).map_err(|problem| {
        tracing::info!("a reconfiguration is refused: {problem}");
        problem.code()
    })
}

/// How the members have to change.
struct Plan {
    coming: BTreeMap<u64, Member>,
    changed: BTreeMap<u64, Member>,
    voters: BTreeSet<u64>,
    leaving: BTreeSet<u64>,
}

impl Plan {
    fn new(membership: &Membership, target: &Servers, wall_ms: i64) -> Plan {
        let voters_now: BTreeSet<u64> = membership.voter_ids().collect();
        let mut plan = Plan {
            coming: BTreeMap::new(),
            changed: BTreeMap::new(),
            voters: BTreeSet::new(),
            leaving: BTreeSet::new(),
        };
        for (id, spec) in target {
            let member = Member::new(spec.to_string());
            let names = || membership.nodes().filter(|(node, _)| server_id(**node) == *id);
            let voter = names().find(|(node, _)| voters_now.contains(node));
            let node = if let Some((node, known)) = voter.or_else(|| names().last()) {
                if *known != member {
                    plan.changed.insert(*node, member);
                }
                *node
            } else {
                let known = membership.nodes().map(|(node, _)| *node);
                let node = next_name(known, *id, wall_ms);
                plan.coming.insert(node, member);
                node
            };
            if spec.role == Role::Participant {
                plan.voters.insert(node);
            }
        }
        for (node, member) in membership.nodes() {
            if !target.contains_key(&server_id(*node)) && !member.is_guest {
                // It is not shown any more, and gets no vote, from the same entry on.
                let guest = Member { line: member.line.clone(), is_guest: true };
                plan.changed.insert(*node, guest);
                plan.leaving.insert(*node);
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Servers {
        text.parse::<ServerList>().unwrap().servers
    }

    fn wish(joining: &str, leaving: &str) -> Reconfiguration {
        Reconfiguration {
            joining: Some(joining.to_owned()),
            leaving: Some(leaving.to_owned()),
            members: None,
            from_version: -1,
            is_permitted: true,
        }
    }

    const THREE: &str = "server.1=a:1:2;1\nserver.2=b:1:2;1\nserver.3=c:1:2:observer;1";

    #[test]
    fn who_leaves_goes_before_who_joins_comes() {
        let now: ServerList = THREE.parse().unwrap();
        let wished = wish("server.4=d:1:2;1,server.3=c:1:2;1", "1,9");
        let after = target(&now, &wished, false).unwrap();
        assert_eq!(after, servers("server.2=b:1:2;1,server.3=c:1:2;1,server.4=d:1:2;1"));
        let all = Reconfiguration { members: Some(THREE.to_owned()), ..wish("x", "x") };
        assert_eq!(target(&now, &all, false).unwrap(), now.servers);
        assert_eq!(target(&now, &wish("", "1"), false), Err(ErrorCode::BadArguments));
        assert!(target(&now, &wish("", "1"), true).is_ok());
    }

    #[test]
    fn members_keep_their_names_and_those_who_leave_lose_their_votes() {
        let nodes: BTreeMap<u64, Member> = servers(THREE)
            .iter()
            .map(|(id, spec)| {
                (super::super::identity::first_node(*id), Member::new(spec.to_string()))
            })
            .collect();
        let names: Vec<u64> = nodes.keys().copied().collect();
        let [one, two, three] = names[..] else { panic!("three servers") };
        let membership = Membership::new(vec![[one, two].into()], nodes).unwrap();
        let after = servers("server.2=b:1:2;1,server.3=c:1:2;1,server.4=d:1:2;1");
        let plan = Plan::new(&membership, &after, 7_000);
        let four = super::super::identity::first_node(4) + 7;
        assert_eq!(plan.voters, BTreeSet::from([two, three, four]));
        assert_eq!(plan.leaving, BTreeSet::from([one]));
        assert_eq!(plan.coming.keys().copied().collect::<Vec<_>>(), [four]);
        assert!(plan.changed.get(&one).is_some_and(|member| member.is_guest));
        assert!(plan.changed.get(&three).is_some_and(|member| !member.is_guest));
        assert!(!plan.changed.contains_key(&two));
    }
}
