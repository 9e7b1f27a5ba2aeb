//! Loss and gradient at given coefficients, all of it on a device: X·W, the loss and its derivative in the place of the
//! predictions (`shaders/probe_loss.wgsl`), Xᵀ·R. Coefficients go there, and sums come back: what has a value for every sample
//! never leaves the device.
//!
//! Column sums of X·W and, for gradients, of Xᵀ·R are checked as those of single products ([`super::verify`]); what happens between
//! the two is not, beside that a certificate, which is native, has to agree with where it led to.

mod answers;
mod gpu;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::Array2;

use self::answers::{Found, side_by_side};
use self::gpu::{Asked, Bench, at_once, sizes};
use super::gpu::{Resident, Room};
use super::passes::{AT_ONCE, Columns, Group, Passes};
use super::statement::Statement;
use super::targets::{Loss, Targets};
use super::tile::Tile;
use super::verify::Watch;
use super::{ASKED_LEAST, cpu, loss};
use crate::error::Result;
use crate::gpu::{AdapterKind, Buffer, Gpu};

pub use self::gpu::{KERNELS, oracle_bytes};

/// Groups of problems that make up their questions, wait for answers or take them, at once.
pub(super) const ASKING: usize = 4;

/// What is asked at some coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The loss, and its gradient.
    Gradient,
    /// The loss, and the diagonal of its Hessian (per entry of the coefficients).
    Diagonal,
}

impl Wanted {
    /// As the shader's constant.
    fn code(self) -> f64 {
        match self {
            Self::Gradient => 0.0,
            Self::Diagonal => 1.0,
        }
    }
}

/// A problem's slab, its coefficients, and what they are to predict.
pub(super) struct Ask<'a> {
    pub slab: usize,
    pub theta: &'a Array2<f32>,
    pub targets: &'a Arc<Targets>,
}

/// The loss, and what beside it was wanted: (d + 1) × columns, the intercepts' first.
pub(super) struct Answer {
    pub loss: f64,
    pub derivative: Array2<f64>,
}

/// What a device keeps from one question to the next.
#[derive(Default)]
pub(super) struct Kept {
    aims: Mutex<Vec<Arc<Aim>>>,
    /// Σ x and Σ |x| of each sample of a slab.
    of_samples: Mutex<Vec<Option<Arc<Buffer<f32>>>>>,
    /// As many as were under way at once.
    benches: Mutex<Vec<Bench>>,
}

/// Targets on a device, with weights of mean 1.
struct Aim {
    targets: Arc<Targets>,
    y: Buffer<u32>,
    weights: Buffer<f32>,
}

impl Aim {
    fn new(gpu: &Gpu, targets: &Arc<Targets>) -> Result<Self> {
        let n = targets.samples() as f64;
        let y = match targets.loss {
            Loss::Squared => gpu.upload("values", bytemuck::cast_slice(&targets.values)),
            Loss::Softmax | Loss::Sigmoid => gpu.upload("classes", &targets.y),
        };
        let weights: Vec<f32> = targets.omega.iter().map(|w| (w * n) as f32).collect();
        Ok(Self {
            targets: Arc::clone(targets),
            y: y?,
            weights: gpu.upload("weights", &weights)?,
        })
    }
}

