//! Where each node lies: its neighbours in the tree, and its cell.
//!
//! A node keeps its slot, and so its number, for life. Slots lie in chunks that are never moved, so
//! that no insertion stalls for long; the slots of nodes that are gone wait in a list.

use super::cells::Cell;

/// Slots in a chunk.
const CHUNK_SLOTS: usize = 16_384;
/// No slot.
pub(super) const NIL: u32 = u32::MAX;

/// Where a node lies.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Half of the hash of its path.
    pub(super) hash: u32,
    /// Its record, name and data; [`Cell::NONE`] of a slot that is free.
    pub(super) cell: Cell,
    pub(super) parent: u32,
    pub(super) first_child: u32,
    /// The neighbours among the parent's children. Of a free slot, `next` is the next such.
    pub(super) previous: u32,
    pub(super) next: u32,
}

const _: () = assert!(size_of::<Slot>() == 24, "a million nodes feel every byte");

/// All slots.
pub(super) struct Slots {
    chunks: Vec<Vec<Slot>>,
    first_free: u32,
    used: usize,
}

impl Slots {
    /// No slots.
    pub(super) fn new() -> Slots {
        Slots { chunks: Vec::new(), first_free: NIL, used: 0 }
    }

    /// How many are in use.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// The numbers of those in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let is_used = |(_, slot): &(usize, &Slot)| slot.cell != Cell::NONE;
        self.chunks.iter().flatten().enumerate().filter(is_used).map(|(number, _)| number as u32)
    }

    #[allow(clippy::indexing_slicing, reason = "the number of a slot is never out of bounds")]
    pub(super) fn get(&self, number: u32) -> &Slot {
        &self.chunks[number as usize / CHUNK_SLOTS][number as usize % CHUNK_SLOTS]
    }

    #[allow(clippy::indexing_slicing, reason = "the number of a slot is never out of bounds")]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut Slot {
        &mut self.chunks[number as usize / CHUNK_SLOTS][number as usize % CHUNK_SLOTS]
    }

    /// Takes a slot into use.
    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        self.used += 1;
        if self.first_free != NIL {
            let number = self.first_free;
            self.first_free = self.get(number).next;
            *self.get_mut(number) = slot;
            return number;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        let before = (self.chunks.len() - 1) * CHUNK_SLOTS;
        let number = self.chunks.last_mut().map_or(0, |chunk| {
            chunk.push(slot);
            before + chunk.len() - 1
        });
        assert!(number < NIL as usize, "the tree holds at most 2^32 - 1 nodes");
        number as u32
    }

    /// Frees a slot.
    pub(super) fn remove(&mut self, number: u32) {
        let next = self.first_free;
        let slot = self.get_mut(number);
        (slot.cell, slot.next) = (Cell::NONE, next);
        self.first_free = number;
        self.used -= 1;
    }
}
