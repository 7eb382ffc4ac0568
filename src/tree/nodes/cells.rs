//! Strings of bytes, close together in memory, each named by four bytes.
//!
//! Strings of about one length share pages, a cell each, which costs neither a header a string nor
//! the rounding of an allocator for everybody. A string too long for that has a page to itself. A
//! page is reserved at once and touched bit by bit. When its last string goes, it goes too, unless no
//! other page of its class has room then: strings that come and go shall not cost a page each time.
//!
//! What this never does: move a string that is not written.
//!
//! Invariant: a page of cells is in the list of its class exactly while it has room.

/// Bits of a cell's name that number the cell within its page; the others number the page.
const INDEX_BITS: u32 = 11;
/// Cells in a page at most.
const CELLS_MAX: usize = 1 << INDEX_BITS;
/// Pages at most. The last number is left out, so that no cell is [`Cell::NONE`].
const PAGES_MAX: usize = (1 << (u32::BITS - INDEX_BITS)) - 1;
/// Bytes of a page that is shared.
const PAGE_BYTES: usize = 256 * 1_024;
/// The longest string that shares a page.
const CELL_BYTES_MAX: usize = PAGE_BYTES / 8;
/// The smallest difference of two cells' lengths.
const STEP_BYTES: usize = 8;
/// Steps up to which cells differ by [`STEP_BYTES`]; above, the step doubles with the length, so
/// that no more than one byte in 33 is lost.
const STEPS: usize = 64;
/// Classes of cells, each of one length.
const CLASSES: usize = STEPS / 2 * (CELL_BYTES_MAX / STEP_BYTES / STEPS).ilog2() as usize + STEPS;
/// No page.
const NIL: u32 = u32::MAX;
/// Cells whose bits make a word.
const WORD_BITS: usize = u64::BITS as usize;

/// Names a string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cell(u32);

impl Cell {
    /// Names no string.
    pub(super) const NONE: Cell = Cell(u32::MAX);

    fn new(page: u32, index: usize) -> Cell {
        Cell((page << INDEX_BITS) | index as u32)
    }

    fn page(self) -> u32 {
        self.0 >> INDEX_BITS
    }

    fn index(self) -> usize {
        self.0 as usize % CELLS_MAX
    }
}

/// Where strings of some length go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Size {
    cell_bytes: usize,
    /// `None`: to a page of their own.
    class: Option<usize>,
}

impl Size {
    fn of(length: usize) -> Size {
        let length = length.max(1);
        if length > CELL_BYTES_MAX {
            return Size { cell_bytes: length, class: None };
        }
        let step = (length.next_power_of_two() / STEPS).max(STEP_BYTES);
        // A step is a power of two.
        let cell_bytes = (length + step - 1) & !(step - 1);
        let doublings = (step / STEP_BYTES).ilog2() as usize;
        Size { cell_bytes, class: Some(doublings * (STEPS / 2) + cell_bytes / step - 1) }
    }

    fn capacity(self) -> usize {
        self.class.map_or(1, |_| (PAGE_BYTES / self.cell_bytes).min(CELLS_MAX))
    }
}

/// Cells of one length.
struct Page {
    /// The cells that were ever used.
    bytes: Vec<u8>,
    cell_bytes: u32,
    capacity: u16,
    /// Cells in use.
    used: u16,
    /// The first of these that has free cells, if any has.
    first_free: u16,
    /// A bit for each cell that is free and was used before.
    free: Vec<u64>,
    /// The neighbours in the list of pages with room, or, of a page that is gone, the next such.
    previous: u32,
    next: u32,
}

impl Page {
    fn new(size: Size) -> Page {
        let capacity = size.capacity();
        Page {
            bytes: Vec::with_capacity(capacity * size.cell_bytes),
            cell_bytes: size.cell_bytes as u32,
            capacity: capacity as u16,
            free: vec![0; capacity.div_ceil(WORD_BITS)],
            ..Page::gone(NIL)
        }
    }

