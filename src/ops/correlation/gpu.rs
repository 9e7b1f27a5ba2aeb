//! Correlations on GPUs: tiles are dealt to the devices, and what becomes of them is put together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::columns::Columns;
use super::findings::{Collected, Leavings, OfTile, Reduction, correlations};
use super::padded::{Padded, SQUARE};
use super::precision::{Computed, Kernels, Precision};
use super::reduce::{self, Reducer};
use super::run::{PLANE, Run, within};
use super::variants::{Form, Variant, fastest};
use super::verify::Observed;
use super::{Findings, Params, Wanted};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, blocks};
use crate::ops::{Fleet, verify};

/// The largest value that rounds to a finite f16, less what rounding does to its bound.
const LARGEST_HALF: f64 = 65_500.0;

/// Why f32 was taken instead.
const BEYOND: &str = "some values are further from their mean than f16 holds";

/// Hands every pair of left and right columns to the reduction, once.
pub(super) fn scan(
    fleet: &Fleet,
    columns: &Columns<'_>,
    wanted: &Wanted<'_>,
    params: &Params,
) -> Result<Findings> {
    let (asked, memory) = (params.precision, params.memory);
    let flop = columns.samples() as f64 * (columns.all().len() as f64).powi(2);
    let of = |columns: &Columns<'_>, variant: &Variant, reason: Option<&str>| {
        let computed = Computed::new(asked, variant.form.precision(), variant.name, reason);
        fleet.fitting(|fleet| attempt(fleet, columns, wanted, memory, (variant, &computed)))
    };
    let variant = for_all(fleet, (asked, params.kernels), flop)?;
    if variant.form == Form::Whole {
        return of(columns, variant, None)?.ok_or_else(|| unfinished(fleet.lead()));
    }
    if columns.largest() <= LARGEST_HALF {
        // What rounding the mean leaves would take digits that f16 does not have: the device subtracts it.
        let found = of(&columns.without_residual(), variant, None)?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let whole = for_all(fleet, (Precision::F32, Kernels::Any), flop)?;
    of(columns, whole, Some(BEYOND))?.ok_or_else(|| unfinished(fleet.lead()))
}

/// The variant that is fastest on the lead, of those that every device has and computes right.
fn for_all(
    fleet: &Fleet,
    (precision, kernels): (Precision, Kernels),
    flop: f64,
) -> Result<&'static Variant> {
    let variant = fastest(fleet.lead(), (precision, kernels), flop)?;
    if !variant.needs_units() {
        return Ok(variant);
    }
    for gpu in fleet.devices() {
        if variant.is_right_on(gpu)? {
            continue;
        }
        if kernels == Kernels::Matrix {
            let problem = format!("matrix units do not compute sums of {precision} here");
            return Err(gpu.error("correlation", problem));
        }
        return fastest(fleet.lead(), (precision, Kernels::Plain), flop);
    }
    Ok(variant)
}

/// Nothing where values do not fit the variant's numbers, so that sums of squares are not finite.
fn attempt(
    fleet: &Fleet,
    columns: &Columns<'_>,
    wanted: &Wanted<'_>,
    memory: u64,
    (variant, computed): (&Variant, &Computed),
) -> Result<Option<Findings>> {
    let reduction = Reduction::new(wanted, columns);
    let padded = Padded::new(columns, variant.tile);
    let mut collected = reduction.nothing();
    let memory = memory / fleet.devices().len() as u64;
    let (tiles, bands) = padded.tiles(columns.is_cross());
    let stays = columns.samples() <= PLANE && reduce::is_possible(&reduction, &padded, &tiles);
    let checked = fleet.devices().iter().all(Gpu::is_checked);
    let observed = checked.then(|| Observed::new(columns, &padded, computed.tolerance, stays));
    let work = Work {
        columns,
        padded: &padded,
        reduction: &reduction,
        variant,
        memory,
        stays,
        observed: observed.as_ref(),
    };
    let dealt = deal(fleet, &tiles, &bands);
    // The diagonal comes first, since it has the norms of all neurons. Alone it keeps no device busy; where others wait for
    // the norms it is alone all the same.
    let mut lead = work.run(fleet.lead())?;
    let alone = fleet.devices().len() == 1;
    let beside: &[_] = if alone { &dealt[0].tiles } else { &[] };
    let begun = work.diagonal((fleet.lead(), &mut lead), beside, &mut collected)?;
    let Some((norm, ahead)) = begun else {
        return Ok(None);
    };
    // Tiles come in any order, and are added in that of the list: then no sum depends on who computed them.
    let mut waiting: BTreeMap<usize, OfTile> = BTreeMap::new();
    let mut next = 0;
    let mut hear = |device: usize, (first, found): (usize, Vec<OfTile>)| {
        let places = dealt[device].places[first..].iter().copied();
        waiting.extend(places.zip(found));
        while let Some(of_tile) = waiting.remove(&next) {
            collected.add_tile(&reduction, of_tile);
            next += 1;
        }
    };
    let lead = Mutex::new(Some((lead, ahead)));
    let part = |device: usize, gpu: &Gpu, tell: &mut dyn FnMut((usize, Vec<OfTile>))| {
        if dealt[device].tiles.is_empty() {
            return Ok(());
        }
        // The lead has its samples already.
        let kept = match fleet.is_lead(device) {
            true => lead.lock().unwrap_or_else(PoisonError::into_inner).take(),
            false => None,
        };
        let (mut run, ahead) = match kept {
            Some(kept) => kept,
            None => (work.run(gpu)?, None),
        };
        work.tiles((gpu, &mut run, ahead), &dealt[device], &norm, tell)
    };
    fleet.each(part, &mut hear)?;
    let findings = reduction.finish(collected, computed.clone());
    verify::trusted(fleet.devices(), "correlation", || match observed {
        Some(observed) => observed.compare(wanted, &findings),
        None => Ok(None),
    })?;
    Ok(Some(findings))
}

