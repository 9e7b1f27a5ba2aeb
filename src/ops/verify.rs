//! What a device gave back is checked, always, natively and in f64: a driver that returns garbage is noticed.
//!
//! A failed check is trouble like a lost device ([`super::recovery`]): the device is opened anew and computes the operation
//! again, and where that is wrong as well it is computed natively. Either is told. What a check allows is more than the
//! operation's `TOLERANCE` allows, so that no sound device fails one: where more samples are undecided in f32 than a check of counts
//! allows for, they are counted before it fails.
//!
//! | operation | what is compared | what that costs, for N samples and D neurons |
//! |---|---|---|
//! | correlation | r finite and in [−1, 1]; norms with the standard deviations; every sum of r over a strip of 8 neurons and a tile (a tile and a tile, where tiles stay on the device) with the product of summed vectors (Huang & Abraham 1984); sums with one another and with the histogram; 8 neurons' r with all others; up to 2,048 of the pairs kept | one more pass over the samples, N·D²/256 FLOP |
//! | probe | of every product its column sums with the product of X's row or column sums, each entry with its bound, 16 rows of X·W; where only sums come back (`probe::oracle`), those of columns and the gradient's bounds; certificates are native in any case | 2·N·D once, N·C a pass of 4·N·D·C |
//! | curvature | entries with what the diagonal allows; 8 of them | n² + 16·terms of a Hessian of n²·terms FLOP |
//! | quadratic | finite; what a step is worth is judged by the probe's exact objective | |
//! | sweep, ablation | counts with their classes' sizes; every count with that of samples drawn at random (N/32, 256 to 1,024; all of fewer), by no more than chance allows | that share of the native path |
//! | moments | both passes' sums with one another; 16 neurons with the native path | 16/D of the native path |
//!
//! What is not noticed: errors that cancel in every sum, or are as small as what roundings may add up to; and of counts those that a
//! draw can hide: at 10,000 points up to 29 % of 5,000 samples, 16 % of 30,000 or more, at every point, and right samples that are
//! counted for another class. What a kernel that does not run, or memory that is not there, leaves is further off.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::gpu::Gpu;

/// Samples that are drawn at least and at most, and as a share of all.
const DRAWN: (usize, usize, usize) = (256, 1024, 32);

/// The chance that a sound device fails a check of counts.
const CHANCE: f64 = 1e-12;

/// Share of the samples that may be on the other side of a decision in f32.
const UNDECIDED: f64 = 0.02;

/// Nothing where the check finds nothing wrong, or the devices are not checked; else none of them is trusted any more.
///
/// # Errors
/// What is wrong; what the check returns.
pub(super) fn trusted(
    devices: &[Gpu],
    operation: &str,
    wrong: impl FnOnce() -> Result<Option<String>>,
) -> Result<()> {
    if !devices.iter().all(Gpu::is_checked) {
        return Ok(());
    }
    let Some(problem) = wrong()? else {
        return Ok(());
    };
    // Who of several was wrong is not known.
    let distrust = |gpu: &Gpu| gpu.distrust(operation, &problem);
    let mut errors: Vec<_> = devices.iter().map(distrust).collect();
    errors.pop().map_or(Ok(()), Err)
}

/// Samples drawn without replacement, ascending; the same ones each time.
pub(super) fn drawn(samples: usize) -> Vec<usize> {
    let (least, most, share) = DRAWN;
    let many = (samples / share).clamp(least, most).min(samples);
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut rows = index::sample(&mut random, samples, many).into_vec();
    rows.sort_unstable();
    rows
}

/// What is wrong with counts of right samples: `found` of all `samples`, `native` of some drawn among them. Shares of a draw
/// without replacement are further off than t with a chance of at most 2·exp(−2·n·t²) (Hoeffding 1963). `undecided` says how many
/// samples may be on either side at a point, which all of them may be where few neurons are kept.
pub(super) fn of_counts(
    found: &[u32],
    native: &[u32],
    (drawn, samples): (usize, usize),
    undecided: impl Fn(usize) -> usize,
) -> Option<String> {
    let t = match drawn == samples {
        true => 0.0,
        false => ((2.0 * found.len() as f64 / CHANCE).ln() / (2.0 * drawn as f64)).sqrt(),
    };
    let allowed = (t + UNDECIDED) * samples as f64 + 2.0;
    let expected = |native: u32| f64::from(native) * samples as f64 / drawn as f64;
    let off = |(found, native): (&u32, &u32)| (f64::from(*found) - expected(*native)).abs();
    let mut points = found.iter().zip(native).enumerate();
    let wrong = |at: usize, off: f64| off > allowed && off > allowed + undecided(at) as f64;
    let (at, (found, native)) = points.find(|(at, pair)| wrong(*at, off(*pair)))?;
    Some(format!(
        "{found} of {samples} samples are right at point {at}, {native} of {drawn} natively"
    ))
}
