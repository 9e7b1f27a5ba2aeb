//! The host side of `shaders/quadratic.wgsl`: programmes lie on shelves, each a set of buffers that share their
//! dispatches; the device decides what each programme does next, and the host asks now and then which are done.

use std::mem::offset_of;
use std::time::Instant;

use bytemuck::{Pod, Zeroable};

use super::{Programme, Solution, cpu};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Pace, Slot};
use crate::ops::verify;

/// Vectors that every programme has on the device.
const PLANES: usize = 10;
/// The plane of the point, and that of where it started.
const POINT: usize = 0;
const START: usize = 1;
/// Rows that a workgroup of `product` covers.
const ROWS: usize = 8;
/// Ticks that are submitted at first, and at most, before the host asks which programmes are done.
const TICKS: (usize, usize) = (4, 32);
/// Ticks that a programme may take beyond its steps: it finishes its phase.
const FINISH: usize = 16;
/// The last of the shader's phases.
const DONE: u32 = 4;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    plane: u32,
    groups: u32,
    unused0: u32,
    unused1: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Place {
    n: u32,
    stride: u32,
    matrix: u32,
    first: u32,
    steps: u32,
    tolerance: f32,
    unused0: u32,
    unused1: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct State {
    phase: u32,
    steps: u32,
    round: u32,
    swept: u32,
    rz: f32,
    goal: f32,
    t: f32,
    residual: f32,
}

const PLACES: Layout = Layout {
    name: "Programme",
    size: size_of::<Place>(),
    fields: &[
        ("n", offset_of!(Place, n)),
        ("stride", offset_of!(Place, stride)),
        ("matrix", offset_of!(Place, matrix)),
        ("first", offset_of!(Place, first)),
        ("steps", offset_of!(Place, steps)),
        ("tolerance", offset_of!(Place, tolerance)),
        ("unused0", offset_of!(Place, unused0)),
        ("unused1", offset_of!(Place, unused1)),
    ],
};

const STATES: Layout = Layout {
    name: "State",
    size: size_of::<State>(),
    fields: &[
        ("phase", offset_of!(State, phase)),
        ("steps", offset_of!(State, steps)),
        ("round", offset_of!(State, round)),
        ("swept", offset_of!(State, swept)),
        ("rz", offset_of!(State, rz)),
        ("goal", offset_of!(State, goal)),
        ("t", offset_of!(State, t)),
        ("residual", offset_of!(State, residual)),
    ],
};

const PARAMS: Binding = Binding::params(
    "params",
    Layout {
        name: "Params",
        size: size_of::<Params>(),
        fields: &[
            ("plane", offset_of!(Params, plane)),
            ("groups", offset_of!(Params, groups)),
            ("unused0", offset_of!(Params, unused0)),
            ("unused1", offset_of!(Params, unused1)),
        ],
    },
);

/// The bindings of a kernel that sees H and the vectors under these names, and only reads the states.
const fn reading(matrix: &'static str, vectors: &'static str) -> [Binding; 7] {
    [
        Binding::read(matrix),
        Binding::read_structs("programmes", PLACES),
        Binding::read("entries"),
        Binding::read_write(vectors),
        Binding::read_structs("now", STATES),
        Binding::read("work"),
        PARAMS,
    ]
}

const BLOCKS: &[Binding] = &reading("h", "v");
const PRODUCT: &[Binding] = &reading("h4", "v4");
const ADVANCE: &[Binding] = &[
    Binding::read("h"),
    Binding::read_structs("programmes", PLACES),
    Binding::read("entries"),
    Binding::read_write("v"),
    Binding {
        layout: Some(STATES),
        ..Binding::read_write("state")
    },
    Binding::read("work"),
    PARAMS,
];

const SOURCE: &str = include_str!("../../../shaders/quadratic.wgsl");

/// The kernels of `shaders/quadratic.wgsl`, in the order of a tick.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "quadratic",
        source: SOURCE,
        entry: "blocks",
        bindings: BLOCKS,
    },
    Kernel {
        shader: "quadratic",
        source: SOURCE,
        entry: "product",
        bindings: PRODUCT,
    },
    Kernel {
        shader: "quadratic",
        source: SOURCE,
        entry: "advance",
        bindings: ADVANCE,
    },
];

