//! Which adapters there are, opening one, and what becomes of its errors.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::budget::Pace;
use super::kernel::Pipelines;
use super::matrix::{MatrixShape, open_with_units, shapes};
use super::memory::Memory;
use super::meter::Meter;
use super::recovery::{Corrupting, Failing, Recovery};
use super::staging::Staging;
use super::tuning::Tuned;
use super::validation::Ledger;
use crate::error::{Error, Result, Trouble};

/// What sort of device an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU that is handed to a virtual machine.
    Virtual,
    /// A CPU that plays a GPU (llvmpipe, WARP): for tests; the native CPU path is 10 to 25 times faster.
    Software,
    /// The driver does not say.
    Other,
}

impl AdapterKind {
    /// Whether `auto` and `gpu` may take it.
    pub fn is_real(self) -> bool {
        matches!(self, Self::Discrete | Self::Integrated | Self::Virtual)
    }

    /// The order in which `auto` prefers them.
    pub(super) fn preference(self) -> u8 {
        match self {
            Self::Discrete => 0,
            Self::Integrated => 1,
            Self::Virtual => 2,
            Self::Other => 3,
            Self::Software => 4,
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::Other => "other",
        })
    }
}

/// The limits of an adapter that bound our kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Largest storage binding, in bytes.
    pub binding_bytes: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_memory_bytes: u32,
    /// Threads a workgroup.
    pub workgroup_threads: u32,
    /// Workgroups along one dimension of a dispatch.
    pub workgroups_per_dimension: u32,
    /// Storage buffers a kernel.
    pub storage_buffers: u32,
}

/// We bind at most this much at once whatever the device allows: three such blocks fit half of an 8 GB card, and larger
/// ones are no faster.
const LARGEST_BINDING: u64 = 1 << 30;

/// What our kernels need at least: every WebGPU device has it.
const NEEDED: Limits = Limits {
    buffer_bytes: 128 << 20,
    binding_bytes: 128 << 20,
    workgroup_memory_bytes: 16 << 10,
    workgroup_threads: 256,
    workgroups_per_dimension: 65_535,
    storage_buffers: 8,
};

/// The optional feature that our kernels cannot do without: every Vulkan, Metal and DX12 device has it.
const REQUIRED: wgpu::Features = wgpu::Features::IMMEDIATES;

/// One adapter as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterReport {
    /// Its place in the list, which chooses it.
    pub index: usize,
    /// The name, any part of which chooses it.
    pub name: String,
    /// The vendor's number, as the driver gives it (PCI's, where the device is on such a bus).
    pub vendor_id: u32,
    /// The vendor's number of the device.
    pub device_id: u32,
    /// What sort of device it is.
    pub kind: AdapterKind,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver.
    pub driver: String,
    /// The driver's version.
    pub driver_info: String,
    /// Its limits.
    pub limits: Limits,
    /// Names of the optional features it has.
    pub features: Vec<String>,
    /// Shapes of its matrix units; empty where it has none.
    #[serde(default)]
    pub matrix_units: Vec<MatrixShape>,
    /// Threads of its smallest subgroup.
    #[serde(default)]
    pub subgroup_threads: u32,
}

impl fmt::Display for AdapterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.kind, self.backend)
    }
}

/// An opened GPU. Clones share the device.
#[derive(Clone)]
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) pipelines: Arc<Pipelines>,
    pub(super) shaders: Arc<HashMap<&'static str, String>>,
    pub(super) binding_limit: u64,
    pub(super) tuned: Arc<Tuned>,
    pub(super) meter: Option<Arc<Meter>>,
    /// What the last downloads went through, for the next ones.
    pub(super) readback: Arc<Mutex<Vec<wgpu::Buffer>>>,
    /// What large uploads go through.
    pub(super) ring: Arc<Mutex<Option<Staging>>>,
    /// What submissions of each operation took so far.
    pub(super) paces: Arc<Mutex<HashMap<&'static str, Pace>>>,
    pub(super) failing: Option<Arc<Failing>>,
    pub(super) corrupting: Option<Arc<Corrupting>>,
    pub(super) memory: Arc<Memory>,
    /// Whether operations check what comes back.
    pub(super) checked: bool,
    /// Where they are computed natively as well.
    pub(super) ledger: Option<Ledger>,
    pub(super) recovery: Arc<Recovery>,
    report: Arc<AdapterReport>,
    faults: Arc<Faults>,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({})", self.report)
    }
}

