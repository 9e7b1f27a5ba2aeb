//! Kernels: a WGSL entry point with its bindings, compiled once per device, dispatched with a folded grid.
//!
//! Entry points of one text share a module, since parsing it is most of what precedes the driver's part. That part the driver keeps in a
//! cache of its own from one process to the next; a pipeline cache of wgpu's beside it gained nothing where it was measured
//! (`benches/results/2026-11-27_pipelines-llvmpipe.json`), and `unsafe` code would have to trust the file that its data are in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffer::Slot;
use super::device::Gpu;
use super::meter::Timestamps;
use super::source::prepared;
use crate::error::Result;

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
    /// `var<immediate>`: parameters that travel with the dispatch, in no buffer.
    Params,
}

/// The layout of a `#[repr(C)]` struct that the host shares with a shader; a test compares it with the shader's.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Name of the struct in the shader.
    pub name: &'static str,
    /// `size_of` the host's struct.
    pub size: usize,
    /// Name and `offset_of!` each of its fields, in order.
    pub fields: &'static [(&'static str, usize)],
}

/// One binding of group 0, whose number is its place among the buffers of [`Kernel::bindings`], or the parameters of a
/// dispatch, which have none.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Name of the variable in the shader.
    pub name: &'static str,
    /// How the kernel uses it.
    pub access: Access,
    /// Layout of the struct behind it, or of the structs, where they are such.
    pub layout: Option<Layout>,
}

impl Binding {
    /// A storage buffer that the kernel reads.
    pub const fn read(name: &'static str) -> Self {
        Self {
            name,
            access: Access::Read,
            layout: None,
        }
    }

    /// A storage buffer of structs that the kernel reads.
    pub const fn read_structs(name: &'static str, layout: Layout) -> Self {
        Self {
            name,
            access: Access::Read,
            layout: Some(layout),
        }
    }

    /// A storage buffer that the kernel writes.
    pub const fn read_write(name: &'static str) -> Self {
        Self {
            name,
            access: Access::ReadWrite,
            layout: None,
        }
    }

    /// The parameters of each dispatch: one struct of at most 128 bytes.
    pub const fn params(name: &'static str, layout: Layout) -> Self {
        Self {
            name,
            access: Access::Params,
            layout: Some(layout),
        }
    }
}

/// An entry point of a shader.
///
/// A dispatch of more than 65,535 workgroups is folded into two dimensions, so a kernel finds its number as
/// `workgroup_id.y * num_workgroups.x + workgroup_id.x` and must return when that is not below the count it was given.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// The stem of the shader's file.
    pub shader: &'static str,
    /// The WGSL text (`include_str!`).
    pub source: &'static str,
    /// The entry point.
    pub entry: &'static str,
    /// Bindings of group 0, in order, without gaps, and the parameters where there are any.
    pub bindings: &'static [Binding],
}

impl Kernel {
    /// The text that is compiled, with marked loops written out and constants set, and those constants that are overrides.
    pub fn text<'a>(&self, constants: &[(&'a str, f64)]) -> (String, Vec<(&'a str, f64)>) {
        prepared(self.source, constants)
    }

    /// Bytes of the parameters of a dispatch.
    fn immediate_size(&self) -> u32 {
        let params = self.bindings.iter().filter(|b| b.access == Access::Params);
        let layouts = params.filter_map(|binding| binding.layout);
        layouts.map(|layout| layout.size as u32).sum()
    }

    /// The buffers of group 0.
    fn layout(&self) -> Vec<wgpu::BindGroupLayoutEntry> {
        let read_only = |binding: &Binding| match binding.access {
            Access::Read => Some(true),
            Access::ReadWrite => Some(false),
            Access::Params => None,
        };
        (0..)
            .zip(self.bindings.iter().filter_map(read_only))
            .map(|(binding, read_only)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect()
    }
}

/// One dispatch of a kernel.
#[derive(Debug, Clone)]
pub struct Dispatch<'a> {
    /// What to run.
    pub kernel: &'a Kernel,
    /// Values of the shader's `override` constants and of its `const` ones, by name.
    pub constants: &'a [(&'static str, f64)],
    /// What to bind, in the order of the kernel's bindings.
    pub slots: Vec<Slot<'a>>,
    /// Number of workgroups; folded into two dimensions.
    pub groups: usize,
}

/// A dispatch with its pipeline and the two sides of its grid.
type Recorded<'a> = (wgpu::ComputePipeline, &'a Dispatch<'a>, (u32, u32));