pub(super) fn solve(gpu: &Gpu, programmes: &[Programme<'_>]) -> Result<Vec<Solution>> {
    let mut solutions: Vec<Option<Solution>> = vec![None; programmes.len()];
    for members in shelves(programmes, gpu.binding_bytes()) {
        let chosen = members.iter().map(|&place| &programmes[place]).collect();
        for (place, solution) in members.iter().zip(Shelf::new(gpu, chosen)?.solve(gpu)?) {
            solutions[*place] = Some(solution);
        }
    }
    let native = |(place, solution): (usize, Option<Solution>)| {
        solution.unwrap_or_else(|| cpu::solve(&programmes[place]))
    };
    Ok(solutions.into_iter().enumerate().map(native).collect())
}

pub(super) fn bytes(entries: &[usize], binding: u64) -> u64 {
    let (mut matrices, mut vectors, mut largest) = (0, 0, 0);
    for (matrix, plane) in entries.iter().map(|&n| room(n)) {
        let matrix = 4 * matrix as u64;
        // What fits no binding is solved natively.
        if matrix <= binding {
            matrices += matrix;
            vectors += 4 * (PLANES + 4) as u64 * plane as u64;
            largest = largest.max(matrix);
        }
    }
    // The device's copy, and that of the writes under way.
    2 * matrices.min(binding) + vectors + largest
}

/// Values that H of n entries and a plane take, padded.
fn room(n: usize) -> (usize, usize) {
    let stride = n.next_multiple_of(4);
    (n * stride, stride)
}

/// Which programmes lie on each shelf: in order, as many as fit one binding of `binding` bytes. Those that do not fit even
/// alone lie on none.
fn shelves(programmes: &[Programme<'_>], binding: u64) -> Vec<Vec<usize>> {
    let values = usize::try_from(binding / 4).unwrap_or(usize::MAX);
    let mut shelves: Vec<Vec<usize>> = Vec::new();
    let mut taken = (0, 0);
    for (place, programme) in programmes.iter().enumerate() {
        let (matrix, plane) = room(programme.len());
        if programme.is_empty() || matrix > values || PLANES * plane > values {
            continue;
        }
        let fits = taken.0 + matrix <= values && PLANES * (taken.1 + plane) <= values;
        match shelves.last_mut() {
            Some(shelf) if fits => {
                shelf.push(place);
                taken = (taken.0 + matrix, taken.1 + plane);
            }
            _ => {
                shelves.push(vec![place]);
                taken = (matrix, plane);
            }
        }
    }
    shelves
}

/// Programmes on the device.
struct Shelf<'a> {
    programmes: Vec<&'a Programme<'a>>,
    places: Vec<Place>,
    /// Values of a plane.
    plane: usize,
    matrices: Buffer<f32>,
    described: Buffer<Place>,
    entries: Buffer<[f32; 4]>,
    vectors: Buffer<f32>,
    states: Buffer<State>,
}

/// The workgroups of one kernel.
struct Work {
    groups: usize,
    items: Buffer<[u32; 4]>,
    params: Slot<'static>,
}

impl<'a> Shelf<'a> {
    fn new(gpu: &Gpu, programmes: Vec<&'a Programme<'a>>) -> Result<Self> {
        let (mut matrix, mut plane) = (0, 0);
        let mut places = Vec::with_capacity(programmes.len());
        for programme in &programmes {
            let (values, stride) = room(programme.len());
            places.push(Place {
                n: programme.len() as u32,
                stride: stride as u32,
                matrix: matrix as u32,
                first: plane as u32,
                steps: programme.steps as u32,
                tolerance: programme.tolerance as f32,
                unused0: 0,
                unused1: 0,
            });
            matrix += values;
            plane += stride;
        }
        let matrices = gpu.zeros::<f32>("matrices of quadratic programmes", matrix)?;
        let mut entries = vec![[0.0, 0.0, 0.0, 1.0]; plane];
        let mut starts = vec![0.0f32; plane];
        for (programme, place) in programmes.iter().zip(&places) {
            let (first, n) = (place.first as usize, programme.len());
            let mut padded = vec![0.0f32; n * place.stride as usize];
            let rows = padded.chunks_exact_mut(place.stride as usize);
            for (to, from) in rows.zip(programme.h.chunks_exact(n)) {
                to[..n].copy_from_slice(from);
            }
            gpu.write(&matrices, place.matrix as usize, &padded)?;
            for (j, entry) in entries[first..first + n].iter_mut().enumerate() {
                let (g, l1) = (programme.g[j], programme.l1[j]);
                *entry = [g, l1, programme.mu[j], programme.scale[j]].map(|value| value as f32);
            }
            starts[first..first + n].copy_from_slice(programme.w);
        }
        let vectors = gpu.zeros::<f32>("vectors of quadratic programmes", PLANES * plane)?;
        for which in [POINT, START] {
            gpu.write(&vectors, which * plane, &starts)?;
        }
        Ok(Self {
            described: gpu.upload("quadratic programmes", &places)?,
            entries: gpu.upload("entries of quadratic programmes", &entries)?,
            states: gpu.zeros("states of quadratic programmes", places.len())?,
            programmes,
            places,
            plane,
            matrices,
            vectors,
        })
    }

    fn solve(&self, gpu: &Gpu) -> Result<Vec<Solution>> {
        let mut pace = Pace::starting_with(TICKS.0 as f64);
        let mut open: Vec<usize> = (0..self.places.len()).collect();
        let steps = self.programmes.iter().map(|p| p.steps).max();
        let mut left = steps.unwrap_or(0) + FINISH;
        let states = loop {
            let work = self.work(gpu, &open)?;
            let ticks = pace.groups(1.0).min(TICKS.1).min(left);
            let started = Instant::now();
            let tick: Vec<Dispatch<'_>> = KERNELS
                .iter()
                .zip(&work)
                .map(|(kernel, work)| self.dispatch(kernel, work))
                .collect();
            let ticked: Vec<_> = (0..ticks).flat_map(|_| tick.clone()).collect();
            gpu.submit("quadratic programmes", &ticked)?;
            let states: Vec<State> = gpu.download(&self.states)?;
            pace.took((ticks, 1.0), started.elapsed());
            open.retain(|&place| states[place].phase != DONE);
            if open.is_empty() {
                break states;
            }
            left -= ticks;
            if left == 0 {
                let problem = format!("{} of them never ended", open.len());
                let wrong = || Ok(Some(problem.clone()));
                verify::trusted(std::slice::from_ref(gpu), "quadratic programmes", wrong)?;
                return Err(gpu.error("quadratic programmes", problem));
            }
        };
        let range = POINT * self.plane..(POINT + 1) * self.plane;
        let points = gpu.download_range(&self.vectors, range)?;
        verify::trusted(std::slice::from_ref(gpu), "quadratic programmes", || {
            let wild = points.iter().any(|value| !value.is_finite());
            let mut spent = self.programmes.iter().zip(&states);
            let wild = wild || spent.any(|(p, state)| state.steps as usize > p.steps + FINISH);
            Ok(wild.then(|| "a solution is not finite, or took more steps than it may".to_owned()))
        })?;
        let solution = |((programme, place), state): ((&&Programme<'_>, &Place), &State)| {
            let first = place.first as usize;
            let n = programme.len();
            let square = |pair: &[usize]| ((pair[1] - pair[0]) as f64).powi(2);
            let blocks: f64 = programme.blocks.windows(2).map(square).sum();
            let products = 2.0 * (n as f64).powi(2) * f64::from(state.steps);
            Solution {
                u: points[first..first + n].to_vec(),
                steps: state.steps as usize,
                flop: products + 4.0 * blocks * f64::from(state.swept),
            }
        };
        let described = self.programmes.iter().zip(&self.places);
        Ok(described.zip(&states).map(solution).collect())
    }

    fn dispatch<'b>(&'b self, kernel: &'b Kernel, work: &'b Work) -> Dispatch<'b> {
        Dispatch {
            kernel,
            constants: &[],
            slots: vec![
                self.matrices.all(),
                self.described.all(),
                self.entries.all(),
                self.vectors.all(),
                self.states.all(),
                work.items.all(),
                work.params.clone(),
            ],
            groups: work.groups,
        }
    }

    /// The workgroups of each kernel for the programmes that are still open.
    fn work(&self, gpu: &Gpu, open: &[usize]) -> Result<Vec<Work>> {
        let mut blocks = Vec::new();
        let mut rows = Vec::new();
        let mut whole = Vec::new();
        for &place in open {
            let programme = self.programmes[place];
            let item = |from: usize, to: usize| [place as u32, from as u32, to as u32, 0];
            let pairs = programme.blocks.windows(2).filter(|p| p[0] < p[1]);
            blocks.extend(pairs.map(|pair| item(pair[0], pair[1])));
            let starts = (0..programme.len()).step_by(ROWS);
            rows.extend(starts.map(|from| item(from, from + ROWS)));
            whole.push(item(0, programme.len()));
        }
        let upload = |items: Vec<[u32; 4]>| {
            Ok(Work {
                groups: items.len(),
                params: Slot::params(&Params {
                    plane: self.plane as u32,
                    groups: items.len() as u32,
                    unused0: 0,
                    unused1: 0,
                }),
                items: gpu.upload("workgroups of quadratic programmes", &items)?,
            })
        };
        [blocks, rows, whole].into_iter().map(upload).collect()
    }
}