    /// A page that is gone, and the next such.
    fn gone(next: u32) -> Page {
        Page {
            bytes: Vec::new(),
            cell_bytes: 0,
            capacity: 0,
            used: 0,
            first_free: 0,
            free: Vec::new(),
            previous: NIL,
            next,
        }
    }

    /// Takes a cell that is free, of which there is one.
    fn insert(&mut self) -> usize {
        self.used += 1;
        let skipped = usize::from(self.first_free);
        for (word, bits) in self.free.iter_mut().enumerate().skip(skipped) {
            self.first_free = word as u16;
            if *bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                *bits &= *bits - 1;
                return word * WORD_BITS + bit;
            }
        }
        let start = self.bytes.len();
        self.bytes.resize(start + self.cell_bytes as usize, 0);
        start / self.cell_bytes as usize
    }

    /// Frees a cell.
    fn remove(&mut self, index: usize) {
        let word = index / WORD_BITS;
        if let Some(bits) = self.free.get_mut(word) {
            *bits |= 1 << (index % WORD_BITS);
        }
        self.first_free = self.first_free.min(word as u16);
        self.used -= 1;
    }

    fn is_full(&self) -> bool {
        self.used == self.capacity
    }

    #[allow(clippy::indexing_slicing, reason = "a cell's name is never out of bounds")]
    fn cell(&self, index: usize) -> &[u8] {
        let start = index * self.cell_bytes as usize;
        &self.bytes[start..start + self.cell_bytes as usize]
    }

    #[allow(clippy::indexing_slicing, reason = "a cell's name is never out of bounds")]
    fn cell_mut(&mut self, index: usize) -> &mut [u8] {
        let start = index * self.cell_bytes as usize;
        &mut self.bytes[start..start + self.cell_bytes as usize]
    }
}

/// All strings.
pub(super) struct Cells {
    pages: Vec<Page>,
    /// The first of the pages that are gone, whose numbers are free.
    first_gone: u32,
    /// The first page with room of each class.
    with_room: [u32; CLASSES],
}

impl Cells {
    /// No strings.
    pub(super) fn new() -> Cells {
        Cells { pages: Vec::new(), first_gone: NIL, with_room: [NIL; CLASSES] }
    }

    /// The string of this name, and behind it whatever fills its cell.
    pub(super) fn get(&self, cell: Cell) -> &[u8] {
        self.page(cell.page()).cell(cell.index())
    }

    /// The same, to be written.
    pub(super) fn get_mut(&mut self, cell: Cell) -> &mut [u8] {
        self.page_mut(cell.page()).cell_mut(cell.index())
    }

    /// Names a new string of this length, which is to be written.
    ///
    /// # Panics
    ///
    /// If there is no name left: two million strings lie apart or two million pages are in use.
    pub(super) fn insert(&mut self, length: usize) -> Cell {
        let size = Size::of(length);
        let number = self.page_with_room(size);
        let page = self.page_mut(number);
        let index = page.insert();
        if page.is_full() {
            self.unlist(number, size.class);
        }
        Cell::new(number, index)
    }

    /// Names a string anew that is to be written again in another length. What it was is lost.
    pub(super) fn resize(&mut self, cell: Cell, length: usize) -> Cell {
        if Size::of(length).cell_bytes == self.page(cell.page()).cell_bytes as usize {
            return cell;
        }
        self.remove(cell);
        self.insert(length)
    }

    /// Forgets a string.
    pub(super) fn remove(&mut self, cell: Cell) {
        let number = cell.page();
        let page = self.page_mut(number);
        let was_full = page.is_full();
        page.remove(cell.index());
        let is_unused = page.used == 0;
        let class = Size::of(page.cell_bytes as usize).class;

        if was_full {
            self.list(number, class);
        }
        let is_last_with_room =
            class.is_some() && self.page(number).previous == NIL && self.page(number).next == NIL;
        if is_unused && !is_last_with_room {
            self.unlist(number, class);
            *self.page_mut(number) = Page::gone(self.first_gone);
            self.first_gone = number;
        }
    }

