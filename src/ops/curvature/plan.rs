//! What a device packs and sums at once: runs of the terms of blocks, as many as the memory for packed entries holds. No device,
//! and no bit of H depends on it: a block's terms are summed run by run in any case.

use std::cmp::Reverse;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::Terms;

/// Entries of a tile's side, small and large: a large one reads each packed entry half as often.
const SMALL: usize = 64;
const LARGE: usize = 128;
/// Large tiles are taken where blocks have so many rows on average: else most of a tile would lie outside of its block.
const WIDE: usize = 384;
/// Terms of one f32 sum; `RUN` in the shader.
const RUN: usize = 1024;
/// What the terms of a block are a multiple of.
const STEP: usize = 16;
/// Entries and terms that a workgroup of `pack` gathers.
const SLICE: (usize, usize) = (64, 128);
/// Bytes of packed entries at once, at most: so many are summed for milliseconds even on a fast device.
const SCRATCH: u64 = 256 << 20;
/// Values of a word.
const WORD: usize = 4;

/// As in the shader: what a workgroup packs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(super) struct Slice {
    pub begin: u32,
    pub end: u32,
    pub entry: u32,
    pub entries: u32,
    pub to: u32,
    pub stride: u32,
    pub unused0: u32,
    pub unused1: u32,
}

/// As in the shader: some terms of a block.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(super) struct Block {
    pub begin: u32,
    pub end: u32,
    pub down: u32,
    pub downs: u32,
    pub across: u32,
    pub acrosses: u32,
    pub left: u32,
    pub right: u32,
}

/// As in the shader.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(super) struct Term {
    pub sample: u32,
    pub weight: f32,
}

/// Entries of a tile's side.
pub(super) fn side(rows: &[Vec<usize>]) -> usize {
    let present = rows.iter().filter(|rows| !rows.is_empty()).count();
    let n: usize = rows.iter().map(Vec::len).sum();
    if n / present.max(1) >= WIDE {
        LARGE
    } else {
        SMALL
    }
}

/// Bytes that packed entries have on a device whose bindings hold so many.
pub(super) fn room(binding: u64) -> u64 {
    SCRATCH.min(binding)
}

/// Bytes that packed entries, and what says where they go, take at most: of n entries of H, and so many terms of so many blocks.
pub(super) fn bytes(n: usize, (terms, blocks): (usize, usize), binding: u64) -> u64 {
    // The sides of a pair are at most all entries, each of them up to a tile more.
    let width = n + 2 * LARGE;
    let terms = (terms + blocks * (STEP - 1)) as u64;
    let packed = room(binding).min(4 * width as u64 * terms);
    let slices = (terms / SLICE.1 as u64 + blocks as u64) * width.div_ceil(SLICE.0) as u64;
    packed + size_of::<Slice>() as u64 * slices
}

/// A block of H that has terms: its first row and how many, its first column and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides {
    pub down: usize,
    pub downs: usize,
    pub across: usize,
    pub acrosses: usize,
}

impl Sides {
    /// Those of every list of terms whose classes both have rows.
    pub fn of<'a>(rows: &[Vec<usize>], terms: &[&'a Terms]) -> Vec<(Self, &'a Terms)> {
        let mut start = 0;
        let first = |rows: &Vec<usize>| {
            start += rows.len();
            start - rows.len()
        };
        let first: Vec<usize> = rows.iter().map(first).collect();
        let sides = |terms: &&'a Terms| {
            let sides = Self {
                down: first[terms.a],
                downs: rows[terms.a].len(),
                across: first[terms.b],
                acrosses: rows[terms.b].len(),
            };
            (sides, *terms)
        };
        let there = |(sides, _): &(Self, &Terms)| sides.downs > 0 && sides.acrosses > 0;
        terms.iter().map(sides).filter(there).collect()
    }

    /// Whether it is a class's own.
    fn own(&self) -> bool {
        self.down == self.across
    }

    /// Words of a term in the panel of its rows, and in that of its columns, where that is another one.
    fn widths(&self, side: usize) -> (usize, usize) {
        let words = |entries: usize| entries.next_multiple_of(side) / WORD;
        let right = if self.own() { 0 } else { words(self.acrosses) };
        (words(self.downs), right)
    }

    /// Words of a term in both.
    fn words(&self, side: usize) -> usize {
        let (left, right) = self.widths(side);
        left + right
    }

    /// Its tiles, down and across: of a class's own those on and above its diagonal.
    fn tiles(&self, side: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let own = self.own();
        let across = self.acrosses.div_ceil(side);
        (0..self.downs.div_ceil(side))
            .flat_map(move |i| (if own { i } else { 0 }..across).map(move |j| (i, j)))
    }
}

