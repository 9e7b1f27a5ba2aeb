//! Every shader, without a GPU: it parses and validates, and the host's bindings and struct layouts are its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};
use neurosieve::gpu::{Access, Kernel, Layout};
use neurosieve::ops::KERNELS;

fn parsed(name: &str, source: &str) -> Module {
    naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)))
}

fn shaders() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    std::fs::read_dir(&folder)
        .expect("the folder of shaders")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            assert_eq!(
                path.extension().and_then(|e| e.to_str()),
                Some("wgsl"),
                "{path:?}"
            );
            let stem = path.file_stem().and_then(|s| s.to_str()).expect("a name");
            (
                stem.to_owned(),
                std::fs::read_to_string(&path).expect("text"),
            )
        })
        .collect()
}

fn kernels() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().flatten()
}

/// What a global variable says about its use: its access, and its struct where it is one.
fn access(module: &Module, variable: &naga::GlobalVariable) -> Access {
    match variable.space {
        AddressSpace::Immediate => Access::Params,
        AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
            Access::ReadWrite
        }
        AddressSpace::Storage { .. } => Access::Read,
        other => panic!("{:?} lies in {other:?} of {module:?}", variable.name),
    }
}

/// What differs between the bindings that the host describes and those of the shader; empty when nothing does.
fn differences(kernel: &Kernel, module: &Module) -> Vec<String> {
    let mut differences = Vec::new();
    let mut bound = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = &variable.binding {
            assert_eq!(
                binding.group, 0,
                "{}: all bindings are in group 0",
                kernel.shader
            );
            bound
                .entry(binding.binding as usize)
                .or_insert_with(Vec::new)
                .push(variable);
        }
    }
    let immediate =
        |(_, variable): &(_, &naga::GlobalVariable)| variable.space == AddressSpace::Immediate;
    let immediates: Vec<_> = module.global_variables.iter().filter(immediate).collect();
    let mut number = 0;
    for described in kernel.bindings {
        let candidates: Vec<&naga::GlobalVariable> = match described.access {
            Access::Params => immediates.iter().map(|(_, variable)| *variable).collect(),
            _ => {
                number += 1;
                bound.get(&(number - 1)).cloned().unwrap_or_default()
            }
        };
        let named =
            |variable: &&naga::GlobalVariable| variable.name.as_deref() == Some(described.name);
        let Some(variable) = candidates.into_iter().find(named) else {
            differences.push(format!(
                "before binding {number}, there is no {}",
                described.name
            ));
            continue;
        };
        if access(module, variable) != described.access {
            differences.push(format!("{} is not {:?}", described.name, described.access));
        }
        if let Some(layout) = described.layout {
            differences.extend(layout_differences(
                described.name,
                layout,
                module,
                variable.ty,
            ));
        }
    }
    differences
}

/// What differs between a struct, or an array of structs, and its layout on the host.
fn layout_differences(
    binding: &str,
    layout: Layout,
    module: &Module,
    ty: naga::Handle<naga::Type>,
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut ty = &module.types[ty];
    if let TypeInner::Array { base, stride, .. } = ty.inner {
        if stride as usize != layout.size {
            differences.push(format!(
                "{} are {stride} bytes apart, not {}",
                layout.name, layout.size
            ));
        }
        ty = &module.types[base];
    }
    let TypeInner::Struct { members, span } = &ty.inner else {
        differences.push(format!("{binding} is no struct"));
        return differences;
    };
    if ty.name.as_deref() != Some(layout.name) {
        differences.push(format!(
            "{binding} is a {:?}, not a {}",
            ty.name, layout.name
        ));
    }
    if *span as usize != layout.size {
        differences.push(format!(
            "{} has {span} bytes, not {}",
            layout.name, layout.size
        ));
    }
    let theirs: Vec<(&str, usize)> = members
        .iter()
        .map(|member| {
            let name = member.name.as_deref().unwrap_or("");
            (name, member.offset as usize)
        })
        .collect();
    if theirs != layout.fields {
        differences.push(format!(
            "{} has {theirs:?}, not {:?}",
            layout.name, layout.fields
        ));
    }
    differences
}

/// What every device must have.
const REQUIRED: Capabilities = Capabilities::IMMEDIATES;

/// A shader whose name ends so needs f16, and one with this part in its name matrix units and subgroups. Nothing else is
/// needed of any.
const HALVES: [&str; 2] = ["_f16", "_split"];
const MATRIX: &str = "_matrix_";

fn is_of_halves(stem: &str) -> bool {
    HALVES.iter().any(|end| stem.ends_with(end))
}

