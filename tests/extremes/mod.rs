//! Values, shapes and words at the edge of what there is: each has a defined answer. The README's table says which.
//!
//! - `neurons`   values and shapes in the operations
//! - `files`     values, shapes and words as files hold them
//! - `studies`   whole studies

mod files;
mod neurons;
mod studies;

use ndarray::Array2;
use neurosieve::labels::Labels;
use rand::RngExt;

use crate::support::{normal, random};

/// So many classes, each of them there, and neurons of which the first ones tell them apart.
fn sample(samples: usize, neurons: usize, classes: usize, seed: u64) -> (Array2<f32>, Labels) {
    let mut random = random(seed);
    let ids: Vec<u32> = (0..samples)
        .map(|at| match at < classes {
            true => at as u32,
            false => random.random_range(0..classes as u32),
        })
        .collect();
    let x = Array2::from_shape_fn((samples, neurons), |(row, neuron)| {
        let signal = 3.0 * f64::from(ids[row] >> neuron & 1);
        (signal + normal(&mut random)) as f32
    });
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    (x, Labels::new(ids, names).expect("every class has a name"))
}