/// Bytes of the largest table that terms of these blocks need, with so many words of packed entries at once; none where not even
/// one run of some block has room.
pub(super) fn largest(pairs: &[(Sides, &Terms)], (side, room): (usize, usize)) -> Option<usize> {
    let (mut terms, mut slices, mut tiles, mut blocks) = (0, 0, 0, 0);
    for (sides, drawn) in pairs {
        let own = drawn.samples.len().next_multiple_of(STEP);
        let words = sides.words(side);
        if own.min(RUN) * words > room {
            return None;
        }
        // What is left of the room takes some runs, and then each whole room as many as it has place for.
        let runs = (room / (RUN * words)).max(1);
        let parts = 1 + own.div_ceil(RUN).div_ceil(runs);
        terms += own;
        slices += own.div_ceil(SLICE.1) * (words * WORD / SLICE.0);
        tiles += parts * sides.tiles(side).count();
        blocks += parts;
    }
    let tables = [
        size_of::<Term>() * terms,
        size_of::<Slice>() * slices,
        size_of::<[u32; 4]>() * tiles,
        size_of::<Block>() * blocks,
    ];
    tables.into_iter().max()
}

/// What there is to do for some of the samples.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub terms: Vec<Term>,
    pub slices: Vec<Slice>,
    pub blocks: Vec<Block>,
    pub tiles: Vec<[u32; 4]>,
    pub chunks: Vec<Chunk>,
    /// Words of packed entries at once, at most.
    pub words: usize,
    side: usize,
}

/// What is packed, and then summed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk {
    pub slices: Range<usize>,
    pub tiles: Range<usize>,
    /// FLOP of a tile, on average.
    pub flop: f64,
}

impl Plan {
    /// For blocks in tiles of this side, with so many words of packed entries at once.
    pub fn new(
        pairs: &[(Sides, &Terms)],
        samples: &Range<usize>,
        (side, room): (usize, usize),
    ) -> Self {
        let mut plan = Self {
            side,
            ..Self::default()
        };
        let mut used = 0;
        for (sides, terms) in pairs {
            let mut left = plan.gather(terms, samples);
            let words = sides.words(side);
            while !left.is_empty() {
                let here = room.saturating_sub(used) / words;
                let some = match left.len() <= here {
                    true => left.len(),
                    false => here / RUN * RUN,
                };
                if some == 0 && used > 0 {
                    plan.close();
                    used = 0;
                    continue;
                }
                // A run has room where there is nothing else: `largest` says so.
                let some = some.max(RUN.min(left.len()));
                plan.put(sides, left.start..left.start + some, used);
                used += some * words;
                plan.words = plan.words.max(used);
                left.start += some;
            }
        }
        plan.close();
        plan
    }

    /// Adds the terms of some samples, and others without a weight up to a multiple of what goes at once; where they are.
    fn gather(&mut self, terms: &Terms, samples: &Range<usize>) -> Range<usize> {
        let begin = self.terms.len();
        let before = |bound: usize| terms.samples.partition_point(|&i| (i as usize) < bound);
        let some = before(samples.start)..before(samples.end);
        let each = terms.samples[some.clone()].iter().zip(&terms.weights[some]);
        self.terms.extend(each.map(|(&sample, &weight)| Term {
            sample: sample - samples.start as u32,
            weight,
        }));
        let end = begin + (self.terms.len() - begin).next_multiple_of(STEP);
        self.terms.resize(end, Term::zeroed());
        begin..end
    }

