//! Runs threads one at a time, and goes from one to another wherever a lock is taken, in every order.
//!
//! Threads have only locks in common, so any other order comes to the same as one of these. A thread
//! that is not run like this takes the locks as ever.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Condvar;

/// How long a thread may take for its part, seconds.
const PATIENCE_S: u64 = 30;

/// As [`parking_lot::Mutex`].
pub(in crate::replica) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(in crate::replica) fn new(value: T) -> Mutex<T> {
        Mutex(parking_lot::Mutex::new(value))
    }

    pub(in crate::replica) fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
        acquire(|| self.0.try_lock(), || self.0.lock())
    }
}

/// As [`parking_lot::RwLock`].
pub(in crate::replica) struct RwLock<T>(parking_lot::RwLock<T>);

impl<T> RwLock<T> {
    pub(in crate::replica) fn new(value: T) -> RwLock<T> {
        RwLock(parking_lot::RwLock::new(value))
    }

    pub(in crate::replica) fn read(&self) -> parking_lot::RwLockReadGuard<'_, T> {
        acquire(|| self.0.try_read(), || self.0.read())
    }

    pub(in crate::replica) fn write(&self) -> parking_lot::RwLockWriteGuard<'_, T> {
        acquire(|| self.0.try_write(), || self.0.write())
    }
}

thread_local! {
    /// By what this thread is run, and which it is there.
    static RUN: RefCell<Option<(Arc<Run>, usize)>> = const { RefCell::new(None) };
}

fn acquire<G>(try_once: impl Fn() -> Option<G>, wait: impl FnOnce() -> G) -> G {
    let Some((run, thread)) = RUN.with_borrow(Clone::clone) else { return wait() };
    let mut standing = Standing::Unknown;
    loop {
        let is_chosen = run.await_turn(thread, standing);
        match try_once() {
            Some(guard) if is_chosen => return guard,
            Some(_) => standing = Standing::Free,
            None => standing = Standing::Blocked,
        }
    }
}

/// How a thread stands that has not its turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// It has not begun.
    New,
    /// It wants a lock and has not looked since another thread went on.
    Unknown,
    /// It could take its lock.
    Free,
    /// It could not.
    Blocked,
    Done,
}

/// One order.
struct Run {
    state: parking_lot::Mutex<RunState>,
    changed: Condvar,
}

struct RunState {
    standings: Vec<Standing>,
    /// Who runs, and whether it is to take its lock or only to look whether it could.
    turn: Option<(usize, bool)>,
    /// Which of how many threads that could go on was chosen; the first ones are given.
    given: Vec<usize>,
    chosen: Vec<(usize, usize)>,
}

impl Run {
    fn await_turn(&self, thread: usize, standing: Standing) -> bool {
        let mut state = self.state.lock();
        state.yield_turn(thread, standing);
        self.changed.notify_all();
        loop {
            match state.turn {
                Some((next, is_chosen)) if next == thread => return is_chosen,
                _ => {}
            }
            let waited = self.changed.wait_for(&mut state, Duration::from_secs(PATIENCE_S));
            assert!(!waited.timed_out(), "{:?}: they wait for one another", state.standings);
        }
    }

    fn end(&self, thread: usize) {
        self.state.lock().yield_turn(thread, Standing::Done);
        self.changed.notify_all();
    }
}

impl RunState {
    fn yield_turn(&mut self, thread: usize, standing: Standing) {
        self.standings[thread] = standing;
        self.turn = None;
        if self.standings.contains(&Standing::New) {
            return;
        }
        if let Some(next) = self.standings.iter().position(|one| *one == Standing::Unknown) {
            self.turn = Some((next, false));
            return;
        }
        let is_free = |thread: &usize| self.standings[*thread] == Standing::Free;
        let free: Vec<usize> = (0..self.standings.len()).filter(is_free).collect();
        let choice = self.given.get(self.chosen.len()).copied().unwrap_or(0);
        // Without any, all are done, or they wait until they have waited too long.
        let Some(&next) = free.get(choice) else { return };
        self.chosen.push((choice, free.len()));
        self.turn = Some((next, true));
        let all = self.standings.iter_mut();
        all.filter(|one| **one != Standing::Done).for_each(|one| *one = Standing::Unknown);
    }
}

/// Runs the threads in every order, and `check` after each. How many orders there were.
pub(in crate::replica) fn in_every_order<S: Send + Sync>(
    begin: impl Fn() -> S,
    threads: &[&(dyn Fn(&S) + Sync)],
    check: impl Fn(&S),
) -> usize {
    let mut given = Vec::new();
    for orders in 1.. {
        let subject = begin();
        let standings = vec![Standing::New; threads.len()];
        let state = RunState { standings, turn: None, given, chosen: Vec::new() };
        let run = Arc::new(Run { state: parking_lot::Mutex::new(state), changed: Condvar::new() });
        std::thread::scope(|scope| {
            for (number, thread) in threads.iter().enumerate() {
                let (run, subject) = (Arc::clone(&run), &subject);
                scope.spawn(move || {
                    RUN.set(Some((Arc::clone(&run), number)));
                    // It begins as if with a lock that nobody else wants.
                    acquire(|| Some(()), || ());
                    thread(subject);
                    run.end(number);
                });
            }
        });
        check(&subject);
        let mut chosen = std::mem::take(&mut run.state.lock().chosen);
        while chosen.pop_if(|(choice, count)| *choice + 1 == *count).is_some() {}
        let Some(last) = chosen.last_mut() else { return orders };
        last.0 += 1;
        given = chosen.into_iter().map(|(choice, _)| choice).collect();
    }
    0
}