/// What a shader needs by its name.
fn needed(stem: &str) -> Capabilities {
    let mut needed = Capabilities::empty();
    needed.set(Capabilities::SHADER_FLOAT16, is_of_halves(stem));
    let units = Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP;
    needed.set(units, stem.contains(MATRIX));
    needed
}

#[test]
fn every_shader_validates_without_any_optional_feature_but_those_that_its_name_says() {
    for (stem, source) in shaders() {
        let module = parsed(&stem, &source);
        let valid = |capabilities| {
            Validator::new(ValidationFlags::all(), capabilities | REQUIRED)
                .validate(&module)
                .map_err(|error| error.emit_to_string(&source))
        };
        for capability in needed(&stem).iter() {
            assert!(
                valid(needed(&stem) - capability).is_err(),
                "{stem}: it does not need {capability:?}"
            );
        }
        if let Err(problem) = valid(needed(&stem)) {
            panic!("{stem}: {problem}");
        }
    }
}

/// What the drivers of devices with matrix units are given: SPIR-V for 16 x 16 blocks of f16, MSL for 8 x 8 blocks of f32.
/// The translation does not compare sizes with a device; that is [`neurosieve::gpu::Gpu::has`]'s.
#[test]
fn shaders_for_matrix_units_are_translated_for_the_devices_that_have_them() {
    let mut translated = 0;
    for (stem, source) in shaders() {
        if !stem.contains(MATRIX) {
            continue;
        }
        let module = parsed(&stem, &source);
        let info = Validator::new(ValidationFlags::all(), needed(&stem) | REQUIRED)
            .validate(&module)
            .unwrap_or_else(|error| panic!("{stem}: {}", error.emit_to_string(&source)));
        assert_translated(&stem, (&module, &info), &Default::default());
        translated += 1;
    }
    assert!(translated >= 5, "there are such shaders");
}

fn assert_translated(
    stem: &str,
    (module, info): (&Module, &naga::valid::ModuleInfo),
    constants: &naga::back::PipelineConstants,
) {
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(module, info, None, constants)
            .unwrap_or_else(|error| panic!("{stem}: {error}"));
    if is_of_halves(stem) {
        let options = naga::back::spv::Options {
            lang_version: (1, 6),
            ..Default::default()
        };
        let words = naga::back::spv::write_vec(&module, &info, &options, None)
            .unwrap_or_else(|error| panic!("{stem}: {error}"));
        // OpTypeCooperativeMatrixKHR, OpCooperativeMatrixMulAddKHR
        for operation in [4456, 4459] {
            assert!(has_operation(&words, operation), "{stem}: no {operation}");
        }
    } else {
        let options = naga::back::msl::Options {
            lang_version: (2, 4),
            fake_missing_bindings: true,
            ..Default::default()
        };
        let (text, _) =
            naga::back::msl::write_string(&module, &info, &options, &Default::default())
                .unwrap_or_else(|error| panic!("{stem}: {error}"));
        for word in ["simdgroup_float8x8", "simdgroup_multiply_accumulate"] {
            assert!(text.contains(word), "{stem}: no {word} in {text}");
        }
    }
}

/// Whether SPIR-V has an instruction: its first word holds its length and its number, after a header of five words.
fn has_operation(words: &[u32], operation: u32) -> bool {
    let mut at = 5;
    while let Some(word) = words.get(at) {
        if word & 0xffff == operation {
            return true;
        }
        at += (word >> 16).max(1) as usize;
    }
    false
}

#[test]
fn every_entry_point_of_every_shader_is_known_to_the_host_and_the_other_way_round() {
    let mut theirs = BTreeSet::new();
    for (stem, source) in shaders() {
        for entry in parsed(&stem, &source).entry_points {
            theirs.insert((stem.clone(), entry.name));
        }
    }
    let ours: BTreeSet<_> = kernels()
        .map(|kernel| (kernel.shader.to_owned(), kernel.entry.to_owned()))
        .collect();
    assert_eq!(theirs, ours);
    for kernel in kernels() {
        assert_eq!(
            kernel.source,
            shaders()[kernel.shader],
            "{} is not the file's text",
            kernel.shader
        );
    }
}

#[test]
fn bindings_and_struct_layouts_are_the_same_on_both_sides() {
    for kernel in kernels() {
        let module = parsed(kernel.shader, kernel.source);
        let differences = differences(kernel, &module);
        assert!(
            differences.is_empty(),
            "{}: {differences:#?}",
            kernel.shader
        );
    }
}

