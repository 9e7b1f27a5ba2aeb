//! The kernels of `shaders/correlation*.wgsl` that compute tiles of G, and which one a device runs fastest.

use std::cell::{Cell, RefCell};
use std::mem::offset_of;
use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};

use super::precision::{Kernels, Precision};
use super::trial::{Trial, compare};
use crate::error::{Result, Trouble};
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, MatrixUnits, Slot};

/// FLOP from which on it pays to measure.
const WORTH_MEASURING: f64 = 2e10;

/// What a run that is timed should take, so that submitting it does not count, and how often its work is repeated for that.
const LONG_ENOUGH: Duration = Duration::from_millis(20);
const REPEATS: usize = 64;

/// How long a device works before it is measured.
const AWAKE: Duration = Duration::from_millis(150);

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
    /// Whether it is the kernel with memory for two steps.
    double: bool,
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
        double: false,
    },
    Variant {
        number: 16,
        name: "f32, tiles of 128",
        form: Form::Whole,
        tile: 128,
        units: None,
        double: false,
    },
    Variant {
        number: 17,
        name: "f32, tiles of 128, two steps in memory",
        form: Form::Whole,
        tile: 128,
        units: None,
        double: true,
    },
    Variant {
        number: 24,
        name: "f32 on 8 x 8 matrix units",
        form: Form::Whole,
        tile: 64,
        units: Some(MatrixUnits::SingleBy8),
        double: false,
    },
    Variant {
        number: 32,
        name: "f16, tiles of 64",
        form: Form::Halves(1),
        tile: 64,
        units: None,
        double: false,
    },
    Variant {
        number: 40,
        name: "f16, tiles of 128",
        form: Form::Halves(1),
        tile: 128,
        units: None,
        double: false,
    },
    Variant {
        number: 49,
        name: "f16 on 16 x 16 matrix units",
        form: Form::Halves(1),
        tile: 128,
        units: Some(MatrixUnits::HalfBy16),
        double: false,
    },
    Variant {
        number: 56,
        name: "split f16, tiles of 64",
        form: Form::Halves(2),
        tile: 64,
        units: None,
        double: false,
    },
    Variant {
        number: 65,
        name: "split f16 on 16 x 16 matrix units",
        form: Form::Halves(2),
        tile: 128,
        units: Some(MatrixUnits::HalfBy16),
        double: false,
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
        shader: "correlation_wide",
        source: include_str!("../../../shaders/correlation_wide.wgsl"),
        entry: "gram_wide",
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
        shader: "correlation_matrix_split",
        source: include_str!("../../../shaders/correlation_matrix_split.wgsl"),
        entry: "gram_matrix_split",
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
            (None, Form::Whole) if self.double => 1,
            (None, Form::Whole) => 0,
            (None, Form::Halves(_)) => 2,
            (Some(MatrixUnits::HalfBy16), Form::Halves(2)) => 4,
            (Some(MatrixUnits::HalfBy16), _) => 3,
            (Some(MatrixUnits::SingleBy8), _) => 5,
        };
        &KERNELS[at]
    }

    /// Samples that it sums before it adds to a tile: blocks of whole runs change no bit.
    pub(super) fn run(&self) -> usize {
        match (self.units, self.form) {
            (Some(MatrixUnits::HalfBy16), Form::Halves(2)) => 512,
            (Some(MatrixUnits::HalfBy16), _) => 1024,
            _ => 256,
        }
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
            Some(MatrixUnits::HalfBy16) => {
                vec![("THREADS", threads), ("WORDS", STEP_WORDS as f64 / threads)]
            }
            None if self.double => Vec::new(),
            None => {
                let side = (self.tile / 8) as f64;
                let all = [("SIDE", side), ("THREADS", threads), ("WORDS", 2.0 * side)];
                let halves = [("PANEL", 32.0 * side * parts), ("PARTS", parts)];
                match self.form {
                    Form::Whole => all.to_vec(),
                    Form::Halves(_) => [&all[..], &halves].concat(),
                }
            }
        }
    }

    /// Threads of a workgroup.
    fn threads(&self, gpu: &Gpu) -> usize {
        let smallest = gpu.report().subgroup_threads as usize;
        match self.units {
            None => self.tile * self.tile / 64,
            Some(MatrixUnits::HalfBy16) if self.form == Form::Halves(2) => 16 * smallest,
            Some(MatrixUnits::HalfBy16) => 4 * smallest,
            Some(MatrixUnits::SingleBy8) => 4 * smallest,
        }
    }

    /// Whether a device can run it at all.
    fn runs_on(&self, gpu: &Gpu) -> bool {
        let limits = &gpu.report().limits;
        let memory = match self.units {
            None if self.double => 32 << 10,
            // What every device has that we use.
            None => 0,
            Some(MatrixUnits::HalfBy16) => 2 * STEP_WORDS / 32 * 34 * 8,
            Some(MatrixUnits::SingleBy8) => 2 * 16 * 68 * 4,
        };
        let threads = self.threads(gpu);
        self.units.is_none_or(|units| gpu.has(units))
            && (1..=limits.workgroup_threads as usize).contains(&threads)
            && STEP_WORDS.is_multiple_of(threads)
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

/// Words of four values that a step of the kernels on 16 x 16 units takes of each side: 32 samples of a tile, or 16 of two
/// parts.
const STEP_WORDS: usize = 1024;

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
    let trials: RefCell<Vec<(usize, Trial<'_>)>> = RefCell::default();
    let repeats = Cell::new(0);
    let run = |number: usize| {
        let mut trials = trials.borrow_mut();
        let known = trials.iter().position(|(of, _)| *of == number);
        let place = match known {
            Some(place) => place,
            None => {
                // The first call of each is not timed.
                let variant = by_number(number);
                if variant.units.is_some() {
                    compare(gpu, variant)?;
                }
                trials.push((number, Trial::of_speed(gpu, variant)?));
                trials.len() - 1
            }
        };
        let trial = &trials[place].1;
        if repeats.get() == 0 {
            repeats.set(repeated(gpu, trial)?);
        }
        trial.run(gpu, repeats.get())
    };
    let worth = flop >= WORTH_MEASURING;
    let number = gpu.tuned(choice(precision, kernels), &numbers, worth, &run)?;
    Ok(by_number(number))
}

/// How often a trial is repeated to take long enough, on a device that has raised its clock: none is to be measured before the
/// others.
fn repeated(gpu: &Gpu, trial: &Trial<'_>) -> Result<usize> {
    let fitting = || {
        let begun = Instant::now();
        trial.run(gpu, 1)?;
        let fit = LONG_ENOUGH.as_secs_f64() / begun.elapsed().as_secs_f64().max(1e-6);
        Ok((fit as usize).clamp(1, REPEATS))
    };
    trial.run(gpu, 1)?; // compiles it
    let few = fitting()?;
    let begun = Instant::now();
    while gpu.report().kind.is_real() && begun.elapsed() < AWAKE {
        trial.run(gpu, few)?;
    }
    fitting()
}