/// What went wrong outside any error scope.
#[derive(Debug, Default)]
struct Faults {
    /// The device is gone for good.
    lost: Mutex<Option<String>>,
    /// The driver reported an error that no scope caught; what was computed since is not to be trusted.
    uncaught: Mutex<Option<(String, Trouble)>>,
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // The secondary back end (GL) lists the same devices a second time, with fewer features.
    descriptor.backends = wgpu::Backends::PRIMARY;
    wgpu::Instance::new(descriptor)
}

pub(super) fn enumerate() -> Vec<(wgpu::Adapter, AdapterReport)> {
    pollster::block_on(instance().enumerate_adapters(wgpu::Backends::PRIMARY))
        .into_iter()
        .enumerate()
        .map(|(index, adapter)| {
            let report = describe(index, &adapter);
            (adapter, report)
        })
        .collect()
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> AdapterReport {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    AdapterReport {
        index,
        name: info.name,
        vendor_id: info.vendor,
        device_id: info.device,
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Other,
        },
        backend: info.backend.to_string(),
        driver: info.driver,
        driver_info: info.driver_info,
        limits: Limits {
            buffer_bytes: limits.max_buffer_size,
            binding_bytes: limits.max_storage_buffer_binding_size,
            workgroup_memory_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_threads: limits.max_compute_invocations_per_workgroup,
            workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
        },
        features: adapter
            .features()
            .iter_names()
            .map(|(name, _)| name.to_lowercase())
            .collect(),
        matrix_units: shapes(adapter),
        subgroup_threads: info.subgroup_min_size,
    }
}

/// Every adapter of the primary back ends (Vulkan, Metal, DX12), software ones included; empty where there is none.
pub fn adapters() -> Vec<AdapterReport> {
    enumerate().into_iter().map(|(_, report)| report).collect()
}

/// Opens an adapter with all of its limits and no optional feature but the required one and its matrix units.
pub(super) fn open(
    adapter: &wgpu::Adapter,
    report: &AdapterReport,
) -> std::result::Result<Gpu, String> {
    open_with_units(adapter, report, wgpu::Features::empty())
}

/// Opens an adapter with all of its limits and some of its optional features.
pub(super) fn open_with(
    adapter: &wgpu::Adapter,
    report: &AdapterReport,
    features: wgpu::Features,
    experimental_features: wgpu::ExperimentalFeatures,
) -> std::result::Result<Gpu, String> {
    let (has, need) = (&report.limits, NEEDED);
    if has.binding_bytes < need.binding_bytes
        || has.buffer_bytes < need.buffer_bytes
        || has.workgroup_memory_bytes < need.workgroup_memory_bytes
        || has.workgroup_threads < need.workgroup_threads
        || has.workgroups_per_dimension < need.workgroups_per_dimension
        || has.storage_buffers < need.storage_buffers
    {
        return Err(format!(
            "its limits {has:?} are below what the kernels need, {need:?}"
        ));
    }
    if !adapter.features().contains(REQUIRED) {
        return Err("it has no immediates, in which kernels take their parameters".to_owned());
    }
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("neurosieve"),
        required_features: features | REQUIRED,
        required_limits: adapter.limits(),
        experimental_features,
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    }))
    .map_err(|problem| problem.to_string())?;
    let faults = Arc::<Faults>::default();
    // The default handler of uncaught errors panics.
    let heard = Arc::clone(&faults);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        let trouble = match &error {
            wgpu::Error::OutOfMemory { .. } => Trouble::Memory,
            _ => Trouble::Refused,
        };
        remember(&heard.uncaught, (error.to_string(), trouble));
    }));
    let heard = Arc::clone(&faults);
    device.set_device_lost_callback(move |reason, message| {
        remember(&heard.lost, format!("{reason:?}: {message}"));
    });
    Ok(Gpu {
        device,
        queue,
        pipelines: Arc::default(),
        shaders: Arc::default(),
        tuned: Arc::default(),
        meter: None,
        readback: Arc::default(),
        ring: Arc::default(),
        paces: Arc::default(),
        failing: None,
        corrupting: None,
        memory: Memory::of(u64::MAX),
        checked: true,
        ledger: None,
        recovery: Arc::default(),
        binding_limit: has.binding_bytes.min(has.buffer_bytes).min(LARGEST_BINDING),
        report: Arc::new(report.clone()),
        faults,
    })
}