type Key = (&'static str, &'static str, Vec<(&'static str, u64)>);

/// Compiled pipelines of one device, and the modules that they are of.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    pipelines: HashMap<Key, wgpu::ComputePipeline>,
    /// By their text as it is compiled: entry points share one that is parsed and validated.
    modules: HashMap<String, wgpu::ShaderModule>,
}

impl Pipelines {
    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.made().pipelines.len()
    }
}

impl Gpu {
    /// Submits dispatches in order, as one piece of work; each sees what the ones before it wrote. Does not wait.
    ///
    /// # Errors
    /// When a kernel does not compile, what is bound does not fit it, or the device is out of memory or lost.
    pub fn submit(&self, operation: &str, dispatches: &[Dispatch<'_>]) -> Result<()> {
        self.trouble_on_purpose(operation)?;
        let mut recorded = Vec::with_capacity(dispatches.len());
        for dispatch in dispatches {
            if dispatch.groups == 0 {
                continue;
            }
            let pipeline = self.pipeline(dispatch.kernel, dispatch.constants)?;
            recorded.push((pipeline, dispatch, self.folded(operation, dispatch.groups)?));
        }
        let first = recorded.first().map(|(_, dispatch, _)| dispatch.kernel);
        match (&self.meter, first) {
            (Some(meter), Some(first)) => {
                let name = format!("{}/{}", first.shader, first.entry);
                let pass = |writes: Timestamps<'_>| self.pass(operation, &recorded, writes);
                meter.time(self, operation, name, &pass)
            }
            _ => self.pass(operation, &recorded, None),
        }
    }

    /// Submits dispatches whose pipelines are there as one compute pass.
    fn pass(
        &self,
        operation: &str,
        recorded: &[Recorded<'_>],
        timestamp_writes: Timestamps<'_>,
    ) -> Result<()> {
        self.scoped(operation, || {
            let mut encoder = self
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor {
                    label: Some(operation),
                });
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(operation),
                    timestamp_writes,
                });
                for (pipeline, dispatch, (x, y)) in recorded {
                    let buffers = dispatch.slots.iter().filter_map(Slot::buffer);
                    let entries: Vec<_> = (0..)
                        .zip(buffers)
                        .map(|(binding, buffer)| wgpu::BindGroupEntry {
                            binding,
                            resource: wgpu::BindingResource::Buffer(buffer.clone()),
                        })
                        .collect();
                    let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some(dispatch.kernel.entry),
                        layout: &pipeline.get_bind_group_layout(0),
                        entries: &entries,
                    });
                    pass.set_pipeline(pipeline);
                    pass.set_bind_group(0, &group, &[]);
                    for params in dispatch.slots.iter().filter_map(Slot::bytes) {
                        pass.set_immediates(0, params);
                    }
                    pass.dispatch_workgroups(*x, *y, 1);
                }
            }
            self.queue.submit([encoder.finish()]);
        })
    }

    /// Blocks until everything submitted is done.
    ///
    /// # Errors
    /// When the device was lost, or reported an error that no call returned.
    pub fn wait(&self, operation: &str) -> Result<()> {
        self.waited(operation, None)
    }

    /// Blocks until a submission and all before it are done, whatever was submitted later; a metered handle waits for everything.
    pub(super) fn wait_for(
        &self,
        operation: &str,
        submission: wgpu::SubmissionIndex,
    ) -> Result<()> {
        self.waited(operation, Some(submission).filter(|_| self.meter.is_none()))
    }

    fn waited(&self, operation: &str, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        self.scoped(operation, || self.poll(submission))?
            .map_err(|problem| self.error(operation, problem))?;
        if let Some(meter) = &self.meter {
            meter.is_done();
        }
        self.healthy(operation)
    }

    /// A handle to the same device on which the shader of this stem has another text, for tests that break a kernel on
    /// purpose and for trying variants. What it gives back is not checked ([`Gpu::checked`]).
    pub fn with_shader(&self, shader: &'static str, source: String) -> Self {
        let mut other = self.clone();
        let mut shaders = (*other.shaders).clone();
        shaders.insert(shader, source);
        other.shaders = Arc::new(shaders);
        other.pipelines = Arc::default();
        other.recovery = Arc::default();
        other.checked(false)
    }

    fn folded(&self, operation: &str, groups: usize) -> Result<(u32, u32)> {
        let widest = self.report().limits.workgroups_per_dimension as usize;
        let rows = groups.div_ceil(widest);
        // Rows of equal width leave the fewest surplus workgroups.
        let width = groups.div_ceil(rows);
        if rows > widest {
            return Err(self.error(
                operation,
                format!(
                    "{groups} workgroups are more than {} that one dispatch holds",
                    widest * widest
                ),
            ));
        }
        Ok((width as u32, rows as u32))
    }

    fn pipeline(
        &self,
        kernel: &Kernel,
        constants: &[(&'static str, f64)],
    ) -> Result<wgpu::ComputePipeline> {
        let key = (
            kernel.shader,
            kernel.entry,
            constants
                .iter()
                .map(|&(name, value)| (name, value.to_bits()))
                .collect(),
        );
        let mut made = self.pipelines.made();
        if let Some(pipeline) = made.pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = self.compile(kernel, constants, &mut made.modules)?;
        made.pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(
        &self,
        kernel: &Kernel,
        constants: &[(&'static str, f64)],
        modules: &mut HashMap<String, wgpu::ShaderModule>,
    ) -> Result<wgpu::ComputePipeline> {
        let operation = format!("compile {}.wgsl, {}", kernel.shader, kernel.entry);
        let source = self
            .shaders
            .get(kernel.shader)
            .map_or(kernel.source, String::as_str);
        let (source, constants) = prepared(source, constants);
        let known = modules.get(&source).cloned();
        let (module, pipeline) = self.scoped(&operation, || {
            let module = known.unwrap_or_else(|| {
                self.device
                    .create_shader_module(wgpu::ShaderModuleDescriptor {
                        label: Some(kernel.shader),
                        source: wgpu::ShaderSource::Wgsl(source.as_str().into()),
                    })
            });
            let group = self
                .device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some(kernel.entry),
                    entries: &kernel.layout(),
                });
            let layout = self
                .device
                .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label: Some(kernel.entry),
                    bind_group_layouts: &[Some(&group)],
                    immediate_size: kernel.immediate_size(),
                });
            let pipeline = self
                .device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(kernel.entry),
                    layout: Some(&layout),
                    module: &module,
                    entry_point: Some(kernel.entry),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &constants,
                        ..Default::default()
                    },
                    cache: None,
                });
            (module, pipeline)
        })?;
        modules.insert(source, module);
        Ok(pipeline)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::gpu::device::{enumerate, open};

    const SOURCE: &str = "const K: u32 = 1u;
