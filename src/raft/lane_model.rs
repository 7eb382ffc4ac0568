//! A model of the way of submissions into the log and of their replies back, of which every state is
//! looked at: whoever leads, and however often something is handed over again, each submission takes
//! effect once, in the order of its server, and is answered once.
//!
//! What numbers, keeps and hands over is the lane's own [`Kept`]; what decides is [`apply`] on a tree.
//! The rest is a model:
//!
//! - Raft: the leader's entries that are not committed, and those of one leader before it. At any time
//!   another leads: the same one in a new term, the old one, or a third one that has as many of either's
//!   entries as it happens to have; the old one's count while nothing else was committed. The old one may
//!   take submissions for as long as it pleases. That is more than Raft allows.
//! - The way to a leader, connection and proposer's queue in one: a pipe, which keeps its order. When a
//!   server leaves it, any part of what is in it may still arrive. A submission may be rejected while
//!   those behind it are taken; the connections to that leader then end some time later.
//! - A server applies its own committed entries one by one or jumps over them (a snapshot), and may start
//!   again.
//!
//! An entry holds one submission; that a batch comes to the same is a test of `tree/lane.rs`.

mod explore;
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;

use self::explore::Model;
use super::lane::Kept;
use crate::tree::{
    Admission, Draft, Holder, Lane, Lanes, Origin, Proposal, Refusal, Submission, Tree, Write,
    apply,
};

/// A submission: the `number`th of a start of a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Message {
    server: u8,
    boot: u8,
    number: u8,
}

/// What a node is to the others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Role {
    Leader,
    /// The leader before it.
    Old,
    Other,
}

/// The way of a server's submissions to a node.
#[derive(Clone, Debug, Hash)]
struct Pipe {
    to: Role,
    messages: Vec<Message>,
    /// The server's attempt, while it has not left.
    attempt: Option<u64>,
    /// Whether the server is about to leave: of another leader, or of a rejection.
    is_over: bool,
}

#[derive(Clone, Debug, Hash)]
struct Server {
    boot: u8,
    lane: Kept<u8>,
    /// The last one is open if any is.
    pipes: Vec<Pipe>,
    /// Its own entries that are committed and not applied here, with the lane after those that were taken.
    unapplied: Vec<(Message, Option<Lane>)>,
    /// By numbers, as bits: those of this start that were answered, and whose clients' connections ended.
    answered: u8,
    parted: u8,
}

/// The faults that may still come.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Mischief {
    elections: u8,
    /// Of connections, and those made to an old leader.
    breaks: u8,
    rejections: u8,
    restarts: u8,
    jumps: u8,
}

#[derive(Clone, Debug, Hash)]
struct State {
    servers: Vec<Server>,
    /// The leader's entries that are not committed.
    log: Vec<Message>,
    /// Those of the old leader, how many of them are also the leader's, whether it could still be elected
    /// with them, and whether it may believe that it leads.
    old_log: Vec<Message>,
    old_shares: usize,
    old_is_eligible: bool,
    old_leads: bool,
    /// The lanes after all that is committed.
    lanes: Vec<Option<Lane>>,
    /// By server and start, the numbers that took effect, as bits.
    effects: Vec<[u8; BOOTS]>,
    mischief: Mischief,
}

const BOOTS: usize = 2;

/// The entries that a new leader has.
#[derive(Clone, Copy, Debug)]
enum Has {
    /// So many of the leader's.
    OfLeader(usize),
    /// So many of the old leader's.
    OfOld(usize),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    HandIn(usize),
    Connect(usize),
    ConnectToOld(usize),
    Send(usize),
    /// Of the pipe's content, so much may still arrive.
    Leave {
        server: usize,
        kept: usize,
    },
    Restart {
        server: usize,
        kept: usize,
    },
    /// To whom the pipe leads takes the next.
    Take {
        server: usize,
        pipe: usize,
    },
    Reject {
        server: usize,
        pipe: usize,
    },
    Commit,
    Apply(usize),
    Jump(usize),
    Elect {
        who: Role,
        has: Has,
    },
}

