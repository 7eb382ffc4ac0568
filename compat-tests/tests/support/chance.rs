//! Numbers that look random and come again with the same seed.

use std::hash::{BuildHasher as _, RandomState};

/// The variable that brings a seed back.
pub(crate) const SEED: &str = "ROOKEEPER_TEST_SEED";

/// A source of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// A source for the test `name`, whose seed is printed.
    pub(crate) fn for_test(name: &str) -> Chance {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(name) % 1_000_000);
        super::say(&format!("{name}: {SEED}={seed}"));
        Chance(seed)
    }

    /// A source that always gives the same numbers.
    pub(crate) fn from_seed(seed: u64) -> Chance {
        Chance(seed)
    }

    /// Another source, which does not depend on how far this one is used later.
    pub(crate) fn fork(&mut self) -> Chance {
        Chance(self.number())
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub(crate) fn happens(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number() as u8).collect()
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}
