//! `--device`: a choice to a back end, and how results name it.

use crate::error::Result;
use crate::gpu::{self, Choice};
use crate::ops::Backend;
use crate::study::results::DeviceUsed;

/// Opens the device that was asked for.
pub(super) fn choose(asked: &str) -> Result<(Backend, DeviceUsed)> {
    Ok(match gpu::choose(asked)? {
        Choice::Cpu { reason } => (
            Backend::Cpu,
            DeviceUsed {
                kind: "cpu".into(),
                name: threads(),
                driver: String::new(),
                reason,
            },
        ),
        Choice::Gpu { gpu, reason } => {
            let report = gpu.report();
            let device = DeviceUsed {
                kind: "gpu".into(),
                name: report.name.clone(),
                driver: format!("{} {}", report.driver, report.driver_info)
                    .trim()
                    .to_owned(),
                reason,
            };
            (Backend::Gpu(gpu), device)
        }
    })
}

fn threads() -> String {
    match rayon::current_num_threads() {
        1 => "1 thread".into(),
        threads => format!("{threads} threads"),
    }
}