/// What is wrong on purpose, so that it is seen that it would be found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mutant {
    TakesDuplicates,
    TakesGaps,
    TakesOldBoots,
    BeginsWhereItWas,
    NotesOneMore,
    NotesOneLess,
    /// A rejection ends no connection, and nobody rewinds.
    HidesLosses,
    /// Whoever asked is also told of a number that came out of turn.
    AnswersDuplicates,
}

/// Lanes after submissions, by the lanes before and the submissions.
type Decisions = HashMap<(Option<Lane>, Message), Option<Lane>>;

struct Ensemble {
    /// How many each server is to hand in after each start.
    submissions: Vec<u8>,
    mischief: Mischief,
    mutant: Option<Mutant>,
    /// No more of a server's submissions than these are on the way at a time.
    on_the_way_max: usize,
    /// What the tree has decided before.
    decisions: RefCell<Decisions>,
}

/// A server's bit for a number.
const fn bit(number: u64) -> u8 {
    1 << number
}

/// The bits of all numbers up to one.
const fn bits_through(number: u64) -> u8 {
    (bit(number + 1) - 1) & !1
}

impl Pipe {
    /// Whether its server is about to leave it.
    fn is_left_soon(&self, lane: &Kept<u8>) -> bool {
        self.attempt != Some(lane.attempt) || self.is_over
    }
}

impl Server {
    fn new(boot: u8) -> Server {
        let (pipes, unapplied) = (Vec::new(), Vec::new());
        Server { boot, lane: Kept::new(), pipes, unapplied, answered: 0, parted: 0 }
    }

    fn open(&self) -> Option<&Pipe> {
        self.pipes.last().filter(|pipe| pipe.attempt.is_some())
    }

    /// Leaves its pipe, in which so much stays.
    fn leave(&mut self, kept: usize) {
        if let Some(pipe) = self.pipes.last_mut() {
            pipe.messages.truncate(kept);
            pipe.attempt = None;
        }
    }

    /// Forgets what makes no difference: pipes that nothing comes out of, how high attempts have counted.
    fn tidy(&mut self) {
        // Whoever knows that it does not lead takes nothing.
        let others = self.pipes.iter_mut().filter(|pipe| pipe.to == Role::Other);
        others.for_each(|pipe| pipe.messages.clear());
        self.pipes.retain(|pipe| pipe.attempt.is_some() || !pipe.messages.is_empty());
        for pipe in &mut self.pipes {
            match &mut pipe.attempt {
                None => pipe.is_over = true,
                Some(attempt) => {
                    let is_over = *attempt != self.lane.attempt;
                    (*attempt, self.lane.attempt) = (1, 1 + u64::from(is_over));
                }
            }
        }
        if self.open().is_none() {
            self.lane.attempt = 0;
        }
    }
}

impl Ensemble {
    fn new(
        submissions: &[u8],
        on_the_way_max: usize,
        mischief: Mischief,
        mutant: Option<Mutant>,
    ) -> Ensemble {
        let (submissions, decisions) = (submissions.to_vec(), RefCell::default());
        Ensemble { submissions, mischief, mutant, on_the_way_max, decisions }
    }

    /// What the tree decides, given the lane of the submission's server before; the lane after it if it
    /// takes effect.
    fn decide(&self, lane: Option<Lane>, message: Message) -> Option<Lane> {
        if let Some(lane) = lane {
            let (is_same, number) = (lane.boot == message.boot.into(), message.number.into());
            let is_wrong = match self.mutant {
                Some(Mutant::TakesDuplicates) => is_same && number <= lane.decided,
                Some(Mutant::TakesGaps) => is_same && lane.decided < number,
                Some(Mutant::TakesOldBoots) => u64::from(message.boot) < lane.boot,
                Some(_) | None => false,
            };
            if is_wrong {
                return Some(Lane { boot: message.boot.into(), decided: number });
            }
        }
        let mut decisions = self.decisions.borrow_mut();
        *decisions.entry((lane, message)).or_insert_with(|| decide(lane, message))
    }

    /// How many submissions of a server are on the way.
    fn on_the_way(state: &State, server: usize) -> usize {
        let Server { pipes, unapplied, .. } = &state.servers[server];
        let in_log = state.log.iter().filter(|message| usize::from(message.server) == server);
        in_log.count()
            + unapplied.len()
            + pipes.iter().map(|pipe| pipe.messages.len()).sum::<usize>()
    }

