//! The host side of `shaders/correlation_tiles.wgsl`: finished tiles are reduced where they are, so that of all pairs only
//! those come to the host that its findings hold or may hold.
//!
//! A pair is worth telling if its |r| reaches the threshold of edges, or that of the weakest partner so far of either
//! neuron. The device says so in f32 with some to spare, and gives the sum of products; the host takes r from it as it does
//! where whole tiles come back, so edges and partners have the same bits. Partners are looked for in growing parts of the
//! tiles: what each part leaves makes the next one's pairs few.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::ArrayView2;
use rayon::prelude::*;

use super::columns::Columns;
use super::distribution::{BINS, Sums};
use super::findings::{Leavings, OfTile, Reduction, correlations};
use super::layers::Rectangle;
use super::padded::Padded;
use super::verify::Observed;
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, blocks};

/// By how much |r| in f32 may fall short of |r| in f64 from the same sum: four roundings of at most one, and as much again.
const SLACK: f32 = 1e-6;

/// Larger than any |r|.
const NEVER: f32 = 1e30;

/// One of so many values may be told; where more are, the tiles come back whole.
const TOLD: usize = 8;

/// Values of one dispatch: some 50 operations each, so that it takes 0.1 s at 10 GFLOP/s.
const VALUES: usize = 1 << 24;

/// Pairs that a thread takes at a time.
const PAIRS: usize = 1 << 14;

/// Rectangles a tile, on average, beyond which layers are summed on the host: each is a workgroup.
const RECTANGLES: usize = 16;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    share: f32,
    least: f32,
    first: u32,
    count: u32,
    capacity: u32,
    padding: [u32; 3],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Tile {
    left: u32,
    right: u32,
    rows: u32,
    columns: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Column {
    residual: f32,
    norm: f32,
    cut: f32,
    size: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Part {
    tile: u32,
    top: u32,
    bottom: u32,
    first: u32,
    last: u32,
}

const TILES: Binding = Binding::read_structs(
    "tiles",
    Layout {
        name: "Tile",
        size: size_of::<Tile>(),
        fields: &[
            ("left", offset_of!(Tile, left)),
            ("right", offset_of!(Tile, right)),
            ("rows", offset_of!(Tile, rows)),
            ("columns", offset_of!(Tile, columns)),
        ],
    },
);

const COLUMNS: Binding = Binding::read_structs(
    "columns",
    Layout {
        name: "Column",
        size: size_of::<Column>(),
        fields: &[
            ("residual", offset_of!(Column, residual)),
            ("norm", offset_of!(Column, norm)),
            ("cut", offset_of!(Column, cut)),
            ("size", offset_of!(Column, size)),
        ],
    },
);

const PARAMS: Layout = Layout {
    name: "Reduction",
    size: size_of::<Params>(),
    fields: &[
        ("share", offset_of!(Params, share)),
        ("least", offset_of!(Params, least)),
        ("first", offset_of!(Params, first)),
        ("count", offset_of!(Params, count)),
        ("capacity", offset_of!(Params, capacity)),
        ("padding0", offset_of!(Params, padding)),
        ("padding1", offset_of!(Params, padding) + 4),
        ("padding2", offset_of!(Params, padding) + 8),
    ],
};

/// The kernels of `shaders/correlation_tiles.wgsl`.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "correlation_tiles",
        source: include_str!("../../../shaders/correlation_tiles.wgsl"),
        entry: "reduce",
        bindings: &[
            Binding::read("g"),
            TILES,
            COLUMNS,
            Binding::read_write("counts"),
            Binding::read_write("pairs"),
            Binding::read_write("sums"),
            Binding::params("p", PARAMS),
        ],
    },
    Kernel {
        shader: "correlation_tiles",
        source: include_str!("../../../shaders/correlation_tiles.wgsl"),
        entry: "layers",
        bindings: &[
            Binding::read("g"),
            TILES,
            COLUMNS,
            Binding::read_structs(
                "rectangles",
                Layout {
                    name: "Rectangle",
                    size: size_of::<Part>(),
                    fields: &[
                        ("tile", offset_of!(Part, tile)),
                        ("top", offset_of!(Part, top)),
                        ("bottom", offset_of!(Part, bottom)),
                        ("first", offset_of!(Part, first)),
                        ("last", offset_of!(Part, last)),
                    ],
                },
            ),
            Binding::read_write("of_layers"),
            Binding::params("q", PARAMS),
        ],
    },
];
const REDUCE: &Kernel = &KERNELS[0];
const LAYERS: &Kernel = &KERNELS[1];