    /// Some terms of a block, packed from a word on.
    fn put(&mut self, sides: &Sides, terms: Range<usize>, at: usize) {
        let (left, right) = sides.widths(self.side);
        let across = if sides.own() {
            at
        } else {
            at + left * terms.len()
        };
        let block = self.blocks.len() as u32;
        self.blocks.push(Block {
            begin: terms.start as u32,
            end: terms.end as u32,
            down: sides.down as u32,
            downs: sides.downs as u32,
            across: sides.across as u32,
            acrosses: sides.acrosses as u32,
            left: at as u32,
            right: across as u32,
        });
        let tile = |(down, across): (usize, usize)| [block, down as u32, across as u32, 0];
        self.tiles.extend(sides.tiles(self.side).map(tile));
        self.pack((sides.down, sides.downs), left, &terms, at);
        self.pack((sides.across, sides.acrosses), right, &terms, across);
    }

    /// A panel of some terms, so many words wide, from a word on.
    fn pack(
        &mut self,
        (first, count): (usize, usize),
        width: usize,
        terms: &Range<usize>,
        at: usize,
    ) {
        let stride = width * WORD;
        for begin in terms.clone().step_by(SLICE.1) {
            for entry in (0..stride).step_by(SLICE.0) {
                self.slices.push(Slice {
                    begin: begin as u32,
                    end: (begin + SLICE.1).min(terms.end) as u32,
                    entry: (first + entry) as u32,
                    entries: count.saturating_sub(entry).min(SLICE.0) as u32,
                    to: (at * WORD + (begin - terms.start) * stride + entry) as u32,
                    stride: stride as u32,
                    unused0: 0,
                    unused1: 0,
                });
            }
        }
    }