    fn steps_of(&self, state: &State, index: usize, steps: &mut Vec<(Step, bool)>) {
        let server = &state.servers[index];
        let (lane, mischief) = (&server.lane, &state.mischief);
        if lane.next_number() <= u64::from(self.submissions[index]) {
            steps.push((Step::HandIn(index), true));
        }
        let left = server.pipes.len() - usize::from(server.open().is_some());
        // Of what is left, only one more may have something in it.
        let kept = |pipe: &Pipe| 0..=if left < 2 { pipe.messages.len() } else { 0 };
        match server.open() {
            None => {
                let is_room =
                    Self::on_the_way(state, index) + lane.undecided.len() <= self.on_the_way_max;
                if is_room {
                    steps.push((Step::Connect(index), true));
                }
                if is_room && state.old_leads && mischief.breaks > 0 {
                    steps.push((Step::ConnectToOld(index), false));
                }
            }
            Some(pipe) => {
                let is_over = pipe.is_left_soon(lane);
                if pipe.attempt == Some(lane.attempt) && lane.handed_over < lane.undecided.len() {
                    steps.push((Step::Send(index), true));
                }
                if is_over || mischief.breaks > 0 {
                    steps.extend(
                        kept(pipe).map(|kept| (Step::Leave { server: index, kept }, is_over)),
                    );
                }
            }
        }
        if mischief.restarts > 0 {
            let kept = server.open().map_or(0..=0, kept);
            steps.extend(kept.map(|kept| (Step::Restart { server: index, kept }, false)));
        }
        if !server.unapplied.is_empty() {
            steps.push((Step::Apply(index), true));
            if mischief.jumps > 0 {
                steps.push((Step::Jump(index), false));
            }
        }
        for (number, pipe) in
            server.pipes.iter().enumerate().filter(|(_, p)| !p.messages.is_empty())
        {
            let (server, pipe, to) = (index, number, pipe.to);
            match to {
                Role::Leader => {
                    steps.push((Step::Take { server, pipe }, true));
                    if mischief.rejections > 0 {
                        steps.push((Step::Reject { server, pipe }, false));
                    }
                }
                Role::Old if state.old_leads => {
                    if state.old_is_eligible {
                        steps.push((Step::Take { server, pipe }, true));
                    }
                    steps.push((Step::Reject { server, pipe }, true));
                }
                Role::Old | Role::Other => {}
            }
        }
    }

    fn commit(&self, state: &mut State) -> Result<(), String> {
        let message = state.log.remove(0);
        if state.old_shares > 0 {
            state.old_log.remove(0);
            state.old_shares -= 1;
        } else {
            state.old_log.clear();
            state.old_is_eligible = false;
        }
        let server = usize::from(message.server);
        let after = self.decide(state.lanes[server], message);
        if let Some(lane) = after {
            state.lanes[server] = Some(lane);
            let (boot, number) = (usize::from(message.boot), u64::from(message.number));
            let effects = &mut state.effects[server];
            if effects[boot] & bit(number) != 0 {
                return Err(format!("{message:?} takes effect twice"));
            }
            if effects[boot] != bits_through(number - 1) {
                return Err(format!("{message:?} takes effect out of order"));
            }
            if effects[boot + 1..].iter().any(|later| *later != 0) {
                return Err(format!("{message:?} takes effect after its server's next start"));
            }
            effects[boot] |= bit(number);
        }
        state.servers[server].unapplied.push((message, after));
        Ok(())
    }

    /// The server's applier takes its next entry.
    fn apply(&self, state: &mut State, index: usize) -> Result<(), String> {
        let server = &mut state.servers[index];
        let (message, after) = server.unapplied.remove(0);
        if message.boot != server.boot {
            return Ok(());
        }
        let bit = bit(u64::from(message.number));
        match after {
            None if self.mutant == Some(Mutant::HidesLosses) => {}
            None if self.mutant != Some(Mutant::AnswersDuplicates) => {
                server.lane.note_out_of_turn(message.number.into());
            }
            _ if server.answered & bit != 0 => {
                return Err(format!("{message:?} is answered twice"));
            }
            _ => server.answered |= bit & !server.parted,
        }
        self.note_decided(state, index, after)
    }