/// The negative control of the comparison above: each kind of drift is noticed.
#[test]
fn a_renamed_moved_or_retyped_field_is_noticed() {
    let kernel = kernels().next().expect("there are kernels");
    let described = kernel
        .bindings
        .iter()
        .find(|binding| binding.layout.is_some())
        .expect("every kernel has parameters");
    let layout = described.layout.expect("checked above");
    let first = layout.fields[0].0;
    let renamed = format!("{first}_renamed: u32,");
    for (what, broken) in [
        (
            "renamed",
            kernel
                .source
                .replacen(&format!("{first}: u32,"), &renamed, 1),
        ),
        (
            "widened",
            kernel.source.replacen(
                &format!("{first}: u32,"),
                &format!("{first}: vec2<u32>,"),
                1,
            ),
        ),
    ] {
        assert_ne!(broken, kernel.source, "{what}: nothing was replaced");
        // Uses of the field no longer compile, so only the declarations are kept.
        let declarations: String = broken.split("\nfn ").next().expect("a head").to_owned();
        let head = declarations.split("@compute").next().expect("a head");
        let module = parsed(what, head);
        assert!(
            !differences(kernel, &module).is_empty(),
            "{what} was not noticed"
        );
    }
}

/// Loops that are marked, and constants that the host sets, end up in what is compiled.
#[test]
fn marked_loops_are_written_out_and_constants_set() {
    let mut loops = 0;
    for kernel in kernels() {
        let (text, overrides) = kernel.text(&[("SIDE", 16.0), ("NOT_THERE", 1.0)]);
        assert!(
            !text.contains("// unroll"),
            "{}: a loop was left",
            kernel.entry
        );
        let marked = kernel.source.matches("// unroll").count();
        let written = text.matches("{ const ").count();
        assert!(
            written >= 2 * marked,
            "{}: {written} of {marked}",
            kernel.entry
        );
        loops += marked;
        if kernel.source.contains("const SIDE: u32 = ") {
            assert!(text.contains("const SIDE: u32 = 16u;"), "{}", kernel.entry);
            assert_eq!(overrides, [("NOT_THERE", 1.0)]);
        } else {
            assert_eq!(overrides.len(), 2);
        }
        let valid = Validator::new(ValidationFlags::all(), needed(kernel.shader) | REQUIRED)
            .validate(&parsed(kernel.shader, &kernel.text(&[]).0));
        assert!(valid.is_ok(), "{}: {valid:?}", kernel.entry);
    }
    assert!(loops > 0, "some loops are marked");
}

/// Tiles of the size that is chosen cover a result with its padding, once.
#[test]
fn tiles_cover_what_they_are_chosen_for() {
    use neurosieve::ops::probe::{Tile, Way};
    for columns in 1..400 {
        let padded = Tile::padded(columns);
        for (rows, slices) in [(64, 1), (128, 8), (192, 1), (4096, 1), (4096, 8)] {
            for way in [Way::Forward, Way::Backward] {
                let tile = Tile::of(way, (rows, columns), slices);
                let (down, across) = tile.grid(way, (rows, padded));
                assert!(padded >= columns && across * tile.columns() == padded);
                // Few columns' gradients alone have a tile that may reach beyond the rows.
                let beyond = down * tile.rows(way) - rows;
                let ragged = tile == Tile::Few && way == Way::Backward;
                assert!(beyond == 0 || (ragged && beyond < 256), "{tile:?}");
                if !ragged {
                    let each = tile.rows(way) * tile.columns();
                    let groups = tile.groups(way, (rows, padded), slices);
                    assert_eq!(groups * each, rows * padded * slices);
                }
            }
        }
    }
    assert_eq!([1, 4, 5, 32, 33].map(Tile::padded), [4, 4, 32, 32, 64]);
}

#[test]
fn every_kernel_stays_inside_the_smallest_limits() {
    for kernel in kernels() {
        let module = parsed(kernel.shader, kernel.source);
        let entry = module
            .entry_points
            .iter()
            .find(|entry| entry.name == kernel.entry)
            .expect("checked by another test");
        let threads: u32 = entry.workgroup_size.iter().product();
        let allowed = if kernel.entry == "gram_matrix_split" {
            512
        } else {
            256
        };
        assert!(threads <= allowed, "{}: {threads} threads", kernel.entry);
        let storage = kernel
            .bindings
            .iter()
            .filter(|b| b.access != Access::Params)
            .count();
        assert!(storage <= 8, "{}: {storage} storage buffers", kernel.entry);
        let mut layouter = naga::proc::Layouter::default();
        layouter
            .update(module.to_ctx())
            .expect("types have layouts");
        let memory: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        // Chosen only on devices that have more.
        let allowed = match kernel.entry {
            "gram_wide" | "gram_matrix_f16" | "gram_matrix_split" => 32 << 10,
            _ => 16 << 10,
        };
        assert!(
            memory <= allowed,
            "{}: {memory} bytes of workgroup memory",
            kernel.entry
        );
    }
}