    /// Nothing more is packed with what was put since the last time. Tiles with the most terms come first: none of them is
    /// begun when all others are done.
    fn close(&mut self) {
        let (slices, tiles) = self
            .chunks
            .last()
            .map_or((0, 0), |last| (last.slices.end, last.tiles.end));
        let some = &mut self.tiles[tiles..];
        if some.is_empty() {
            return;
        }
        let blocks = &self.blocks;
        let terms = |[block, ..]: &[u32; 4]| {
            let block = &blocks[*block as usize];
            block.end - block.begin
        };
        some.sort_by_key(|tile| Reverse(terms(tile)));
        let all: f64 = some.iter().map(|tile| f64::from(terms(tile))).sum();
        let flop = 2.0 * (self.side * self.side) as f64 * all / some.len() as f64;
        self.chunks.push(Chunk {
            slices: slices..self.slices.len(),
            tiles: tiles..self.tiles.len(),
            flop,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: usize = 9_000;

    /// So many terms of a pair of classes, of all samples in turn.
    fn drawn((a, b, count): (usize, usize, usize)) -> Terms {
        Terms {
            a,
            b,
            samples: (0..count).map(|i| (i * SAMPLES / count) as u32).collect(),
            weights: (1..=count).map(|i| i as f32).collect(),
        }
    }

    /// Class 1 has no rows; the pair of 0 and 3 has no terms.
    fn case() -> (Vec<Vec<usize>>, Vec<Terms>) {
        let rows = [150, 0, 64, 20].map(|count| (0..count).collect());
        let terms = [
            (0, 0, 5_000),
            (0, 1, 70),
            (0, 2, 2_100),
            (0, 3, 0),
            (2, 2, 1_024),
            (2, 3, 1),
            (3, 3, 3_333),
        ];
        (rows.into(), terms.map(drawn).into())
    }

    /// A run of the widest block, in words; and more, up to everything at once.
    const ROOMS: [usize; 4] = [64 * 1024, 64 * 1024 + 40_000, 300_000, 1 << 24];

    #[test]
    fn a_run_that_has_no_room_is_said_not_to() {
        let (rows, terms) = case();
        let terms: Vec<&Terms> = terms.iter().collect();
        let pairs = Sides::of(&rows, &terms);
        assert_eq!(pairs.len(), 6);
        assert!(largest(&pairs, (SMALL, ROOMS[0] - 1)).is_none());
        assert!(largest(&pairs, (SMALL, ROOMS[0])).is_some());
    }

    #[test]
    fn whole_runs_of_every_block_are_summed_once_and_in_order() {
        let (rows, terms) = case();
        let terms: Vec<&Terms> = terms.iter().collect();
        let pairs = Sides::of(&rows, &terms);
        for room in ROOMS {
            let plan = Plan::new(&pairs, &(0..SAMPLES), (SMALL, room));
            assert!(plan.words <= room && (plan.chunks.len() == 1) == (room == ROOMS[3]));
            let mut at = 0;
            for (sides, terms) in &pairs {
                let here = |block: &&Block| {
                    (block.down, block.across) == (sides.down as u32, sides.across as u32)
                };
                let (begin, own) = (at, terms.samples.len());
                for block in plan.blocks.iter().filter(here) {
                    assert_eq!((block.begin as usize - begin) % RUN, 0);
                    assert_eq!(block.begin as usize, at);
                    at = block.end as usize;
                }
                assert_eq!(at, begin + own.next_multiple_of(STEP));
                let weights = plan.terms[begin..at].iter().map(|term| term.weight);
                let expected = terms.weights.iter().copied().chain([0.0; STEP]);
                assert!(
                    weights
                        .zip(expected)
                        .all(|(found, expected)| found == expected)
                );
            }
            assert_eq!(at, plan.terms.len());
        }
    }

    #[test]
    fn panels_of_a_chunk_have_places_of_their_own() {
        let (rows, terms) = case();
        let terms: Vec<&Terms> = terms.iter().collect();
        let pairs = Sides::of(&rows, &terms);
        for room in ROOMS {
            let plan = Plan::new(&pairs, &(0..SAMPLES), (SMALL, room));
            for chunk in &plan.chunks {
                let mut of_word = vec![false; plan.words];
                for slice in &plan.slices[chunk.slices.clone()] {
                    assert!((slice.end - slice.begin).is_multiple_of(STEP as u32));
                    for term in 0..slice.end - slice.begin {
                        let first = (slice.to + term * slice.stride) as usize / WORD;
                        for word in &mut of_word[first..first + SLICE.0 / WORD] {
                            assert!(!std::mem::replace(word, true));
                        }
                    }
                }
                let words = |[block, ..]: &[u32; 4]| {
                    let block = &plan.blocks[*block as usize];
                    (block.left, block.right)
                };
                let mut tiles = plan.tiles[chunk.tiles.clone()].iter().map(words);
                assert!(
                    tiles.all(|(left, right)| of_word[left as usize] && of_word[right as usize])
                );
            }
        }
    }

    #[test]
    fn tables_are_as_large_as_was_said_at_most() {
        let (rows, terms) = case();
        let terms: Vec<&Terms> = terms.iter().collect();
        let pairs = Sides::of(&rows, &terms);
        for (side, room) in ROOMS
            .into_iter()
            .flat_map(|room| [(SMALL, room), (LARGE, 2 * room)])
        {
            let said = largest(&pairs, (side, room)).expect("a run has room");
            for samples in [0..SAMPLES, 1_000..7_000] {
                let plan = Plan::new(&pairs, &samples, (side, room));
                let tables = [
                    size_of_val(&*plan.terms),
                    size_of_val(&*plan.slices),
                    size_of_val(&*plan.blocks),
                    size_of_val(&*plan.tiles),
                ];
                assert!(
                    tables.iter().all(|&bytes| bytes <= said),
                    "{tables:?} of {said}"
                );
            }
        }
    }
}