    fn note_decided(
        &self,
        state: &mut State,
        index: usize,
        lane: Option<Lane>,
    ) -> Result<(), String> {
        let server = &mut state.servers[index];
        let own = lane.filter(|lane| lane.boot == server.boot.into());
        let Some(Lane { decided, .. }) = own else { return Ok(()) };
        server.lane.note_decided(match self.mutant {
            Some(Mutant::NotesOneMore) => decided + 1,
            Some(Mutant::NotesOneLess) => decided - 1,
            Some(_) | None => decided,
        });
        let over = bits_through(server.lane.first - 1);
        if over & !state.effects[index][usize::from(server.boot)] != 0 {
            return Err("what did not take effect is not handed over any more".to_owned());
        }
        Ok(())
    }

    /// The server gets a snapshot with all that is committed: its connections end.
    fn jump(&self, state: &mut State, index: usize) -> Result<(), String> {
        let server = &mut state.servers[index];
        let all = bits_through(server.lane.next_number() - 1);
        server.parted |= all & !server.answered;
        server.unapplied.clear();
        let lane = state.lanes[index];
        self.note_decided(state, index, lane)
    }
}

/// As [`Ensemble::decide`], by the tree.
fn decide(lane: Option<Lane>, message: Message) -> Option<Lane> {
    let (server, boot) = (u64::from(message.server), u64::from(message.boot));
    let mut tree = Tree::new();
    tree.restore_lanes(lane.map(|lane| (server, lane)).into_iter().collect::<Lanes>());
    let holder = Holder { server, boot, connection: 1 };
    let origin = Origin { holder, sequence: message.number.into(), ..Origin::default() };
    let write = Write::Refused(jute::ErrorCode::BadArguments);
    let submission = Submission { origin, admission: Admission::internal(), write };

    let mut draft = Draft::over(&tree);
    let applied = apply(&mut draft, &Proposal { time_ms: 1, submission: &submission });
    let lanes = draft.finish().lanes;
    if matches!(applied.outcome, Err(Refusal::OutOfTurn { .. })) {
        assert_eq!(lanes, None);
        return None;
    }
    Some(lanes.expect("a number was taken")[&server])
}

/// Another leader, or the same one in another term.
fn elect(state: &mut State, who: Role, has: Has) {
    let mut log = match has {
        Has::OfLeader(_) => state.log.clone(),
        Has::OfOld(_) => state.old_log.clone(),
    };
    let (Has::OfLeader(count) | Has::OfOld(count)) = has;
    log.truncate(count);
    if who != Role::Leader {
        let shares = if matches!(has, Has::OfOld(_)) { state.old_shares } else { count };
        state.old_shares = shares.min(count);
        state.old_log = std::mem::replace(&mut state.log, log);
        (state.old_is_eligible, state.old_leads) = (true, true);
    }
    for pipe in state.servers.iter_mut().flat_map(|server| &mut server.pipes) {
        pipe.is_over = true;
        pipe.to = match pipe.to {
            role if who == Role::Leader => role,
            role if role == who => Role::Leader,
            Role::Leader => Role::Old,
            Role::Old | Role::Other => Role::Other,
        };
    }
}