    fn page_with_room(&mut self, size: Size) -> u32 {
        let first = size.class.and_then(|class| self.with_room.get(class)).copied();
        if let Some(number) = first.filter(|&number| number != NIL) {
            return number;
        }
        let page = Page::new(size);
        let number = if self.first_gone == NIL {
            assert!(self.pages.len() < PAGES_MAX, "the tree has no more than {PAGES_MAX} pages");
            self.pages.push(page);
            self.pages.len() as u32 - 1
        } else {
            let number = self.first_gone;
            self.first_gone = self.page(number).next;
            *self.page_mut(number) = page;
            number
        };
        self.list(number, size.class);
        number
    }

    /// Puts a page in front of its class's list.
    fn list(&mut self, number: u32, class: Option<usize>) {
        let Some(first) = class.and_then(|class| self.with_room.get_mut(class)) else { return };
        let next = std::mem::replace(first, number);
        if next != NIL {
            self.page_mut(next).previous = number;
        }
        let page = self.page_mut(number);
        (page.previous, page.next) = (NIL, next);
    }

    /// Takes a page out of its class's list.
    fn unlist(&mut self, number: u32, class: Option<usize>) {
        let page = self.page_mut(number);
        let (previous, next) = (page.previous, page.next);
        (page.previous, page.next) = (NIL, NIL);
        let Some(first) = class.and_then(|class| self.with_room.get_mut(class)) else { return };
        if *first == number {
            *first = next;
        }
        if previous != NIL {
            self.page_mut(previous).next = next;
        }
        if next != NIL {
            self.page_mut(next).previous = previous;
        }
    }

    #[allow(clippy::indexing_slicing, reason = "the number of a page is never out of bounds")]
    fn page(&self, number: u32) -> &Page {
        &self.pages[number as usize]
    }

