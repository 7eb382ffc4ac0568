//! Schedules of faults: what strikes the ensemble, in an order that a seed decides.
//!
//! Each round strikes once, waits, and mends. Which server leads is asked when it matters, so the same
//! seed may strike another server in another run.

use std::time::Duration;

use anyhow::Result;

use super::Ensemble;
use super::chance::Chance;

/// A kind of schedule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Schedule {
    /// Nothing happens.
    Calm,
    /// SIGKILL, one server at a time, often the leader, sometimes all.
    Kill,
    /// SIGTERM, one server after the other.
    Roll,
    /// SIGSTOP and SIGCONT, often the leader.
    Pause,
    /// A follower loses its data.
    Wipe,
    /// One server cannot speak with the others, often the leader.
    Isolate,
    /// Servers hear others that do not hear them.
    OneWay,
    /// Two servers do not reach each other, but both reach a third.
    Bridge,
    /// Ways that fail for moments.
    Flaky,
    /// Lines that are thin.
    Thin,
    /// All of it.
    Mixed,
}

impl Schedule {
    /// Every schedule.
    pub const ALL: &'static [Schedule] = &[
        Schedule::Calm,
        Schedule::Kill,
        Schedule::Roll,
        Schedule::Pause,
        Schedule::Wipe,
        Schedule::Isolate,
        Schedule::OneWay,
        Schedule::Bridge,
        Schedule::Flaky,
        Schedule::Thin,
        Schedule::Mixed,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Schedule::Calm => "calm",
            Schedule::Kill => "kill",
            Schedule::Roll => "roll",
            Schedule::Pause => "pause",
            Schedule::Wipe => "wipe",
            Schedule::Isolate => "isolate",
            Schedule::OneWay => "one-way",
            Schedule::Bridge => "bridge",
            Schedule::Flaky => "flaky",
            Schedule::Thin => "thin",
            Schedule::Mixed => "mixed",
        }
    }

    /// Whether it needs servers that can be cut off.
    pub fn needs_namespaces(self) -> bool {
        match self {
            Schedule::Calm | Schedule::Kill | Schedule::Roll | Schedule::Pause | Schedule::Wipe => {
                false
            }
            Schedule::Isolate
            | Schedule::OneWay
            | Schedule::Bridge
            | Schedule::Flaky
            | Schedule::Thin
            | Schedule::Mixed => true,
        }
    }
}

/// A schedule at work.
pub struct Faults<'a> {
    ensemble: &'a mut Ensemble,
    chance: Chance,
    /// What was done, with words for the report.
    pub struck: Vec<String>,
}