/// What a device is to do.
struct Dealt {
    /// Places of its tiles in the list of all, ascending, and the tiles.
    places: Vec<usize>,
    tiles: Vec<[u32; 2]>,
    /// Where the bands end among its tiles.
    ends: Vec<usize>,
}

impl Dealt {
    /// The ends of the bands inside a range of its tiles, counted from the first of them, and the end of the part of one that
    /// it ends in.
    fn bands(&self, range: &Range<usize>) -> Vec<usize> {
        let inside = self.ends.iter().copied();
        let inside = inside.filter(|end| range.start < *end && *end < range.end);
        let mut ends: Vec<usize> = inside.map(|end| end - range.start).collect();
        ends.push(range.len());
        ends
    }
}

/// Deals tiles in squares, whose columns stay in the cache, each to the device that would be done with it first.
fn deal(fleet: &Fleet, tiles: &[[u32; 2]], bands: &[usize]) -> Vec<Dealt> {
    let mut places: Vec<Vec<usize>> = fleet.devices().iter().map(|_| Vec::new()).collect();
    for square in blocks(tiles.len(), SQUARE * SQUARE) {
        let has: Vec<usize> = places.iter().map(Vec::len).collect();
        places[fleet.first_done(&has, square.len())].extend(square);
    }
    let dealt = |places: Vec<usize>| Dealt {
        tiles: places.iter().map(|&place| tiles[place]).collect(),
        ends: bands
            .iter()
            .map(|&end| places.partition_point(|&place| place < end))
            .collect(),
        places,
    };
    places.into_iter().map(dealt).collect()
}

/// Tiles that were computed together with some on the diagonal.
struct Ahead {
    /// Those on the diagonal, which come first, and the others, the device's first.
    diagonal: usize,
    tiles: usize,
    computed: Tiles,
}

/// Sums of products of some tiles, tile after tile.
enum Tiles {
    /// On their device.
    Sums(Buffer<f32>),
    /// On the host, divided by the number of samples.
    Products(Vec<f64>),
}

/// What every device needs.
struct Work<'a> {
    columns: &'a Columns<'a>,
    padded: &'a Padded,
    reduction: &'a Reduction<'a>,
    variant: &'a Variant,
    /// Bytes on the host for each device.
    memory: u64,
    /// Whether tiles are reduced where they are.
    stays: bool,
    /// What comes back is shown to it, where it is checked.
    observed: Option<&'a Observed<'a>>,
}

impl<'a> Work<'a> {
    fn run<'b>(&'b self, gpu: &'b Gpu) -> Result<Run<'b>> {
        Run::new(gpu, self.columns, self.padded, self.memory, self.variant)
    }

    /// Tiles that a device computes at once, and of those that come back.
    fn at_once(&self, gpu: &Gpu) -> Result<(usize, usize)> {
        let values = self.padded.tile * self.padded.tile;
        let on_device = gpu.fit("tiles of the result", values * 4, 1)?.max(1);
        // On the host a value takes 8 bytes of sums and 4 of what is downloaded.
        let back = on_device.min(within(self.memory / 2, values * 12)).max(1);
        Ok((on_device, back))
    }

    /// Sums of products of some tiles, wherever they are wanted.
    fn computed(&self, run: &mut Run<'_>, tiles: &[[u32; 2]]) -> Result<Tiles> {
        Ok(match self.stays {
            true => Tiles::Sums(run.sums(tiles)?),
            false => Tiles::Products(run.mean_products(tiles)?),
        })
    }

