//! Everything that was acknowledged since the first start, and whether a server still has it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use jute::SessionId;

use crate::load::{Asked, Holder, LOCKS, Load, TIMEOUT_MS, Visitor, Writer, is_of, number_of};
use crate::model::{Model, Seen};
use crate::support::chance::Chance;
use crate::support::client::{Client, Session};

/// Clients of nodes of their own.
const WRITERS: usize = 3;
/// Clients that come and go.
const VISITORS: usize = 2;
/// Sessions that are left open for the next round.
const KEPT_SESSIONS_MAX: usize = 6;

/// What is known.
pub(crate) struct World {
    writers: Vec<Writer>,
    visitors: Vec<Visitor>,
    kept: Vec<Holder>,
    zxids: BTreeSet<i64>,
    number_max: i64,
    chance: Chance,
}

impl World {
    /// Prepares an empty server.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub(crate) fn new(port: u16, mut chance: Chance) -> Result<World> {
        let mut client = Client::open(port, TIMEOUT_MS)?;
        client.create(LOCKS, b"", 0)?;
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            let root = format!("/w{number}");
            let (_, stat) = client.create(&root, b"", 0)?;
            writers.push(Writer::new(Model::new(&root, &stat), chance.fork()));
        }
        client.close()?;
        let visitors = (0..VISITORS).map(|_| Visitor::new(chance.fork())).collect();
        let (kept, zxids, number_max) = (Vec::new(), BTreeSet::new(), -1);
        Ok(World { writers, visitors, kept, zxids, number_max, chance })
    }

    /// How many writes were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.zxids.len()
    }

    /// Lets the clients work.
    pub(crate) fn work(&mut self, port: u16) -> Load {
        Load::start(port, std::mem::take(&mut self.writers), std::mem::take(&mut self.visitors))
    }

    /// Takes in what the clients remember.
    ///
    /// # Errors
    ///
    /// What one of them was told is wrong, or a zxid came twice.
    pub(crate) fn take(&mut self, load: Load) -> Result<()> {
        (self.writers, self.visitors) = load.finish()?;
        let writers = self.writers.iter_mut().map(|writer| &mut writer.zxids);
        let visitors = self.visitors.iter_mut().map(|visitor| &mut visitor.zxids);
        let told: Vec<i64> = writers.chain(visitors).flat_map(std::mem::take).collect();
        let before = self.zxids.last().copied().unwrap_or_default();
        for zxid in told {
            ensure!(before < zxid, "{zxid:#x} was given after {before:#x}");
            ensure!(self.zxids.insert(zxid), "{zxid:#x} was given twice");
        }
        Ok(())
    }

    /// Compares a restarted server with everything that was acknowledged.
    ///
    /// # Errors
    ///
    /// Something is missing, different or half there.
    pub(crate) fn verify(&mut self, port: u16) -> Result<()> {
        let mut client = Client::open(port, TIMEOUT_MS)?;
        for writer in &mut self.writers {
            let root = writer.acknowledged.root().to_owned();
            verify_writer(writer, &read_below(&mut client, &root)?)
                .with_context(|| format!("below {root}"))?;
        }
        self.verify_sessions(port, &mut client)?;

        let (path, stat) = client.create(&format!("{LOCKS}/lock-"), b"", 3)?;
        let highest = self.zxids.last().copied().unwrap_or_default();
        ensure!(highest < stat.czxid.0, "{:?} is given after {highest:#x}", stat.czxid);
        self.zxids.insert(stat.czxid.0);
        let number = number_of(&path)?;
        ensure!(self.number_max < number, "{path} follows number {}", self.number_max);
        self.number_max = number;
        self.zxids.insert(client.close()?.0);
        Ok(())
    }

    /// Whether each session is there with its node, or gone with it.
    fn verify_sessions(&mut self, port: u16, client: &mut Client) -> Result<()> {
        let found =
            self.visitors.iter_mut().flat_map(|visitor| std::mem::take(&mut visitor.holders));
        let mut holders: Vec<Holder> = std::mem::take(&mut self.kept);
        holders.extend(found);
        let mut places = Vec::new();
        let (names, _) = client.children(LOCKS)?;
        for name in names {
            let path = format!("{LOCKS}/{name}");
            let (_, stat) = client.get(&path)?.with_context(|| format!("{path} is gone"))?;
            places.push((path, stat));
        }
        for mut holder in holders {
            let own: Vec<_> =
                places.iter().filter(|(_, stat)| is_of(stat, holder.session.id)).collect();
            let number = holder.place.as_ref().map(|(path, _)| number_of(path)).transpose()?;
            self.number_max = self.number_max.max(number.unwrap_or(-1));
            let attached = Self::verify_session(port, &holder, &own)?;
            let Some(attached) = attached else { continue };
            holder.place = own.first().map(|place| (*place).clone());
            holder.queued = if holder.place.is_some() { Asked::Done } else { Asked::No };
            if self.kept.len() < KEPT_SESSIONS_MAX && self.chance.happens(40) {
                holder.closed = Asked::No;
                self.kept.push(holder);
                continue;
            }
            self.zxids.insert(attached.close()?.0);
            for (path, _) in own {
                ensure!(client.get(path)?.is_none(), "{path} is there after its session");
            }
        }
        Ok(())
    }

    /// Compares one session; gives a connection to it if it is there.
    fn verify_session(
        port: u16,
        holder: &Holder,
        own: &[&(String, jute::Stat)],
    ) -> Result<Option<Client>> {
        let Holder { session, place, queued, closed } = holder;
        let wrong = Session { password: [7; 16], ..session.clone() };
        ensure!(Client::attach(port, &wrong)?.is_none(), "{} takes any password", session.id);
        let attached = Client::attach(port, session)?;
        match (&attached, closed) {
            (None, Asked::No) => bail!("session {} is gone", session.id),
            (Some(_), Asked::Done) => bail!("session {} is back", session.id),
            (None, Asked::Unanswered | Asked::Done) => {
                ensure!(own.is_empty(), "{own:?} is there without its session");
            }
            (Some(client), Asked::No | Asked::Unanswered) => {
                ensure!(client.session.id == session.id, "another session");
                let found = own.first().map(|place| (*place).clone());
                let may_differ = *queued == Asked::Unanswered && place.is_none();
                ensure!(own.len() < 2, "{own:?} are all of session {}", session.id);
                ensure!(may_differ || found == *place, "{found:?} in place of {place:?}");
            }
        }
        Ok(attached)
    }
}

/// Every node at and below a path.
fn read_below(client: &mut Client, root: &str) -> Result<Seen> {
    let mut seen = Seen::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let (children, _) = client.children(&path)?;
        pending.extend(children.iter().map(|child| format!("{path}/{child}")));
        let (data, stat) = client.get(&path)?.with_context(|| format!("{path} is gone"))?;
        ensure!(stat.ephemeral_owner == SessionId::NONE, "{path} is ephemeral");
        seen.insert(path, (data.to_vec(), stat));
    }
    Ok(seen)
}

/// Finds out how many of the unacknowledged writes were done: the first so many, whole ones.
fn verify_writer(writer: &mut Writer, seen: &Seen) -> Result<()> {
    let model = &mut writer.acknowledged;
    // What was not acknowledged came after all that was.
    let after = writer.zxid_last;
    let mut difference = model.difference(seen, after);
    let first = difference.clone();
    for op in writer.unanswered.drain(..) {
        if difference.is_none() {
            break;
        }
        let _ = model.apply(&op, None);
        difference = model.difference(seen, after);
    }
    if let Some(difference) = difference {
        bail!("with what was acknowledged: {}; with all: {difference}", first.unwrap_or_default());
    }
    model.learn(seen);
    Ok(())
}