override N: u32 = 1u;
@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@compute @workgroup_size(1) fn one() { values[0] = K; }
@compute @workgroup_size(1) fn two() { values[1] = 10u * K + N; }
";

    const BINDINGS: &[Binding] = &[Binding::read_write("values")];

    fn kernel(entry: &'static str) -> Kernel {
        Kernel {
            shader: "pair",
            source: SOURCE,
            entry,
            bindings: BINDINGS,
        }
    }

    #[test]
    fn entry_points_of_one_text_share_a_module_and_no_others_do() {
        let Some((adapter, report)) = enumerate().into_iter().next() else {
            let required = std::env::var_os("NEUROSIEVE_REQUIRE_GPU").is_some();
            assert!(!required, "there is no adapter");
            let said = writeln!(std::io::stderr(), "SKIPPED: there is no adapter");
            return said.unwrap();
        };
        let gpu = open(&adapter, &report).unwrap();
        let values = gpu.zeros::<u32>("values", 2).unwrap();
        let run = |gpu: &Gpu, constants: &'static [(&'static str, f64)]| {
            let [one, two] = ["one", "two"].map(kernel);
            let each = [(&one, &constants[..1]), (&two, constants)];
            let dispatches = each.map(|(kernel, constants)| Dispatch {
                kernel,
                constants,
                slots: vec![values.all()],
                groups: 1,
            });
            gpu.submit("test", &dispatches)?;
            gpu.download(&values)
        };
        let counts = |gpu: &Gpu| {
            let made = gpu.pipelines.made();
            (made.pipelines.len(), made.modules.len())
        };
        assert_eq!(run(&gpu, &[("K", 3.0), ("N", 4.0)]).unwrap(), [3, 34]);
        assert_eq!(counts(&gpu), (2, 1));
        // Another override is another pipeline of the same text, and another constant is another text.
        assert_eq!(run(&gpu, &[("K", 3.0), ("N", 5.0)]).unwrap(), [3, 35]);
        assert_eq!(counts(&gpu), (3, 1));
        assert_eq!(run(&gpu, &[("K", 2.0), ("N", 5.0)]).unwrap(), [2, 25]);
        assert_eq!(counts(&gpu), (5, 2));
        // A text that does not compile leaves nothing.
        let broken = gpu.with_shader("pair", SOURCE.replace("10u", "10.0"));
        assert!(run(&broken, &[("K", 3.0), ("N", 4.0)]).is_err());
        assert_eq!(counts(&broken), (0, 0));
        assert_eq!(counts(&gpu), (5, 2));
    }
}
