//! The kernels of `shaders/correlation*.wgsl` that compute tiles of G, and which one a device runs fastest.

use std::cell::{Cell, RefCell};
use std::mem::offset_of;
use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};

use super::precision::{Kernels, Precision};
use crate::error::{Result, Trouble};
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, MatrixUnits, Slot};

/// FLOP from which on it pays to measure.
const WORTH_MEASURING: f64 = 2e10;

/// Samples and neurons of the measurement.
const MEASURED: (usize, usize) = (2048, 1024);

/// What a run that is timed should take, so that submitting it does not count, and how often its work is repeated for that.
const LONG_ENOUGH: Duration = Duration::from_millis(20);
const REPEATS: usize = 64;

/// Samples and neurons of the comparison with exact sums.
const COMPARED: (usize, usize) = (272, 128);

/// What z is on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// f32.
    Whole,
    /// So many f16: one, or two whose sum is z.
    Halves(usize),
}

impl Form {
    /// Bytes of one value.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Whole => 4,
            Self::Halves(parts) => 2 * parts,
        }
    }

    /// The class that it belongs to.
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::Whole => Precision::F32,
            Self::Halves(1) => Precision::F16,
            Self::Halves(_) => Precision::SplitF16,
        }
    }
}

/// A way to compute tiles of G.
#[derive(Debug)]
pub(super) struct Variant {
    /// What it is kept under: never another one's.
    number: usize,
    /// In words.
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// Neurons along a side of a tile.
    pub(super) tile: usize,
    /// What it runs on; none: any device.
    units: Option<MatrixUnits>,
}

/// All of them. Those that run everywhere come first, and of these the f32 ones: where nothing is measured the first one of
/// a class is taken, and without a reason it is not to be less exact than it could be.
pub(super) const VARIANTS: &[Variant] = &[
    Variant {
        number: 8,
        name: "f32, tiles of 64",
        form: Form::Whole,
        tile: 64,
        units: None,
    },
    Variant {
        number: 16,
        name: "f32, tiles of 128",
        form: Form::Whole,
        tile: 128,
        units: None,
    },
    Variant {
        number: 24,
        name: "f32 on 8 x 8 matrix units",
        form: Form::Whole,
        tile: 64,
        units: Some(MatrixUnits::SingleBy8),
    },
    Variant {
        number: 32,
        name: "f16, tiles of 64",
        form: Form::Halves(1),
        tile: 64,
        units: None,
    },
    Variant {
        number: 40,
        name: "f16, tiles of 128",
        form: Form::Halves(1),
        tile: 128,
        units: None,
    },
    Variant {
        number: 48,
        name: "f16 on 16 x 16 matrix units",
        form: Form::Halves(1),
        tile: 128,
        units: Some(MatrixUnits::HalfBy16),
    },
    Variant {
        number: 56,
        name: "split f16, tiles of 64",
        form: Form::Halves(2),
        tile: 64,
        units: None,
    },
    Variant {
        number: 64,
        name: "split f16 on 16 x 16 matrix units",
        form: Form::Halves(2),
        tile: 128,
        units: Some(MatrixUnits::HalfBy16),
    },
];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    pub(super) stride: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) count: u32,
    pub(super) first: u32,
    pub(super) accumulate: u32,
    pub(super) padding: [u32; 2],
}

const BINDINGS: &[Binding] = &[
    Binding::read("z"),
    Binding::read("tiles"),
    Binding::read_write("g"),
    Binding::params(
        "p",
        Layout {
            name: "Params",
            size: size_of::<Params>(),
            fields: &[
                ("stride", offset_of!(Params, stride)),
                ("start", offset_of!(Params, start)),
                ("end", offset_of!(Params, end)),
                ("count", offset_of!(Params, count)),
                ("first", offset_of!(Params, first)),
                ("accumulate", offset_of!(Params, accumulate)),
                ("padding", offset_of!(Params, padding)),
            ],
        },
    ),
];

/// The kernels that compute tiles of G.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "correlation",
        source: include_str!("../../../shaders/correlation.wgsl"),
        entry: "gram",
        bindings: BINDINGS,
    },
    Kernel {
        shader: "correlation_halves",
        source: include_str!("../../../shaders/correlation_halves.wgsl"),
        entry: "gram_halves",
        bindings: BINDINGS,
    },
    Kernel {
        shader: "correlation_matrix_f16",
        source: include_str!("../../../shaders/correlation_matrix_f16.wgsl"),
        entry: "gram_matrix_f16",
        bindings: BINDINGS,
    },
    Kernel {
        shader: "correlation_matrix_f32",
        source: include_str!("../../../shaders/correlation_matrix_f32.wgsl"),
        entry: "gram_matrix_f32",
        bindings: BINDINGS,
    },
];

