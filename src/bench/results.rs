//! The document of `bench --json`.

use serde::{Deserialize, Serialize};

use super::Size;
use super::comparison::Comparison;
use crate::gpu::{AdapterReport, TimeSource};

/// Version of the layout of the document.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that one run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of neurosieve.
    pub neurosieve_version: String,
    /// How large the workloads were.
    pub size: Size,
    /// The machine and the device.
    pub system: System,
    /// What the device can do at most.
    pub roofs: Vec<Roof>,
    /// What it reaches.
    pub workloads: Vec<Row>,
    /// How long all of it took.
    pub seconds: f64,
    /// Beside an earlier run, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The machine and the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// Operating system: `linux`, `macos`, `windows`.
    pub os: String,
    /// Architecture of the processor: `x86_64`, `aarch64`.
    pub arch: String,
    /// The processor, where the system says.
    pub cpu: Option<String>,
    /// Threads that the native path uses.
    pub threads: usize,
    /// Memory of the machine, where the system says.
    pub memory_bytes: Option<u64>,
    /// What was measured: `cpu` (the native path) or `gpu`.
    pub device: String,
    /// The adapter, where that is a GPU: name, ids, type, back end, driver, limits, features.
    pub adapter: Option<AdapterReport>,
    /// Optional features that were in use.
    pub features_used: Vec<String>,
    /// False for a software adapter, whose figures say nothing of GPUs.
    pub ranked: bool,
}

impl System {
    /// Whether all but the memory is the same.
    pub fn same_but_for_memory(&self, other: &Self) -> bool {
        let bare = |system: &Self| Self {
            memory_bytes: None,
            ..system.clone()
        };
        bare(self) == bare(other)
    }

    /// The device in words.
    pub fn device_name(&self) -> String {
        match &self.adapter {
            Some(adapter) => adapter.to_string(),
            None => {
                let cpu = self.cpu.as_deref().unwrap_or(&self.arch);
                format!("{cpu}, {} threads, native", self.threads)
            }
        }
    }
}

/// Repetitions, after one that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Whose clock.
    pub clock: TimeSource,
    /// How many.
    pub repetitions: usize,
    /// Median seconds.
    pub median_s: f64,
    /// Fewest seconds.
    pub min_s: f64,
    /// Median absolute deviation from the median, seconds, not scaled.
    pub mad_s: f64,
}

/// What the device can do at most, by work that does nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roof {
    /// `roof.f32`, `roof.f16`, `roof.matrix.f16`, `roof.matrix.f32`, `roof.memory`, `roof.upload`, `roof.download`, `roof.launch`.
    pub name: String,
    /// What was done.
    pub what: String,
    /// Whether what came out is right; only then it has a time.
    pub valid: bool,
    /// Largest difference from what should come out; null where nothing came out.
    pub error: Option<f64>,
    /// What is allowed of it.
    pub tolerance: f64,
    /// Why there is no answer.
    pub problem: Option<String>,
    /// How long it took; null where the answer is wrong.
    pub times: Option<RoofTimes>,
}

/// How fast a roof is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoofTimes {
    /// Of one repetition.
    pub timing: Timing,
    /// FLOP or bytes of one repetition; 1 launch.
    pub work: f64,
    /// The roof, from the fastest repetition.
    pub value: f64,
    /// `GFLOP/s`, `GB/s` or `us`.
    pub unit: String,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `gram.f32` and so on.
    pub name: String,
    /// What it is.
    pub what: String,
    /// Its shape.
    pub shape: String,
    /// Whether its answer is right; only then it has times.
    pub valid: bool,
    /// What `error` is.
    pub error_is: String,
    /// Largest error against a reference in f64, over a sample of the answer (of the study the largest duality gap that its own
    /// certificates state); null where there is no answer, or the error is no finite number.
    pub error: Option<f64>,
    /// What is allowed of it: the operation's own tolerance; of products 1e-5 of the sizes of an element's terms, of losses and their
    /// gradients 2e-5, of certificates 1e-10 of the objective and of λ1, of sweeps and ablations no count, of the study the gap that
    /// its probes are asked for.
    pub tolerance: f64,
    /// Why there is no answer, or none with a finite error.
    pub problem: Option<String>,
    /// How long it took; null where the answer is wrong.
    pub times: Option<Times>,
}

/// How fast a workload is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// On a GPU the kernels alone, one after the other; natively, also beside a GPU, and where there is no kernel of its own, the
    /// whole call.
    pub timing: Timing,
    /// Useful FLOP; null where they are not counted.
    pub flop: Option<f64>,
    /// Bytes that have to be read or written at least once; null where they are not counted.
    pub bytes: Option<f64>,
    /// 10⁹ FLOP a second, by the median.
    pub gflops: Option<f64>,
    /// 10⁹ bytes a second, by the median.
    pub gbps: Option<f64>,
    /// The roof that binds, the one that takes longer at its best: `roof.f32` (`roof.matrix.f16`,
    /// `roof.matrix.f32` of what runs on matrix units) or `roof.memory`; null of certificates, which are native and f64.
    pub bound_by: Option<String>,
    /// Seconds at that roof ÷ median seconds. Over 1 where caches serve what the roof takes from memory.
    pub share_of_roof: Option<f64>,
    /// The whole call on a GPU.
    pub end_to_end: Option<EndToEnd>,
    /// Median seconds of the same call natively, beside a GPU: of three, after one that does not count. Null of what is native anyway.
    pub cpu_median_s: Option<f64>,
    /// `cpu_median_s` ÷ end to end with upload.
    pub speed_up_over_cpu: Option<f64>,
}

/// The whole call on a GPU, by the host's clock, download included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EndToEnd {
    /// From host memory: median seconds. Of losses the samples are on the device already, and coefficients come from there.
    pub with_upload_s: f64,
    /// Less the uploads, which are waited for one by one then: median seconds.
    pub without_upload_s: f64,
}