    #[allow(clippy::indexing_slicing, reason = "the number of a page is never out of bounds")]
    fn page_mut(&mut self, number: u32) -> &mut Page {
        &mut self.pages[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use proptest::test_runner::RngSeed;

    use super::*;

    impl Cells {
        /// Pages with room, class by class.
        fn listed(&self) -> Vec<(usize, u32)> {
            let mut listed = Vec::new();
            for (class, &first) in self.with_room.iter().enumerate() {
                let (mut previous, mut number) = (NIL, first);
                while number != NIL {
                    assert_eq!(self.page(number).previous, previous, "page {number}");
                    listed.push((class, number));
                    (previous, number) = (number, self.page(number).next);
                }
            }
            listed
        }

        fn check(&self, strings: usize) {
            let listed = self.listed();
            let distinct: BTreeSet<_> = listed.iter().map(|(_, number)| *number).collect();
            assert_eq!(distinct.len(), listed.len(), "a page is listed once");
            for &(class, number) in &listed {
                let page = self.page(number);
                assert!(!page.is_full(), "page {number} is full");
                assert_eq!(Size::of(page.cell_bytes as usize).class, Some(class));
                let is_unused = |number: u32| self.page(number).used == 0;
                let unused =
                    |(other, number): &&(usize, u32)| *other == class && is_unused(*number);
                assert!(listed.iter().filter(unused).count() <= 1, "class {class} hoards pages");
            }
            let mut used = 0;
            for (number, page) in (0..).zip(&self.pages) {
                assert_eq!(distinct.contains(&number), !page.is_full(), "page {number}");
                used += usize::from(page.used);
                let free: u32 = page.free.iter().map(|word| word.count_ones()).sum();
                let touched = page.bytes.len().checked_div(page.cell_bytes as usize).unwrap_or(0);
                assert_eq!(usize::from(page.used) + free as usize, touched, "page {number}");
            }
            assert_eq!(used, strings);
        }

        /// Bytes that were ever used in pages that are there.
        fn bytes(&self) -> usize {
            self.pages.iter().map(|page| page.bytes.len()).sum()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize),
        Resize(Index, usize),
        Overwrite(Index),
        Remove(Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = || {
            prop_oneof![
                4 => 1..40_usize,
                2 => 500..540_usize,
                6 => 32_000..33_000_usize,
                1 => select(vec![1, CELL_BYTES_MAX, CELL_BYTES_MAX + 1, 300_000]),
            ]
        };
        prop_oneof![
            4 => length().prop_map(Step::Insert),
            3 => (any::<Index>(), length()).prop_map(|(index, length)| Step::Resize(index, length)),
            1 => any::<Index>().prop_map(Step::Overwrite),
            3 => any::<Index>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 200,
            rng_seed: RngSeed::Fixed(0x6365_6c6c),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn strings_stay_what_they_are_whatever_happens_to_others(steps in vec(step(), 1..150)) {
            let mut cells = Cells::new();
            let mut strings: Vec<(Cell, Vec<u8>)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                let string = |length| vec![number as u8 + 1; length];
                match step {
                    Step::Insert(length) => {
                        let cell = cells.insert(length);
                        cells.get_mut(cell)[..length].copy_from_slice(&string(length));
                        strings.push((cell, string(length)));
                    }
                    Step::Resize(index, length) if !strings.is_empty() => {
                        let index = index.index(strings.len());
                        let cell = cells.resize(strings[index].0, length);
                        cells.get_mut(cell)[..length].copy_from_slice(&string(length));
                        strings[index] = (cell, string(length));
                    }
                    Step::Overwrite(index) if !strings.is_empty() => {
                        let index = index.index(strings.len());
                        let (cell, string) = &mut strings[index];
                        string[0] = 0;
                        cells.get_mut(*cell)[0] = 0;
                    }
                    Step::Remove(index) if !strings.is_empty() => {
                        cells.remove(strings.swap_remove(index.index(strings.len())).0);
                    }
                    Step::Resize(..) | Step::Overwrite(_) | Step::Remove(_) => {}
                }
                for (cell, string) in &strings {
                    prop_assert!(cells.get(*cell).starts_with(string), "{:?}", cell);
                }
                cells.check(strings.len());
            }
            for (cell, _) in strings.drain(..) {
                cells.remove(cell);
            }
            cells.check(0);
        }
    }

    #[test]
    fn every_length_has_a_class_and_loses_little() {
        let mut of_class = vec![0; CLASSES];
        for length in 1..=CELL_BYTES_MAX {
            let size = Size::of(length);
            let class = size.class.unwrap();
            assert!(size.cell_bytes >= length, "{length}");
            let lost = size.cell_bytes - length;
            assert!(lost < STEP_BYTES || lost * 33 <= size.cell_bytes, "{length} loses {lost}");
            assert!([0, size.cell_bytes].contains(&of_class[class]), "{length}: {class}");
            of_class[class] = size.cell_bytes;
            assert!((8..=CELLS_MAX).contains(&size.capacity()), "{length}");
        }
        assert!(of_class.is_sorted() && of_class[0] == STEP_BYTES, "{of_class:?}");
        assert_eq!(of_class.last(), Some(&CELL_BYTES_MAX));
        let apart = Size { cell_bytes: CELL_BYTES_MAX + 1, class: None };
        assert_eq!(Size::of(CELL_BYTES_MAX + 1), apart);
        assert_eq!(Size::of(0), Size::of(1));
    }

    #[test]
    fn pages_without_strings_go_and_their_numbers_are_used_again() {
        let mut cells = Cells::new();
        let names: Vec<Cell> = (0..3 * 2_048).map(|_| cells.insert(128)).collect();
        assert_eq!((cells.pages.len(), cells.bytes()), (3, 3 * PAGE_BYTES));

        for name in names {
            cells.remove(name);
        }

        assert_eq!(cells.bytes(), PAGE_BYTES, "one page waits for the next string of its class");
        cells.check(0);
        for _ in 0..2 {
            cells.insert(100_000);
        }
        assert_eq!(cells.pages.len(), 3, "the others' numbers name other pages");
    }
}
