//! What lies where on a device: orderings one after another, cut into pieces, for any block of samples.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::Params;
use crate::gpu::Layout;

/// Points of a piece.
const PIECE: usize = 256;

/// Walks that keep a device busy: where samples and orderings are as many, orderings stay whole, which is a pass less.
const BUSY: usize = 1 << 17;

/// Points of a word of hits.
const WORD: usize = 32;

/// Words of four classes that a thread may hold in registers. Compilers spill more.
const QUADS: [usize; 3] = [4, 8, 16];

/// Where an ordering's numbers lie.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Span {
    pub start: u32,
    pub length: u32,
    pub row: u32,
    pub point: u32,
    pub piece: u32,
    pub pieces: u32,
}

pub(super) const SPAN: Layout = Layout {
    name: "Span",
    size: size_of::<Span>(),
    fields: &[
        ("start", offset_of!(Span, start)),
        ("length", offset_of!(Span, length)),
        ("row", offset_of!(Span, row)),
        ("point", offset_of!(Span, point)),
        ("piece", offset_of!(Span, piece)),
        ("pieces", offset_of!(Span, pieces)),
    ],
};

/// Some points of an ordering that follow one another.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Piece {
    start: u32,
    length: u32,
    points: u32,
    row: u32,
    place: u32,
}

pub(super) const PIECES: Layout = Layout {
    name: "Piece",
    size: size_of::<Piece>(),
    fields: &[
        ("start", offset_of!(Piece, start)),
        ("length", offset_of!(Piece, length)),
        ("points", offset_of!(Piece, points)),
        ("row", offset_of!(Piece, row)),
        ("place", offset_of!(Piece, place)),
    ],
};

/// What is where.
pub(super) struct Plan {
    pub classes: usize,
    /// The neurons that any ordering lists, ascending: only they go to the device.
    pub used: Vec<usize>,
    /// All orderings one after another, as places in `used`.
    pub orders: Vec<u32>,
    pub spans: Vec<Span>,
    pub pieces: Vec<Piece>,
    /// Rows of hits, and points, of all orderings.
    pub rows: usize,
    pub points: usize,
    pub longest: usize,
}

impl Plan {
    /// `samples` are those of all devices: whether orderings are cut is to depend on what is asked for alone.
    pub(super) fn new(params: &Params<'_>, samples: usize) -> Self {
        let mut used: Vec<usize> = params.orderings.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        let mut place = vec![0u32; params.weights.ncols()];
        for (at, &neuron) in (0u32..).zip(&used) {
            place[neuron] = at;
        }
        let mut plan = Self {
            classes: params.weights.nrows(),
            used,
            orders: Vec::new(),
            spans: Vec::new(),
            pieces: Vec::new(),
            rows: 0,
            points: 0,
            longest: 0,
        };
        let is_cut = samples.saturating_mul(params.orderings.len()) < BUSY;
        for ordering in params.orderings {
            let piece = if is_cut { PIECE } else { usize::MAX };
            plan.add(piece, ordering.iter().map(|&neuron| place[neuron]));
        }
        plan
    }

    /// Adds an ordering in pieces of so many points.
    fn add(&mut self, piece: usize, ordering: impl ExactSizeIterator<Item = u32>) {
        let length = ordering.len();
        let points = length + 1;
        let size = piece.min(points) as u32;
        let span = Span {
            start: self.orders.len() as u32,
            length: length as u32,
            row: self.rows as u32,
            point: self.points as u32,
            piece: self.pieces.len() as u32,
            pieces: points.div_ceil(piece) as u32,
        };
        let piece = |place: u32| {
            let from = place * size;
            Piece {
                start: span.start + from,
                length: span.length - from,
                points: (points as u32 - from).min(size),
                row: span.row + from / WORD as u32,
                place,
            }
        };
        self.pieces.extend((0..span.pieces).map(piece));
        self.spans.push(span);
        self.orders.extend(ordering);
        self.rows += points.div_ceil(WORD);
        self.points += points;
        self.longest = self.longest.max(length);
    }

    /// Words of four classes that a thread holds; none where there are more classes than registers.
    pub(super) fn quads(&self) -> Option<usize> {
        let fits = |quads: &usize| self.classes <= 4 * quads;
        QUADS.into_iter().find(fits)
    }

    /// Whether any ordering has more than one piece.
    pub(super) fn is_cut(&self) -> bool {
        self.pieces.len() > self.spans.len()
    }

    /// Logits of a sample that lie in memory: before each piece, or of each ordering now.
    pub(super) fn logits(&self) -> usize {
        match self.quads() {
            Some(quads) if self.is_cut() => self.pieces.len() * 4 * quads,
            Some(_) => 0,
            None => self.spans.len() * self.classes,
        }
    }

    /// Words of 32 points of the longest ordering.
    pub(super) fn words(&self) -> usize {
        (self.longest + 1).div_ceil(WORD)
    }

    /// Points of the longest piece.
    pub(super) fn piece(&self) -> usize {
        let points = self.pieces.iter().map(|piece| piece.points as usize);
        points.max().unwrap_or(0)
    }
}