impl Faults<'_> {
    /// A schedule for `ensemble`.
    pub fn new(ensemble: &mut Ensemble, chance: Chance) -> Faults<'_> {
        Faults { ensemble, chance, struck: Vec::new() }
    }

    fn wait(&mut self, from_ms: u64, to_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.chance.between(from_ms, to_ms)));
    }

    fn note(&mut self, what: String) {
        self.struck.push(what);
    }

    /// A victim: the leader as often as not.
    fn victim(&mut self) -> usize {
        let leader = if self.chance.happens(50) { self.ensemble.leader() } else { None };
        let all = self.ensemble.numbers();
        leader.or_else(|| self.chance.pick(&all).copied()).unwrap_or(1)
    }

    /// Some servers that are no majority, and the others.
    fn victims(&mut self) -> (Vec<usize>, Vec<usize>) {
        let first = self.victim();
        let mut others = self.ensemble.numbers();
        others.retain(|number| *number != first);
        self.chance.shuffle(&mut others);
        let minority = (others.len() / 2).max(1);
        let mut victims = others.split_off(others.len() - self.chance.below(minority));
        victims.push(first);
        victims.sort_unstable();
        others.sort_unstable();
        (victims, others)
    }

    /// Strikes and mends once.
    ///
    /// # Errors
    ///
    /// A server ended by itself, or does not come back.
    pub fn round(&mut self, schedule: Schedule) -> Result<()> {
        self.wait(300, 900);
        match schedule {
            Schedule::Calm => self.wait(500, 700),
            Schedule::Kill => self.kill()?,
            Schedule::Roll => self.roll()?,
            Schedule::Pause => self.pause()?,
            Schedule::Wipe => self.wipe()?,
            Schedule::Isolate => self.isolate()?,
            Schedule::OneWay => self.one_way()?,
            Schedule::Bridge => self.bridge()?,
            Schedule::Flaky => self.flaky()?,
            Schedule::Thin => self.thin()?,
            Schedule::Mixed => {
                let kinds = [
                    Schedule::Kill,
                    Schedule::Pause,
                    Schedule::Isolate,
                    Schedule::OneWay,
                    Schedule::Bridge,
                    Schedule::Flaky,
                    Schedule::Thin,
                    Schedule::Roll,
                    Schedule::Wipe,
                ];
                let kind = self.chance.pick(&kinds).copied().unwrap_or(Schedule::Kill);
                return self.round(kind);
            }
        }
        for number in self.ensemble.running() {
            self.ensemble.see_end(number)?;
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let victims =
            if self.chance.happens(20) { self.ensemble.numbers() } else { vec![self.victim()] };
        self.note(format!("kill {victims:?}"));
        for &victim in &victims {
            self.ensemble.kill(victim)?;
        }
        self.wait(100, 1_500);
        for &victim in &victims {
            self.ensemble.launch(victim)?;
        }
        self.ensemble.await_all(super::START_TIMEOUT)
    }

    fn roll(&mut self) -> Result<()> {
        let victim = self.victim();
        self.note(format!("terminate {victim}"));
        self.ensemble.terminate(victim)?;
        self.wait(0, 300);
        self.ensemble.launch(victim)?;
        self.ensemble.await_all(super::START_TIMEOUT)
    }

    fn pause(&mut self) -> Result<()> {
        let victim = self.victim();
        self.note(format!("pause {victim}"));
        self.ensemble.pause(victim)?;
        self.wait(200, 5_000);
        self.ensemble.resume(victim)
    }

    fn wipe(&mut self) -> Result<()> {
        // What a majority has must not get lost: the others are all there and one of them leads.
        self.ensemble.await_all(super::START_TIMEOUT)?;
        let leader = self.ensemble.leader();
        let followers: Vec<usize> =
            self.ensemble.numbers().into_iter().filter(|one| Some(*one) != leader).collect();
        let Some(victim) = self.chance.pick(&followers).copied() else { return Ok(()) };
        self.note(format!("wipe {victim}"));
        self.ensemble.kill(victim)?;
        self.ensemble.wipe(victim)?;
        self.wait(0, 500);
        self.ensemble.launch(victim)?;
        self.ensemble.await_all(super::START_TIMEOUT)
    }

    fn isolate(&mut self) -> Result<()> {
        let (victims, others) = self.victims();
        self.note(format!("isolate {victims:?}"));
        self.cut(&victims, &others)?;
        self.cut(&others, &victims)?;
        self.wait(500, 5_000);
        self.ensemble.mend_all()
    }

    fn one_way(&mut self) -> Result<()> {
        let (victims, others) = self.victims();
        let is_mute = self.chance.happens(50);
        self.note(format!("{} {victims:?}", if is_mute { "mute" } else { "deafen" }));
        let (from, to) = if is_mute { (&victims, &others) } else { (&others, &victims) };
        self.cut(from, to)?;
        self.wait(500, 5_000);
        self.ensemble.mend_all()
    }

    fn cut(&self, from: &[usize], to: &[usize]) -> Result<()> {
        let ways = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
        ways.into_iter().try_for_each(|(from, to)| self.ensemble.net().cut(from, to))
    }

    fn bridge(&mut self) -> Result<()> {
        let mut numbers = self.ensemble.numbers();
        self.chance.shuffle(&mut numbers);
        let [one, two, ..] = numbers.as_slice() else { return Ok(()) };
        self.note(format!("separate {one} and {two}"));
        self.ensemble.net().cut(*one, *two)?;
        self.ensemble.net().cut(*two, *one)?;
        self.wait(500, 5_000);
        self.ensemble.mend_all()
    }

    fn flaky(&mut self) -> Result<()> {
        self.note("flaky ways".to_owned());
        for _ in 0..6 {
            let mut numbers = self.ensemble.numbers();
            self.chance.shuffle(&mut numbers);
            let [one, two, ..] = numbers.as_slice() else { return Ok(()) };
            self.ensemble.net().cut(*one, *two)?;
            self.wait(20, 300);
            self.ensemble.mend_all()?;
            self.wait(50, 300);
        }
        Ok(())
    }

    fn thin(&mut self) -> Result<()> {
        let victim = self.victim();
        self.note(format!("thin line of {victim}"));
        self.ensemble.net().throttle(victim, 128)?;
        self.wait(1_000, 4_000);
        self.ensemble.mend_all()
    }
}