impl Variant {
    fn kernel(&self) -> &'static Kernel {
        let at = match (self.units, self.form) {
            (None, Form::Whole) => 0,
            (None, Form::Halves(_)) => 1,
            (Some(MatrixUnits::HalfBy16), _) => 2,
            (Some(MatrixUnits::SingleBy8), _) => 3,
        };
        &KERNELS[at]
    }

    /// Words of four values in a row of z of so many columns.
    pub(super) fn stride(&self, columns: usize) -> u32 {
        let parts = match self.form {
            Form::Whole => 1,
            Form::Halves(parts) => parts,
        };
        (parts * columns / 4) as u32
    }

    /// The dispatch of `params`, whose count it is told.
    pub(super) fn dispatch<'a>(
        &self,
        constants: &'a [(&'static str, f64)],
        (z, tiles): (&'a Buffer<u32>, &'a Buffer<[u32; 2]>),
        g: &'a Buffer<f32>,
        (params, count): (&Params, usize),
    ) -> Dispatch<'a> {
        Dispatch {
            kernel: self.kernel(),
            constants,
            slots: vec![z.all(), tiles.all(), g.all(), Slot::params(params)],
            groups: count,
        }
    }

    pub(super) fn needs_units(&self) -> bool {
        self.units.is_some()
    }

    /// Whether a device can run it, and whole numbers come out exactly there.
    ///
    /// # Errors
    /// When the device is lost or out of memory.
    pub(super) fn is_right_on(&self, gpu: &Gpu) -> Result<bool> {
        if !self.runs_on(gpu) {
            return Ok(false);
        }
        match compare(gpu, self) {
            Err(error) if error.trouble() == Some(Trouble::Refused) => Ok(false),
            compared => compared.map(|()| true),
        }
    }

    /// The constants of its kernel on a device.
    pub(super) fn constants(&self, gpu: &Gpu) -> Vec<(&'static str, f64)> {
        let parts = match self.form {
            Form::Whole => 1.0,
            Form::Halves(parts) => parts as f64,
        };
        let threads = self.threads(gpu) as f64;
        match self.units {
            Some(MatrixUnits::SingleBy8) => vec![("THREADS", threads)],
            Some(MatrixUnits::HalfBy16) => vec![
                ("THREADS", threads),
                ("PARTS", parts),
                ("PANEL", parts * (ROWS * PADDED) as f64),
            ],
            None => {
                let side = (self.tile / 8) as f64;
                let mut all = vec![
                    ("SIDE", side),
                    ("THREADS", threads),
                    ("WORDS", 2.0 * side),
                    ("PANEL", 32.0 * side * parts),
                ];
                if self.form != Form::Whole {
                    all.push(("PARTS", parts));
                }
                all
            }
        }
    }

    /// Threads of a workgroup.
    fn threads(&self, gpu: &Gpu) -> usize {
        let smallest = gpu.report().subgroup_threads as usize;
        match self.units {
            None => self.tile * self.tile / 64,
            Some(MatrixUnits::HalfBy16) => 8 * smallest,
            Some(MatrixUnits::SingleBy8) => 4 * smallest,
        }
    }

    /// Whether a device can run it at all.
    fn runs_on(&self, gpu: &Gpu) -> bool {
        let Some(units) = self.units else {
            return true;
        };
        let limits = &gpu.report().limits;
        let memory = match units {
            MatrixUnits::HalfBy16 => 2 * ROWS * PADDED * self.form.bytes(),
            MatrixUnits::SingleBy8 => 2 * ROWS * 68 * 4,
        };
        let threads = self.threads(gpu);
        gpu.has(units)
            && (1..=limits.workgroup_threads as usize).contains(&threads)
            && memory <= limits.workgroup_memory_bytes as usize
    }

    /// Whether a class allows it, and a choice of kernels.
    fn serves(&self, precision: Precision, kernels: Kernels) -> bool {
        let own = self.form.precision();
        match kernels {
            // Two products more than one are no faster than one.
            Kernels::Any => own == Precision::F32 || own == precision,
            Kernels::Plain => own == precision && self.units.is_none(),
            Kernels::Matrix => own == precision && self.units.is_some(),
        }
    }
}

/// Samples of a step of the kernels on 16 x 16 units, and values of one of their rows in workgroup memory.
const ROWS: usize = 16;
const PADDED: usize = 136;