/// Reduces tiles that are finished, none of them on the diagonal.
pub(super) struct Reducer<'a> {
    gpu: &'a Gpu,
    columns: &'a Columns<'a>,
    padded: &'a Padded,
    reduction: &'a Reduction<'a>,
    norm: &'a [f64],
    constants: [(&'static str, f64); 3],
    observed: Option<&'a Observed<'a>>,
}

/// Tiles on the device, with what their dispatches need.
struct Loaded<'a> {
    tiles: &'a [[u32; 2]],
    g: &'a Buffer<f32>,
    /// Their sums, and where these begin in `g`.
    sums: Slot<'a>,
    begin: usize,
    described: Buffer<Tile>,
    columns: Buffer<Column>,
}

impl<'a> Reducer<'a> {
    pub(super) fn new(
        gpu: &'a Gpu,
        columns: &'a Columns<'a>,
        padded: &'a Padded,
        reduction: &'a Reduction<'a>,
        (norm, observed): (&'a [f64], Option<&'a Observed<'a>>),
    ) -> Self {
        let side = (padded.tile / 8) as f64;
        Self {
            gpu,
            columns,
            padded,
            reduction,
            norm,
            constants: [
                ("SIDE", side),
                ("THREADS", side * side),
                ("EDGE", 8.0 * side),
            ],
            observed,
        }
    }

    fn trusted(&self, wrong: impl FnOnce(&Observed<'_>) -> Option<String>) -> Result<()> {
        let problem = self.observed.and_then(wrong);
        problem.map_or(Ok(()), |p| Err(self.gpu.distrust("correlation", &p)))
    }

    /// What becomes of some tiles, whose sums of products `g` holds behind those of so many others. `bands` are the ends of
    /// the parts in which partners are looked for, counted from the first of these tiles.
    pub(super) fn take(
        &self,
        tiles: &[[u32; 2]],
        (g, others): (&Buffer<f32>, usize),
        bands: &[usize],
    ) -> Result<Vec<OfTile>> {
        let begin = others * self.padded.tile.pow(2);
        let described: Vec<Tile> = tiles.iter().map(|tile| self.described(tile)).collect();
        let loaded = Loaded {
            tiles,
            g,
            sums: g.range(begin..g.len()),
            begin,
            described: self.gpu.upload("tiles", &described)?,
            columns: self.gpu.zeros("columns", self.padded.width())?,
        };
        let sizes = self.reduction.sizes();
        let mut found: Vec<OfTile> = tiles.iter().map(|_| OfTile::default()).collect();
        let mut from = 0;
        for &end in bands {
            if from < end && (self.reduction.keeps_pairs() || self.reduction.keeps_sums()) {
                self.part(&loaded, from..end, &sizes, &mut found[from..end])?;
            }
            from = end;
        }
        if self.reduction.keeps_layers() {
            self.write_columns(&loaded, &sizes)?;
            self.layers(&loaded, &mut found)?;
        }
        Ok(found)
    }

    fn described(&self, [left, right]: &[u32; 2]) -> Tile {
        let neurons = |tile: &u32| self.padded.columns[*tile as usize].len() as u32;
        Tile {
            left: *left,
            right: *right,
            rows: neurons(left),
            columns: neurons(right),
        }
    }

    /// What the device must know of each column, with the cuts as they are now.
    fn write_columns(&self, loaded: &Loaded<'_>, sizes: &[f32]) -> Result<()> {
        let cuts = self.reduction.cuts();
        let nothing = Column {
            residual: 0.0,
            norm: 0.0,
            cut: NEVER,
            size: 0.0,
        };
        let mut known = vec![nothing; self.padded.width()];
        for placed in self.padded.placed() {
            for (at, column) in placed.columns.enumerate() {
                known[placed.to + at] = Column {
                    residual: self.columns.residual(column) as f32,
                    norm: self.norm[column] as f32,
                    cut: cuts
                        .get(column)
                        .map_or(NEVER, |cut| (cut - SLACK).min(NEVER)),
                    size: sizes.get(column).copied().unwrap_or(0.0),
                };
            }
        }
        self.gpu.write(&loaded.columns, 0, &known)
    }

    fn params(&self, tiles: &Range<usize>, capacity: usize) -> Params {
        let least = self.reduction.least();
        Params {
            share: (self.columns.samples() as f64).recip() as f32,
            least: least.map_or(NEVER, |least| least - SLACK),
            first: tiles.start as u32,
            count: tiles.len() as u32,
            capacity: capacity as u32,
            padding: [0; 3],
        }
    }

    /// Pairs and sums of the tiles `part`.
    fn part(
        &self,
        loaded: &Loaded<'_>,
        part: Range<usize>,
        sizes: &[f32],
        found: &mut [OfTile],
    ) -> Result<()> {
        let values = self.padded.tile * self.padded.tile;
        self.write_columns(loaded, sizes)?;
        let capacity = (part.len() * values / TOLD).max(16);
        let counts = self.gpu.zeros::<u32>("counts", 1 + BINS)?;
        let pairs = self.gpu.zeros::<[u32; 2]>("pairs", capacity)?;
        let sums = self
            .gpu
            .zeros::<f32>("sums of tiles", loaded.tiles.len() * 5)?;
        for some in blocks(part.len(), (VALUES / values).max(1)) {
            let some = part.start + some.start..part.start + some.end;
            let params = Slot::params(&self.params(&some, capacity));
            let dispatch = Dispatch {
                kernel: REDUCE,
                constants: &self.constants,
                slots: vec![
                    loaded.sums.clone(),
                    loaded.described.all(),
                    loaded.columns.all(),
                    counts.all(),
                    pairs.all(),
                    sums.all(),
                    params,
                ],
                groups: some.len(),
            };
            self.gpu.submit("correlation", &[dispatch])?;
            self.gpu.wait("correlation")?;
        }
        let counts = self.gpu.download(&counts)?;
        if self.reduction.keeps_sums() {
            let powers = self
                .gpu
                .download_range(&sums, part.start * 5..part.end * 5)?;
            let tiles = &loaded.tiles[part.clone()];
            self.trusted(|observed| observed.reduced(tiles, &counts[1..], &powers))?;
            self.sums(&counts[1..], &powers, found);
        }
        match counts[0] as usize {
            _ if !self.reduction.keeps_pairs() => Ok(()),
            told if told <= capacity => {
                for some in blocks(told, VALUES) {
                    let pairs = self.gpu.download_range(&pairs, some)?;
                    self.trusted(|observed| observed.told(loaded.tiles, &part, &pairs))?;
                    found[0].leavings.extend(self.pairs(loaded.tiles, &pairs)?);
                }
                Ok(())
            }
            _ => {
                found[0].leavings.extend(self.whole(loaded, part)?);
                Ok(())
            }
        }
    }

    /// Power sums of r over each tile, and counts over all of them with those of the first. The kernel counts each bin in 32
    /// bits: a part has fewer values.
    fn sums(&self, bins: &[u32], powers: &[f32], found: &mut [OfTile]) {
        debug_assert_eq!(powers.len(), found.len() * 5);
        let mut bins = Some(bins);
        for (found, of_tile) in found.iter_mut().zip(powers.chunks_exact(5)) {
            let counts = bins.take().unwrap_or_default().iter();
            let power = |at: usize| f64::from(of_tile[at]);
            let sums = Sums {
                counts: counts.map(|count| u64::from(*count)).collect(),
                powers: [0, 1, 2, 3].map(power),
                size: power(4),
            };
            found.leavings.push(sums.into());
        }
    }

    /// Takes the pairs that the device told of.
    fn pairs(&self, tiles: &[[u32; 2]], told: &[[u32; 2]]) -> Result<Vec<Leavings>> {
        let (edge, n) = (self.padded.tile, self.columns.samples() as f64);
        let pair = |[place, bits]: &[u32; 2]| {
            let place = *place as usize;
            let [left, right] = tiles[place / (edge * edge)];
            let i = self.padded.columns[left as usize].start + place / edge % edge;
            let j = self.padded.columns[right as usize].start + place % edge;
            let product = f64::from(f32::from_bits(*bits)) / n;
            (i, j, self.columns.r((i, j), product, self.norm))
        };
        // In any order: what is kept of the pairs does not depend on it.
        let some = |told: &[[u32; 2]]| {
            let pairs: Vec<(usize, usize, f32)> = told.iter().map(pair).collect();
            self.reduction.pairs(&pairs)
        };
        told.par_chunks(PAIRS).map(some).collect()
    }

    /// Takes the pairs from whole tiles, where too many were worth telling.
    fn whole(&self, loaded: &Loaded<'_>, part: Range<usize>) -> Result<Vec<Leavings>> {
        let mut all = Vec::with_capacity(part.len());
        let (edge, n) = (self.padded.tile, self.columns.samples() as f64);
        let values = edge * edge;
        for some in blocks(part.len(), (VALUES / values).max(1)) {
            let some = part.start + some.start..part.start + some.end;
            let sums = loaded.begin + some.start * values..loaded.begin + some.end * values;
            let sums = self.gpu.download_range(loaded.g, sums)?;
            let each: Vec<_> = loaded.tiles[some]
                .iter()
                .zip(sums.chunks_exact(values))
                .collect();
            let found = each.into_par_iter().map(|(tile, sums)| {
                let [left, right] = tile.map(|tile| &self.padded.columns[tile as usize]);
                let products: Vec<f64> = sums.iter().map(|sum| f64::from(*sum) / n).collect();
                let products = ArrayView2::from_shape((edge, edge), &products).expect("a tile");
                self.trusted(|observed| observed.tile(*tile, products, self.norm))?;
                let r = correlations(self.columns, left, right, products, self.norm);
                let leavings = self.reduction.pairs_of_tile(left, right, r.view())?;
                Ok(self.reduction.with_strong(leavings))
            });
            all.extend(found.collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }

    /// The sums by pair of layers.
    fn layers(&self, loaded: &Loaded<'_>, found: &mut [OfTile]) -> Result<()> {
        let rectangles = rectangles(self.reduction, self.padded, loaded.tiles);
        let parts: Vec<Part> = rectangles
            .iter()
            .map(|(tile, rectangle)| Part {
                tile: *tile as u32,
                top: rectangle.rows.start as u32,
                bottom: rectangle.rows.end as u32,
                first: rectangle.columns.start as u32,
                last: rectangle.columns.end as u32,
            })
            .collect();
        let uploaded = self.gpu.upload("rectangles", &parts)?;
        let sums = self.gpu.zeros::<f32>("sums of layers", parts.len() * 3)?;
        let values = self.padded.tile * self.padded.tile;
        for some in blocks(parts.len(), (VALUES / values).max(1)) {
            let params = Slot::params(&self.params(&some, 0));
            let dispatch = Dispatch {
                kernel: LAYERS,
                constants: &self.constants,
                slots: vec![
                    loaded.sums.clone(),
                    loaded.described.all(),
                    loaded.columns.all(),
                    uploaded.all(),
                    sums.all(),
                    params,
                ],
                groups: some.len(),
            };
            self.gpu.submit("correlation", &[dispatch])?;
            self.gpu.wait("correlation")?;
        }
        let sums = self.gpu.download(&sums)?;
        for ((tile, rectangle), sums) in rectangles.into_iter().zip(sums.as_chunks().0) {
            found[tile].rectangles.push((rectangle, *sums));
        }
        let mut each = loaded.tiles.iter().zip(found);
        each.try_for_each(|(tile, found)| self.trusted(|observed| observed.layers(tile, found)))
    }
}

/// The rectangles of each tile, by its place.
fn rectangles(
    reduction: &Reduction<'_>,
    padded: &Padded,
    tiles: &[[u32; 2]],
) -> Vec<(usize, Rectangle)> {
    let of_tile = |(at, [left, right]): (usize, &[u32; 2])| {
        let [left, right] = [left, right].map(|tile| &padded.columns[*tile as usize]);
        let inside = reduction.rectangles(left, right);
        inside.into_iter().map(move |rectangle| (at, rectangle))
    };
    tiles.iter().enumerate().flat_map(of_tile).collect()
}

/// Whether a device can keep what is wanted of these tiles without giving them back.
pub(super) fn is_possible(reduction: &Reduction<'_>, padded: &Padded, tiles: &[[u32; 2]]) -> bool {
    if reduction.keeps_matrix() {
        return false;
    }
    // Layers of a few neurons each would make more rectangles than there is work in them.
    let mut room = tiles.len().saturating_mul(RECTANGLES);
    !reduction.keeps_layers()
        || tiles.iter().all(|[left, right]| {
            let [left, right] = [left, right].map(|tile| &padded.columns[*tile as usize]);
            let needed = reduction.rectangles(left, right).len();
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        })
}
