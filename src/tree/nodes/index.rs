//! Which slots have which hash.
//!
//! Never knows a path: whether a slot is the one that is looked for is the caller's question. The
//! table is in 1,024 parts, each of which grows by itself, so that no insertion waits for the whole
//! of it to be built anew; for that, a slot remembers its hash.
//!
//! Invariant: each slot in use is in the part of its hash, once.

use hashbrown::HashTable;

use super::slots::Slots;

/// Bits of a hash that number a part.
const PART_BITS: u32 = 10;

/// The table.
pub(super) struct Index {
    parts: Vec<HashTable<u32>>,
}

impl Index {
    /// A table without slots.
    pub(super) fn new() -> Index {
        Index { parts: (0..1 << PART_BITS).map(|_| HashTable::new()).collect() }
    }

    /// The slot of this hash that is the one.
    pub(super) fn find(
        &self,
        slots: &Slots,
        hash: u32,
        is_it: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let is_it = |&number: &u32| slots.get(number).hash == hash && is_it(number);
        self.part(hash).find(spread(hash), is_it).copied()
    }

    /// Takes a slot in.
    pub(super) fn insert(&mut self, slots: &Slots, number: u32) {
        let hash = slots.get(number).hash;
        let hash_of = |&other: &u32| spread(slots.get(other).hash);
        self.part_mut(hash).insert_unique(spread(hash), number, hash_of);
    }

    /// Leaves a slot out from now on.
    pub(super) fn remove(&mut self, slots: &Slots, number: u32) {
        let hash = slots.get(number).hash;
        if let Ok(entry) = self.part_mut(hash).find_entry(spread(hash), |&other| other == number) {
            entry.remove();
        }
    }

    #[allow(clippy::indexing_slicing, reason = "the highest bits number all parts")]
    fn part(&self, hash: u32) -> &HashTable<u32> {
        &self.parts[(hash >> (u32::BITS - PART_BITS)) as usize]
    }

    #[allow(clippy::indexing_slicing, reason = "the highest bits number all parts")]
    fn part_mut(&mut self, hash: u32) -> &mut HashTable<u32> {
        &mut self.parts[(hash >> (u32::BITS - PART_BITS)) as usize]
    }
}

/// A hash for the tables inside, which use the lowest bits and the highest seven: in both places
/// stand bits that differ within a part.
fn spread(hash: u32) -> u64 {
    u64::from(hash) | (u64::from(hash) << (u32::BITS + PART_BITS))
}