impl Model for Ensemble {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            servers: vec![Server::new(0); self.submissions.len()],
            log: Vec::new(),
            old_log: Vec::new(),
            old_shares: 0,
            old_is_eligible: true,
            old_leads: false,
            lanes: vec![None; self.submissions.len()],
            effects: vec![[0; BOOTS]; self.submissions.len()],
            mischief: self.mischief,
        }
    }

    fn steps(&self, state: &State) -> Vec<(Step, bool)> {
        let mut steps = Vec::new();
        (0..self.submissions.len()).for_each(|server| self.steps_of(state, server, &mut steps));
        if !state.log.is_empty() {
            steps.push((Step::Commit, true));
        }
        if state.mischief.elections > 0 {
            let all = state.log.len();
            let mut elections = vec![(Role::Leader, Has::OfLeader(all))];
            for count in 0..=all {
                elections.push((Role::Old, Has::OfLeader(count)));
                elections.push((Role::Other, Has::OfLeader(count)));
            }
            if state.old_is_eligible {
                let all = state.old_log.len();
                elections.push((Role::Old, Has::OfOld(all)));
                // With fewer it is as if it had them of the leader.
                let own = state.old_shares + 1..=all;
                elections.extend(own.map(|count| (Role::Other, Has::OfOld(count))));
            }
            let elections = elections.into_iter();
            steps.extend(elections.map(|(who, has)| (Step::Elect { who, has }, false)));
        }
        steps
    }

    fn take(&self, state: &mut State, step: Step) -> Result<(), String> {
        match step {
            Step::Commit => self.commit(state)?,
            Step::Elect { who, has } => {
                state.mischief.elections -= 1;
                elect(state, who, has);
            }
            Step::Apply(server) => self.apply(state, server)?,
            Step::Jump(server) => {
                state.mischief.jumps -= 1;
                self.jump(state, server)?;
            }
            Step::HandIn(server) => {
                let lane = &mut state.servers[server].lane;
                lane.keep(lane.next_number() as u8);
            }
            Step::Connect(server) => self.connect(state, server, Role::Leader),
            Step::ConnectToOld(server) => {
                state.mischief.breaks -= 1;
                self.connect(state, server, Role::Old);
            }
            Step::Send(server) => send(state, server),
            Step::Leave { server, kept } => {
                let server = &mut state.servers[server];
                let is_over = server.open().is_some_and(|pipe| pipe.is_left_soon(&server.lane));
                state.mischief.breaks -= u8::from(!is_over);
                server.leave(kept);
            }
            Step::Restart { server, kept } => {
                state.mischief.restarts -= 1;
                let server = &mut state.servers[server];
                server.leave(kept);
                let again = Server::new(server.boot + 1);
                let before = std::mem::replace(server, again);
                (server.pipes, server.unapplied) = (before.pipes, before.unapplied);
            }
            Step::Take { server, pipe } => {
                let pipe = &mut state.servers[server].pipes[pipe];
                let is_leader = pipe.to == Role::Leader;
                let log = if is_leader { &mut state.log } else { &mut state.old_log };
                log.push(pipe.messages.remove(0));
            }
            Step::Reject { server, pipe } => self.reject(state, server, pipe),
        }
        state.servers.iter_mut().for_each(Server::tidy);
        Ok(())
    }

    fn is_done(&self, state: &State) -> bool {
        state.servers.iter().enumerate().all(|(index, server)| {
            let count = u64::from(self.submissions[index]);
            let all = bits_through(count);
            server.lane.first > count
                && state.effects[index][usize::from(server.boot)] == all
                && server.answered ^ server.parted == all
        })
    }
}

impl Ensemble {
    fn connect(&self, state: &mut State, server: usize, to: Role) {
        let Server { lane, pipes, .. } = &mut state.servers[server];
        let handed_over = lane.handed_over;
        let attempt = Some(lane.begin());
        if self.mutant == Some(Mutant::BeginsWhereItWas) {
            lane.handed_over = handed_over;
        }
        let (messages, is_over) = (Vec::new(), to != Role::Leader);
        pipes.push(Pipe { to, messages, attempt, is_over });
    }

    /// The first in the pipe does not reach the log.
    fn reject(&self, state: &mut State, server: usize, pipe: usize) {
        let pipe = &mut state.servers[server].pipes[pipe];
        pipe.messages.remove(0);
        let to = pipe.to;
        state.mischief.rejections -= u8::from(to == Role::Leader);
        if self.mutant == Some(Mutant::HidesLosses) {
            return;
        }
        let pipes = state.servers.iter_mut().flat_map(|server| &mut server.pipes);
        pipes.filter(|pipe| pipe.to == to).for_each(|pipe| pipe.is_over = true);
    }
}

fn send(state: &mut State, index: usize) {
    let Server { boot, lane, pipes, .. } = &mut state.servers[index];
    let Some(pipe) = pipes.last_mut() else { return };
    let Some(attempt) = pipe.attempt else { return };
    let (server, boot) = (index as u8, *boot);
    let numbers = lane.next(attempt, usize::MAX, |_| 1).into_iter().flatten();
    pipe.messages.extend(numbers.map(|&number| Message { server, boot, number }));
}