/// Under which name a choice is kept.
fn choice(precision: Precision, kernels: Kernels) -> &'static str {
    match (precision, kernels) {
        (Precision::F32, Kernels::Any) => "correlation",
        (Precision::F32, Kernels::Plain) => "correlation, plain",
        (Precision::F32, Kernels::Matrix) => "correlation, matrix units",
        (Precision::SplitF16, Kernels::Any) => "correlation in split f16",
        (Precision::SplitF16, Kernels::Plain) => "correlation in split f16, plain",
        (Precision::SplitF16, Kernels::Matrix) => "correlation in split f16, matrix units",
        (Precision::F16, Kernels::Any) => "correlation in f16",
        (Precision::F16, Kernels::Plain) => "correlation in f16, plain",
        (Precision::F16, Kernels::Matrix) => "correlation in f16, matrix units",
    }
}

/// The variants that a class and a choice of kernels leave on a device.
fn possible(gpu: &Gpu, precision: Precision, kernels: Kernels) -> Vec<&'static Variant> {
    let fits = |v: &&Variant| v.serves(precision, kernels) && v.runs_on(gpu);
    VARIANTS.iter().filter(fits).collect()
}

/// Whether a device has matrix units for a class's own numbers.
pub fn has_matrix_kernel(gpu: &Gpu, precision: Precision) -> bool {
    !possible(gpu, precision, Kernels::Matrix).is_empty()
}

/// The best variant for this device, of those that are allowed, for so many FLOP.
pub(super) fn fastest(
    gpu: &Gpu,
    (precision, kernels): (Precision, Kernels),
    flop: f64,
) -> Result<&'static Variant> {
    let possible = possible(gpu, precision, kernels);
    if possible.is_empty() {
        let problem = format!("the device has no matrix units for {precision}");
        return Err(gpu.error("correlation", problem));
    }
    let numbers: Vec<usize> = possible.iter().map(|variant| variant.number).collect();
    let by_number = |number: usize| {
        let variant = possible.iter().find(|variant| variant.number == number);
        *variant.expect("one of the candidates")
    };
    let compared = RefCell::new(Vec::new());
    let repeats = Cell::new(0);
    let run = |number: usize| {
        let variant = by_number(number);
        if variant.units.is_some() && !compared.borrow().contains(&number) {
            compare(gpu, variant)?;
            compared.borrow_mut().push(number);
        }
        if repeats.get() == 0 {
            measured(gpu, variant, 1)?; // compiles it
            let begun = Instant::now();
            measured(gpu, variant, 1)?;
            let fit = LONG_ENOUGH.as_secs_f64() / begun.elapsed().as_secs_f64().max(1e-6);
            repeats.set((fit as usize).clamp(1, REPEATS));
        }
        measured(gpu, variant, repeats.get())
    };
    let worth = flop >= WORTH_MEASURING;
    let number = gpu.tuned(choice(precision, kernels), &numbers, worth, &run)?;
    Ok(by_number(number))
}

/// Products of as many samples and neurons of `z`, all tiles of the triangle, computed so often.
fn products(
    gpu: &Gpu,
    variant: &Variant,
    (samples, neurons): (usize, usize),
    z: &Buffer<u32>,
    repeats: usize,
) -> Result<Buffer<f32>> {
    let side = neurons / variant.tile;
    let tiles: Vec<[u32; 2]> = (0..side)
        .flat_map(|a| (a..side).map(move |b| [a as u32, b as u32]))
        .collect();
    let values = tiles.len() * variant.tile * variant.tile;
    let g = gpu.zeros::<f32>("tiles of the result", values)?;
    let params = Params {
        stride: variant.stride(neurons),
        start: 0,
        end: samples as u32,
        count: tiles.len() as u32,
        first: 0,
        accumulate: 0,
        padding: [0; 2],
    };
    let count = tiles.len();
    let tiles = gpu.upload("tiles", &tiles)?;
    let constants = variant.constants(gpu);
    let dispatch = variant.dispatch(&constants, (z, &tiles), &g, (&params, count));
    gpu.submit("correlation", &vec![dispatch; repeats])?;
    gpu.wait("correlation")?;
    Ok(g)
}

/// What is timed.
fn measured(gpu: &Gpu, variant: &Variant, repeats: usize) -> Result<()> {
    let (samples, neurons) = MEASURED;
    let words = samples * neurons * variant.form.bytes() / 4;
    let z = gpu.zeros::<u32>("samples", words)?;
    products(gpu, variant, MEASURED, &z, repeats)?;
    Ok(())
}

/// Whether a variant computes sums of whole numbers exactly, as it must: drivers may list matrix units that do something else.
///
/// # Errors
/// When it does not.
fn compare(gpu: &Gpu, variant: &Variant) -> Result<()> {
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
    let z = gpu.upload("samples", &words)?;
    let g = gpu.download(&products(gpu, variant, COMPARED, &z, 1)?)?;
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
