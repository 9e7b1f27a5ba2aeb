//! Trials of a variant on a device: how long it takes, and whether it is right.

use super::variants::{Form, Params, Variant};
use crate::error::Result;
use crate::gpu::{Buffer, Gpu};

/// Samples and neurons of the measurement, on a GPU with bindings of so many bytes and on a software adapter or a small GPU: the
/// former has hundreds of tiles at once to do, as there are where it matters which variant is fastest.
const MEASURED: [(usize, usize); 2] = [(2048, 4096), (2048, 1024)];
const ROOMY: u64 = 256 << 20;

/// Samples and neurons of the comparison with exact sums.
const COMPARED: (usize, usize) = (272, 128);

/// All tiles of the triangle of a variant, on a device: submitting them is all that is left.
pub(super) struct Trial<'a> {
    variant: &'a Variant,
    constants: Vec<(&'static str, f64)>,
    z: Buffer<u32>,
    tiles: Buffer<[u32; 2]>,
    g: Buffer<f32>,
    params: Params,
}

impl<'a> Trial<'a> {
    /// Of samples and neurons that `words` holds, as the variant's form has them.
    fn new(
        gpu: &Gpu,
        variant: &'a Variant,
        (samples, neurons): (usize, usize),
        words: &[u32],
    ) -> Result<Self> {
        let side = neurons / variant.tile;
        let tiles: Vec<[u32; 2]> = (0..side)
            .flat_map(|a| (a..side).map(move |b| [a as u32, b as u32]))
            .collect();
        let values = tiles.len() * variant.tile * variant.tile;
        Ok(Self {
            variant,
            constants: variant.constants(gpu),
            z: gpu.upload("samples", words)?,
            g: gpu.zeros("tiles of the result", values)?,
            params: Params {
                stride: variant.stride(neurons),
                start: 0,
                end: samples as u32,
                count: tiles.len() as u32,
                first: 0,
                accumulate: 0,
                padding: [0; 2],
            },
            tiles: gpu.upload("tiles", &tiles)?,
        })
    }

    /// What is timed.
    pub(super) fn of_speed(gpu: &Gpu, variant: &'a Variant) -> Result<Self> {
        let [large, small] = MEASURED;
        let roomy = gpu.report().kind.is_real() && gpu.binding_bytes() >= ROOMY;
        let measured = if roomy { large } else { small };
        let (samples, neurons) = measured;
        let words = (samples * neurons * variant.form.bytes() / 4) as u32;
        // Numbers near 1 as two f16, near 0.01 as an f32: on zeros devices may be faster.
        let z: Vec<u32> = (0..words)
            .map(|at| 0x3c00_3c00 + at % 61 * 0x0010_0010)
            .collect();
        Self::new(gpu, variant, measured, &z)
    }

    /// Computes them so often, and waits.
    pub(super) fn run(&self, gpu: &Gpu, repeats: usize) -> Result<()> {
        let run = (&self.params, self.tiles.len());
        let constants = &self.constants;
        let dispatch = self
            .variant
            .dispatch(constants, (&self.z, &self.tiles), &self.g, run);
        gpu.submit("correlation", &vec![dispatch; repeats])?;
        gpu.wait("correlation")
    }
}

/// Whether a variant computes sums of whole numbers exactly, as it must: drivers may list matrix units that do something else.
///
/// # Errors
/// When it does not.
pub(super) fn compare(gpu: &Gpu, variant: &Variant) -> Result<()> {
    let (samples, neurons) = COMPARED;
    let value = |n: usize, j: usize| ((5 * n + 3 * j + n * j) % 7) as f32 - 3.0;
    let mut words = Vec::new();
    for n in 0..samples {
        let row = (0..neurons).map(|j| value(n, j));
        match variant.form {
            Form::Whole => words.extend(row.map(f32::to_bits)),
            Form::Halves(parts) => {
                // Of two parts the second one is a half, which counts 2⁻¹² then.
                let hi: Vec<u16> = row.map(|z| half::f16::from_f32(z).to_bits()).collect();
                let lo = half::f16::from_f32(0.5).to_bits();
                let row = hi.into_iter().chain(vec![lo; (parts - 1) * neurons]);
                let row: Vec<u16> = row.collect();
                let pairs = row.chunks_exact(2);
                words.extend(pairs.map(|pair| u32::from(pair[0]) | (u32::from(pair[1]) << 16)));
            }
        }
    }
    let trial = Trial::new(gpu, variant, COMPARED, &words)?;
    trial.run(gpu, 1)?;
    let g = gpu.download(&trial.g)?;
    let low = match variant.form {
        Form::Halves(2) => 1.0 / 4096.0,
        _ => 0.0,
    };
    // The first tile, whatever its size, is that of the first neurons.
    let right = (0..variant.tile * variant.tile).all(|at| {
        let (i, j) = (at / variant.tile, at % variant.tile);
        let product = |n: usize| {
            let (a, b) = (f64::from(value(n, i)), f64::from(value(n, j)));
            a * b + low * (a + b)
        };
        let exact: f64 = (0..samples).map(product).sum();
        (f64::from(g[at]) - exact).abs() <= 1e-3 * low
    });
    if right {
        return Ok(());
    }
    let problem = format!("sums of whole numbers by {} are not exact", variant.name);
    Err(gpu.error("correlation", problem))
}
