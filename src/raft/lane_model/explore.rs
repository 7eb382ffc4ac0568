//! Looks at every state that a model can reach, in breadth, so that what leads to a bad one is short.
//!
//! A model says of each step whether it is progress or mischief (a fault, another leader). Without
//! mischief a model must come to its end whichever progress it makes: no state without progress is
//! short of the end, and progress never goes in circles. That is more than a path to the end.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt::Debug;
use std::hash::{Hash, Hasher as _};

/// Something with states and steps between them.
pub(super) trait Model {
    type State: Clone + Debug + Hash;
    type Step: Copy + Debug;

    /// Where it begins.
    fn start(&self) -> Self::State;
    /// The steps that can be taken, and whether they are progress.
    fn steps(&self, state: &Self::State) -> Vec<(Self::Step, bool)>;
    /// Takes a step; says what must not be.
    fn take(&self, state: &mut Self::State, step: Self::Step) -> Result<(), String>;
    /// Whether nothing is left to be done.
    fn is_done(&self, state: &Self::State) -> bool;
}

/// How much was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// The most steps that lead to a state.
    pub(super) depth: usize,
}

/// What must not be, and the steps that lead there.
pub(super) type Violation = String;

struct Search<'m, M: Model> {
    model: &'m M,
    /// The states by their hashes. Two of a million have the same with a probability of 1 to 10⁷.
    found: HashMap<u64, u32>,
    /// From where and how each was reached first.
    origins: Vec<Option<(u32, M::Step)>>,
    progress: Vec<(u32, u32)>,
}

/// Looks at all states.
pub(super) fn explore<M: Model>(model: &M, states_max: usize) -> Result<Explored, Violation> {
    let (found, origins, progress) = (HashMap::new(), Vec::new(), Vec::new());
    let mut search = Search { model, found, origins, progress };
    let start = model.start();
    search.number(&start, None);
    let (mut level, mut explored) = (vec![start], Explored { states: 0, steps: 0, depth: 0 });
    while !level.is_empty() {
        // The states of a level were numbered one after the other.
        let first = (search.origins.len() - level.len()) as u32;
        let mut next = Vec::new();
        for (number, state) in (first..).zip(&level) {
            explored.steps += search.follow(state, number, &mut next)?;
        }
        assert!(search.origins.len() <= states_max, "there are more than {states_max} states");
        explored.depth += usize::from(!next.is_empty());
        level = next;
    }
    search.check_that_progress_ends()?;
    Ok(Explored { states: search.origins.len(), ..explored })
}

impl<M: Model> Search<'_, M> {
    /// The number of a state, and whether it is new.
    fn number(&mut self, state: &M::State, origin: Option<(u32, M::Step)>) -> (u32, bool) {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        match self.found.entry(hasher.finish()) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(place) => {
                let number = self.origins.len() as u32;
                place.insert(number);
                self.origins.push(origin);
                (number, true)
            }
        }
    }

    /// Takes every step from a state.
    fn follow(
        &mut self,
        state: &M::State,
        number: u32,
        next: &mut Vec<M::State>,
    ) -> Result<usize, Violation> {
        let steps = self.model.steps(state);
        if !steps.iter().any(|(_, is_progress)| *is_progress) && !self.model.is_done(state) {
            return Err(self.trace(number, None, "it is stuck"));
        }
        for &(step, is_progress) in &steps {
            let mut after = state.clone();
            if let Err(problem) = self.model.take(&mut after, step) {
                return Err(self.trace(number, Some(step), &problem));
            }
            let (reached, is_new) = self.number(&after, Some((number, step)));
            if is_progress {
                self.progress.push((number, reached));
            }
            if is_new {
                next.push(after);
            }
        }
        Ok(steps.len())
    }

    /// Takes away states to which no progress leads, until there are none; a circle stays.
    fn check_that_progress_ends(&mut self) -> Result<(), Violation> {
        let progress = std::mem::take(&mut self.progress);
        let mut ways_in = vec![0_u32; self.origins.len()];
        // The edges stand in the order of where they begin.
        let mut begins = vec![0_usize; self.origins.len() + 1];
        for &(from, to) in &progress {
            ways_in[to as usize] += 1;
            begins[from as usize + 1] += 1;
        }
        for position in 1..begins.len() {
            begins[position] += begins[position - 1];
        }
        let mut free: Vec<u32> = (0..self.origins.len() as u32).collect();
        free.retain(|state| ways_in[*state as usize] == 0);
        while let Some(state) = free.pop() {
            let state = state as usize;
            for &(_, to) in &progress[begins[state]..begins[state + 1]] {
                ways_in[to as usize] -= 1;
                if ways_in[to as usize] == 0 {
                    free.push(to);
                }
            }
        }
        match ways_in.iter().position(|ways| *ways > 0) {
            Some(state) => Err(self.trace(state as u32, None, "it may go in circles from here")),
            None => Ok(()),
        }
    }

    /// The steps to a state and one more, and where they lead.
    fn trace(&self, number: u32, last: Option<M::Step>, problem: &str) -> Violation {
        let mut steps: Vec<M::Step> = last.into_iter().collect();
        let mut at = number;
        while let Some((from, step)) = self.origins[at as usize] {
            steps.push(step);
            at = from;
        }
        let mut state = self.model.start();
        let mut trace = vec![problem.to_owned()];
        for step in steps.into_iter().rev() {
            trace.push(format!("{step:?}"));
            // The last one may be what must not be.
            let _ = self.model.take(&mut state, step);
        }
        trace.push(format!("{state:#?}"));
        trace.join("\n")
    }
}