fn remember<T>(place: &Mutex<Option<T>>, what: T) {
    place
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(what);
}

fn recall<T: Clone>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Gpu {
    /// The adapter as the driver describes it.
    pub fn report(&self) -> &AdapterReport {
        &self.report
    }

    /// Gives the device back to the driver. Every later operation, on clones as well, is an error.
    pub fn destroy(&self) {
        self.device.destroy();
        // The loss is reported from inside a poll.
        drop(self.poll(None));
    }

    /// Waits for a submission, or for everything submitted. A device that is lost while it is waited for makes wgpu panic: that is a
    /// loss, too.
    pub(super) fn poll(
        &self,
        submission: Option<wgpu::SubmissionIndex>,
    ) -> std::result::Result<(), String> {
        let wait = || {
            let all = || self.device.poll(wgpu::PollType::wait_indefinitely());
            let Some(submission) = submission.clone() else {
                return all();
            };
            let one = self.device.poll(wgpu::PollType::Wait {
                submission_index: Some(submission),
                timeout: None,
            });
            // A device that is gone knows nothing of what came last, and says that it is gone where it is asked for everything.
            one.or_else(|_| all())
        };
        match catch_unwind(AssertUnwindSafe(wait)) {
            Ok(done) => done.map(drop).map_err(|problem| problem.to_string()),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
                let said = said.unwrap_or("while it was waited for").to_owned();
                remember(&self.faults.lost, said.clone());
                Err(said)
            }
        }
    }

    /// An [`Error::Gpu`] of this adapter.
    pub fn error(&self, operation: &str, problem: String) -> Error {
        self.trouble(operation, problem, Trouble::Refused)
    }

    pub(super) fn trouble(&self, operation: &str, problem: String, trouble: Trouble) -> Error {
        Error::Gpu {
            operation: operation.to_owned(),
            adapter: self.report.name.clone(),
            problem,
            trouble,
        }
    }

    /// Runs `body` inside error scopes of every kind.
    pub(super) fn scoped<T>(&self, operation: &str, body: impl FnOnce() -> T) -> Result<T> {
        self.healthy(operation)?;
        let scopes = [
            wgpu::ErrorFilter::Validation,
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Internal,
        ]
        .map(|filter| self.device.push_error_scope(filter));
        let value = body();
        let mut caught = None;
        for scope in scopes.into_iter().rev() {
            caught = pollster::block_on(scope.pop()).or(caught);
        }
        self.healthy(operation)?;
        match caught {
            None => Ok(value),
            Some(wgpu::Error::OutOfMemory { source }) => {
                let problem = format!("out of GPU memory ({source})");
                Err(self.trouble(operation, problem, Trouble::Memory))
            }
            Some(error) => Err(self.error(operation, error.to_string().trim().to_owned())),
        }
    }

    /// Whether the device is gone for good, or what it computes is not to be trusted any more.
    pub(super) fn is_lost(&self) -> bool {
        recall(&self.faults.lost).is_some()
            || recall(&self.faults.uncaught).is_some()
            || self.is_distrusted()
    }

    /// An error when the device is lost or has failed outside any scope.
    pub(super) fn healthy(&self, operation: &str) -> Result<()> {
        if let Some(message) = recall(&self.faults.lost) {
            let problem = format!("the device was lost ({message})");
            return Err(self.trouble(operation, problem, Trouble::Lost));
        }
        if let Some((message, trouble)) = recall(&self.faults.uncaught) {
            let problem = format!("the driver reported an error earlier ({message})");
            return Err(self.trouble(operation, problem, trouble));
        }
        Ok(())
    }
}
