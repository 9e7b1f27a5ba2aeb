//! Random sets: is a chosen set of neurons better than as many neurons drawn blindly? Where it is not, any neurons will do,
//! which is redundancy itself.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Random sets of `size` of the neurons `candidates`, each ascending; draw number n depends on the seed and on n alone.
///
/// # Errors
/// When a set would be empty or larger than the candidates.
pub fn random_sets(
    candidates: &[usize],
    size: usize,
    draws: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    if size == 0 || size > candidates.len() {
        return Err(Error::invalid(
            "random sets",
            format!("of {size} out of {} neurons", candidates.len()),
            format!("Draw 1 to {} neurons", candidates.len()),
        ));
    }
    let draw = |number: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number as u64);
        let mut pool = candidates.to_vec();
        let (chosen, _) = pool.partial_shuffle(&mut random, size);
        let mut chosen = chosen.to_vec();
        chosen.sort_unstable();
        chosen
    };
    Ok((0..draws).map(draw).collect())
}