    /// The first of them, on the host and divided by the number of samples.
    fn first<'t>(&self, gpu: &Gpu, computed: &'t Tiles, tiles: usize) -> Result<Cow<'t, [f64]>> {
        let values = tiles * self.padded.tile * self.padded.tile;
        Ok(match computed {
            Tiles::Products(products) => Cow::Borrowed(&products[..values]),
            Tiles::Sums(sums) => {
                let n = self.columns.samples() as f64;
                let sums = gpu.download_range(sums, 0..values)?;
                let products = sums.into_par_iter().map(|sum| f64::from(sum) / n);
                Cow::Owned(products.collect())
            }
        })
    }

    /// The norms of all neurons, and what was computed of the tiles `beside` the diagonal; nothing where a sum of squares is
    /// not finite.
    fn diagonal(
        &self,
        (gpu, run): (&Gpu, &mut Run<'_>),
        beside: &[[u32; 2]],
        collected: &mut Collected,
    ) -> Result<Option<(Vec<f64>, Option<Ahead>)>> {
        let (columns, padded) = (self.columns, self.padded);
        let values = padded.tile * padded.tile;
        let mut norm = vec![0.0; columns.all().len()];
        let diagonal = padded.diagonal();
        let (on_device, back) = self.at_once(gpu)?;
        let at_once = if self.stays { on_device } else { back };
        let mut ahead = None;
        for range in blocks(diagonal.len(), back) {
            let room = match range.end == diagonal.len() {
                true => beside.len().min(at_once - range.len()),
                false => 0,
            };
            let own = &diagonal[range];
            let together = [own, &beside[..room]].concat();
            let computed = self.computed(run, &together)?;
            let products = self.first(gpu, &computed, own.len())?;
            for ([tile, _], products) in own.iter().zip(products.chunks_exact(values)) {
                for (at, column) in padded.columns[*tile as usize].clone().enumerate() {
                    let square = products[at * (padded.tile + 1)];
                    if !square.is_finite() {
                        return Ok(None);
                    }
                    norm[column] = columns.norm(column, square);
                }
            }
            if !columns.is_cross() {
                collected.add(self.on_host(gpu, &norm, own, &products)?);
            }
            ahead = (room > 0).then(|| Ahead {
                diagonal: own.len(),
                tiles: room,
                computed,
            });
        }
        self.trusted(gpu, |observed| observed.of_norms(&norm))?;
        Ok(Some((norm, ahead)))
    }

    /// What becomes of the tiles of one device, told with the place of the first of them; some were computed already.
    fn tiles(
        &self,
        (gpu, run, mut ahead): (&Gpu, &mut Run<'_>, Option<Ahead>),
        dealt: &Dealt,
        norm: &[f64],
        tell: &mut dyn FnMut((usize, Vec<OfTile>)),
    ) -> Result<()> {
        let (on_device, back) = self.at_once(gpu)?;
        let at_once = if self.stays { on_device } else { back };
        let known = (norm, self.observed);
        let reducer = Reducer::new(gpu, self.columns, self.padded, self.reduction, known);
        let values = self.padded.tile * self.padded.tile;
        let mut from = 0;
        while from < dealt.tiles.len() {
            let Ahead {
                diagonal,
                tiles,
                computed,
            } = match ahead.take() {
                Some(ahead) => ahead,
                None => {
                    let tiles = at_once.min(dealt.tiles.len() - from);
                    let these = &dealt.tiles[from..from + tiles];
                    Ahead {
                        diagonal: 0,
                        tiles,
                        computed: self.computed(run, these)?,
                    }
                }
            };
            let range = from..from + tiles;
            let tiles = &dealt.tiles[range.clone()];
            let found = match computed {
                Tiles::Sums(g) => reducer.take(tiles, (&g, diagonal), &dealt.bands(&range))?,
                Tiles::Products(products) => {
                    let products = &products[diagonal * values..];
                    let found = self.on_host(gpu, norm, tiles, products)?;
                    found.into_iter().map(OfTile::from).collect()
                }
            };
            tell((from, found));
            from = range.end;
        }
        Ok(())
    }

    /// What becomes of tiles whose products, divided by the number of samples, came back.
    fn on_host(
        &self,
        gpu: &Gpu,
        norm: &[f64],
        tiles: &[[u32; 2]],
        products: &[f64],
    ) -> Result<Vec<Leavings>> {
        let edge = self.padded.tile;
        let each: Vec<_> = tiles
            .iter()
            .zip(products.chunks_exact(edge * edge))
            .collect();
        let reduced = |(tile, products): (&[u32; 2], &[f64])| {
            let [left, right] = tile.map(|tile| &self.padded.columns[tile as usize]);
            let products = ArrayView2::from_shape((edge, edge), products).expect("a tile");
            self.trusted(gpu, |observed| observed.tile(*tile, products, norm))?;
            let r = correlations(self.columns, left, right, products, norm);
            self.reduction.tile(left, right, r.view())
        };
        each.into_par_iter().map(reduced).collect()
    }

    /// Nothing where a check finds nothing wrong.
    fn trusted(
        &self,
        gpu: &Gpu,
        wrong: impl FnOnce(&Observed<'_>) -> Option<String>,
    ) -> Result<()> {
        let problem = self.observed.and_then(wrong);
        problem.map_or(Ok(()), |problem| Err(gpu.distrust("correlation", &problem)))
    }
}

/// f32 holds the square of every z, so that the moments are at fault, or the device is.
fn unfinished(gpu: &Gpu) -> Error {
    let problem = "sums of squares are not finite: the moments are not those of these samples";
    match gpu.is_checked() {
        true => gpu.distrust("correlation", problem),
        false => gpu.error("correlation", problem.to_owned()),
    }
}
