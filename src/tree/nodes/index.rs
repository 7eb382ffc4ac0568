//! Which slots have which hash: buckets of slots that are chained to one another.
//!
//! There are as many buckets as there ever were slots at once. The table grows by one bucket at a
//! time, which takes its slots from one other (linear hashing), so that no insertion waits for the
//! whole table to be built anew.
//!
//! Invariant: each slot in use is in the chain of its bucket, once.

use super::slots::{NIL, Slots};

/// Buckets in a chunk of the table.
const CHUNK_BUCKETS: usize = 16_384;

/// The table.
pub(super) struct Index {
    /// First slots of the buckets.
    chunks: Vec<Vec<u32>>,
    buckets: usize,
}

impl Index {
    /// A table without slots.
    pub(super) fn new() -> Index {
        let mut index = Index { chunks: Vec::new(), buckets: 0 };
        index.add_bucket();
        index
    }

    /// The slot of this hash that is the one.
    pub(super) fn find(
        &self,
        slots: &Slots,
        hash: u32,
        is_it: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut number = *self.first(self.bucket_of(hash));
        while number != NIL {
            let slot = slots.get(number);
            if slot.hash == hash && is_it(number) {
                return Some(number);
            }
            number = slot.chained;
        }
        None
    }

    /// Takes a slot in.
    pub(super) fn insert(&mut self, slots: &mut Slots, number: u32) {
        let bucket = self.bucket_of(slots.get(number).hash);
        self.chain(slots, bucket, number);
        if slots.len() > self.buckets {
            self.split(slots);
        }
    }

    /// Leaves a slot out from now on.
    pub(super) fn remove(&mut self, slots: &mut Slots, number: u32) {
        let after = slots.get(number).chained;
        let first = self.first_mut(self.bucket_of(slots.get(number).hash));
        if *first == number {
            *first = after;
            return;
        }
        let mut other = *first;
        while other != NIL {
            let slot = slots.get_mut(other);
            if slot.chained == number {
                slot.chained = after;
                return;
            }
            other = slot.chained;
        }
    }

    /// Adds a bucket and gives it what is its own of the bucket that stood in for it.
    fn split(&mut self, slots: &mut Slots) {
        let added = self.buckets;
        let source = added - (1 << added.ilog2());
        self.add_bucket();
        let mut number = std::mem::replace(self.first_mut(source), NIL);
        while number != NIL {
            let slot = slots.get(number);
            let (bucket, next) = (self.bucket_of(slot.hash), slot.chained);
            self.chain(slots, bucket, number);
            number = next;
        }
    }

    fn chain(&mut self, slots: &mut Slots, bucket: usize, number: u32) {
        let first = self.first_mut(bucket);
        slots.get_mut(number).chained = *first;
        *first = number;
    }

    fn add_bucket(&mut self) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_BUCKETS) {
            self.chunks.push(Vec::with_capacity(CHUNK_BUCKETS));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(NIL);
            self.buckets += 1;
        }
    }

    /// The lowest bits of the hash, one fewer of them where there is no such bucket yet.
    fn bucket_of(&self, hash: u32) -> usize {
        let mask = self.buckets.next_power_of_two() - 1;
        let bucket = hash as usize & mask;
        if bucket < self.buckets { bucket } else { bucket & (mask >> 1) }
    }

    #[allow(clippy::indexing_slicing, reason = "a bucket's number is never out of bounds")]
    fn first(&self, bucket: usize) -> &u32 {
        &self.chunks[bucket / CHUNK_BUCKETS][bucket % CHUNK_BUCKETS]
    }

    #[allow(clippy::indexing_slicing, reason = "a bucket's number is never out of bounds")]
    fn first_mut(&mut self, bucket: usize) -> &mut u32 {
        &mut self.chunks[bucket / CHUNK_BUCKETS][bucket % CHUNK_BUCKETS]
    }
}