/// Problems next to one another that have the same targets.
struct Stretch {
    aim: Arc<Aim>,
    /// The first one's place, and its first column.
    problem: usize,
    column: usize,
    classes: usize,
    problems: usize,
    constants: [(&'static str, f64); 2],
}

/// Whether a device is to be asked for loss and gradient of a problem on so many samples and neurons: it has its own memory, there is
/// enough to do, and the columns fit a binding together.
pub(super) fn is_asked(gpu: &Gpu, (samples, neurons): (usize, usize), columns: usize) -> bool {
    let flop = 4.0 * samples as f64 * ((neurons + 1) * columns) as f64;
    let room = Room::of((samples, neurons), gpu.binding_bytes());
    let discrete = gpu.report().kind == AdapterKind::Discrete;
    discrete && flop >= ASKED_LEAST && Tile::padded(columns) <= at_once(&room, samples)
}

impl Passes<'_> {
    /// Whether a device is to be asked for a problem's loss and gradient.
    pub(super) fn asks(&self, problem: &Statement) -> bool {
        let slab = self.slab(problem.slab);
        let shape = (slab.samples(), slab.width());
        let asked = |gpu| is_asked(gpu, shape, problem.targets.columns());
        self.backend.gpu().is_some_and(asked)
    }

    /// Whether a device can tell a problem's loss and gradient: its columns have to fit a binding together.
    fn tells(&self, ask: &Ask<'_>) -> bool {
        let resident = self.residents.as_ref().map(|all| &all[ask.slab]);
        let fits = |it: &Resident<'_>| at_once(&it.room, it.slab.samples());
        resident.is_some_and(|it| Tile::padded(ask.theta.ncols()) <= fits(it))
    }

    /// Which questions a device is asked together, and those that it is not asked.
    pub(super) fn questions(&self, asks: &[Ask<'_>]) -> (Vec<Vec<usize>>, Vec<usize>) {
        let all = 0..asks.len();
        let (told, others): (Vec<usize>, Vec<usize>) = all.partition(|&at| self.tells(&asks[at]));
        let columns: Vec<Columns<'_>> = told
            .iter()
            .map(|&at| (asks[at].slab, asks[at].theta))
            .collect();
        let groups = self.groups(&columns, self.asked_together());
        let members = |group: Group| group.members.into_iter().map(|at| told[at]).collect();
        (groups.into_iter().map(members).collect(), others)
    }

    /// Columns of a question at most, of several problems.
    fn asked_together(&self) -> usize {
        let residents = self.residents.iter().flatten();
        let fits = residents.map(|it| at_once(&it.room, it.slab.samples()));
        fits.min().unwrap_or(AT_ONCE).min(AT_ONCE)
    }

    /// Loss, and what is wanted beside it, of each problem: of a device that can tell them, else by single products and a native loss.
    /// How it is found depends on the problem alone.
    pub(super) fn ask(&self, asks: &[Ask<'_>], wanted: Wanted) -> Result<Vec<Answer>> {
        let all = 0..asks.len();
        let (told, others): (Vec<usize>, Vec<usize>) = all.partition(|&at| self.tells(&asks[at]));
        let of =
            |places: &[usize]| -> Vec<&Ask<'_>> { places.iter().map(|&at| &asks[at]).collect() };
        let mut answers: Vec<Option<Answer>> = asks.iter().map(|_| None).collect();
        let found = self.told(&of(&told), wanted)?;
        let by_products = self.by_products(&of(&others), wanted)?;
        for (at, answer) in told
            .into_iter()
            .zip(found)
            .chain(others.into_iter().zip(by_products))
        {
            answers[at] = Some(answer);
        }
        let answered = |answer: Option<Answer>| answer.expect("every problem is of one kind");
        Ok(answers.into_iter().map(answered).collect())
    }

    /// What a device tells.
    fn told(&self, asks: &[&Ask<'_>], wanted: Wanted) -> Result<Vec<Answer>> {
        let Some(residents) = self.residents.as_ref().filter(|_| !asks.is_empty()) else {
            return Ok(Vec::new());
        };
        let columns: Vec<Columns<'_>> = asks.iter().map(|ask| (ask.slab, ask.theta)).collect();
        let of = |group: &Group| -> Vec<&Ask<'_>> {
            let members = group.members.iter();
            members.map(|&at| asks[at]).collect()
        };
        let product = |group: &Group| {
            let taken = self.kept.benches().pop();
            let mut bench = taken.unwrap_or_default();
            self.computed(
                &residents[group.slab],
                group.slab,
                &of(group),
                wanted,
                &mut bench,
            )?;
            Ok(bench)
        };
        let finish = |group: &Group, bench: Bench| {
            let asks = of(group);
            let found = Found::new(&residents[group.slab], &asks, &bench);
            let sums = self.sums.get(group.slab);
            let sums = sums.filter(|_| wanted == Wanted::Gradient);
            let mut watch = sums.map(|sums| sums.watch(&found.of_residuals));
            let answers = found.answers(|row, values| {
                if let Some(watch) = &mut watch {
                    watch.take(row, values);
                }
            });
            self.trusted(group.slab, |sums| {
                let wrong = sums.of_predictions(found.weights, &found.of_predictions);
                wrong.or_else(|| watch.and_then(Watch::wrong))
            })?;
            self.kept.benches().push(bench);
            Ok(answers)
        };
        self.on_device(&columns, self.asked_together(), product, finish)
    }

    /// As many at a time as share a product: what has a value for every sample is not kept of more.
    fn by_products(&self, asks: &[&Ask<'_>], wanted: Wanted) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(asks.len());
        let mut rest = asks;
        while !rest.is_empty() {
            let mut columns = 0;
            let fits = |ask: &&&Ask<'_>| {
                columns += ask.theta.ncols();
                columns <= AT_ONCE
            };
            let (some, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = others;
            let thetas: Vec<Columns<'_>> = some.iter().map(|ask| (ask.slab, ask.theta)).collect();
            let (mut losses, mut derived) = (Vec::new(), Vec::new());
            for (ask, z) in some.iter().zip(self.forward(&thetas)?) {
                let mut residual = Array2::zeros(z.dim());
                losses.push(loss::loss(&z, ask.targets, &mut residual));
                derived.push(match wanted {
                    Wanted::Gradient => residual,
                    Wanted::Diagonal => loss::curvature(&residual, ask.targets),
                });
            }
            let each = some.iter().zip(&derived).map(|(ask, of)| (ask.slab, of));
            let derivatives = match wanted {
                Wanted::Gradient => self.backward(&each.collect::<Vec<Columns<'_>>>())?,
                Wanted::Diagonal => each
                    .map(|(slab, v)| cpu::squares(self.slab(slab), v.view()))
                    .collect::<Result<Vec<_>>>()?,
            };
            let each = losses.into_iter().zip(derivatives);
            answers.extend(each.map(|(loss, derivative)| Answer { loss, derivative }));
        }
        Ok(answers)
    }

    /// Computes what is asked of problems that see one slab, and fetches it to where the bench has room for it.
    fn computed(
        &self,
        resident: &Resident<'_>,
        slab: usize,
        asks: &[&Ask<'_>],
        wanted: Wanted,
        bench: &mut Bench,
    ) -> Result<()> {
        let (gpu, room) = (resident.gpu, &resident.room);
        let samples = resident.slab.samples();
        let width = Tile::padded(asks.iter().map(|ask| ask.theta.ncols()).sum());
        bench.fit(gpu, sizes(room, samples, (asks.len(), width)))?;
        side_by_side(asks, (room.neurons, width), &mut bench.weights);
        let mut intercepts: Vec<f32> = asks
            .iter()
            .flat_map(|ask| ask.theta.row(0))
            .copied()
            .collect();
        intercepts.resize(width, 0.0);
        gpu.write(bench.right(), 0, &bench.weights)?;
        gpu.write(bench.intercepts(), 0, &intercepts)?;
        let of_samples = self.of_samples(gpu, slab)?;
        let stretches = self.kept.stretches(gpu, asks, wanted)?;
        let mut returned = std::mem::take(&mut bench.returned);
        let asked = Asked {
            resident,
            bench,
            width,
            wanted,
            stretches: &stretches,
            of_samples: of_samples.as_deref(),
        };
        asked.answered(asks.len(), &mut returned)?;
        bench.returned = returned;
        Ok(())
    }

    /// Sums of a slab's samples on the device, where its products are checked.
    fn of_samples(&self, gpu: &Gpu, slab: usize) -> Result<Option<Arc<Buffer<f32>>>> {
        let Some(sums) = self.sums.get(slab) else {
            return Ok(None);
        };
        let mut all = self
            .kept
            .of_samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if all.len() <= slab {
            all.resize(slab + 1, None);
        }
        if all[slab].is_none() {
            all[slab] = Some(Arc::new(gpu.upload("sums of samples", &sums.of_samples())?));
        }
        Ok(all[slab].clone())
    }
}

impl Kept {
    fn benches(&self) -> MutexGuard<'_, Vec<Bench>> {
        self.benches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Targets on the device: they stay there.
    fn aim(&self, gpu: &Gpu, targets: &Arc<Targets>) -> Result<Arc<Aim>> {
        let mut aims = self.aims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(aim) = aims.iter().find(|aim| Arc::ptr_eq(&aim.targets, targets)) {
            return Ok(Arc::clone(aim));
        }
        let aim = Arc::new(Aim::new(gpu, targets)?);
        aims.push(Arc::clone(&aim));
        Ok(aim)
    }

    fn stretches(&self, gpu: &Gpu, asks: &[&Ask<'_>], wanted: Wanted) -> Result<Vec<Stretch>> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut column = 0;
        for (problem, ask) in asks.iter().enumerate() {
            let classes = ask.theta.ncols();
            match stretches.last_mut() {
                Some(last) if Arc::ptr_eq(&last.aim.targets, ask.targets) => last.problems += 1,
                _ => {
                    let kind = match ask.targets.loss {
                        Loss::Softmax => 0.0,
                        Loss::Sigmoid => 1.0,
                        Loss::Squared => 2.0,
                    };
                    stretches.push(Stretch {
                        aim: self.aim(gpu, ask.targets)?,
                        problem,
                        column,
                        classes,
                        problems: 1,
                        constants: [("KIND", kind), ("WANTED", wanted.code())],
                    });
                }
            }
            column += classes;
        }
        Ok(stretches)
    }
}
