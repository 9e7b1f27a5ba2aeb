//! The kernels once more by another vendor's driver, and under Vulkan's validation layer: what one compiler accepts or rounds, another
//! may not, and what is against the rules may still work here.
//!
//! Both come with Chromium, as Debian packs it: SwiftShader, which is Google's Vulkan on the processor, and the layer.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::gpu;

/// Set to 1 where both must be there: then their absence fails the tests.
const REQUIRE: &str = "NEUROSIEVE_REQUIRE_DRIVERS";

/// Where Chromium keeps them.
const FOLDERS: &[&str] = &[
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/opt/google/chrome",
];

/// Tests that are run again: of every operation one at least, and one that says where.
const AGAIN: &[&str] = &[
    "parity::ablation::the_gpu_equals_the_naive_reference_in_every_shape",
    "parity::correlation::device::tiles_that_stay_on_the_device_leave_what_those_that_come_back_do",
    "parity::correlation::precision::kernels_of_f16_without_matrix_units_equal_the_naive_reference_in_every_shape",
    "parity::correlation::the_gpu_equals_the_naive_reference_in_every_shape",
    "parity::curvature::both_back_ends_sum_the_hessian_that_f64_sums",
    "parity::losses::losses_and_their_derivatives_are_those_of_f64",
    "parity::moments::the_gpu_equals_the_naive_reference_in_every_shape",
    "parity::probe::both_back_ends_reach_the_same_certified_objective",
    "parity::products::every_tile_gives_the_bits_of_every_other_one",
    "parity::quadratic::both_back_ends_solve_random_programmes",
    "parity::roofs::chains_end_where_a_naive_loop_does",
    "parity::roofs::triads_are_exact_for_whole_numbers",
    "parity::sweep::the_gpu_equals_the_naive_reference_in_every_shape",
    "support::a_gpu_was_tested",
];

/// What naga writes for arrays in a workgroup's and in a function's memory: they have a stride, which only arrays in buffers should
/// (wgpu's issue 7696).
const KNOWN: &str = "VUID-StandaloneSpirv-None-10684";

fn file_of_chromium(test: &str, name: &str) -> Option<PathBuf> {
    let files = FOLDERS
        .iter()
        .map(|folder| PathBuf::from(folder).join(name));
    let found = files.into_iter().find(|file| file.is_file());
    if found.is_none() {
        let reason = format!("{name} is in none of {}", FOLDERS.join(", "));
        skip(test, &reason);
    }
    found
}

fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var_os(REQUIRE).is_none_or(|value| value == "0"),
        "{REQUIRE} is set, but {reason}: install Debian's chromium and libvulkan1"
    );
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Runs these tests again in a process of its own.
fn again(environment: &[(&str, &str)]) -> (Output, String, String) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(AGAIN)
        .arg("--exact")
        .envs(environment.iter().copied())
        .env("NEUROSIEVE_REQUIRE_GPU", "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    (out, stdout, stderr)
}

fn assert_all_passed(out: &Output, stdout: &str, stderr: &str) {
    let passed = format!("test result: ok. {} passed;", AGAIN.len());
    assert!(
        out.status.success() && stdout.contains(&passed),
        "{stdout}\n{stderr}"
    );
}

#[test]
fn another_vendors_driver_computes_what_is_right() {
    let Some(driver) = file_of_chromium("another driver", "vk_swiftshader_icd.json") else {
        return;
    };
    let driver = driver.to_str().unwrap();
    // The second is what loaders before 1.3.207 know it by.
    let environment = [("VK_DRIVER_FILES", driver), ("VK_ICD_FILENAMES", driver)];
    let devices = Command::new(env!("CARGO_BIN_EXE_neurosieve"))
        .arg("devices")
        .envs(environment)
        .output()
        .unwrap();
    if !String::from_utf8_lossy(&devices.stdout).contains("SwiftShader") {
        return skip("another driver", "no Vulkan loader opens SwiftShader");
    }
    let (out, stdout, stderr) = again(&environment);
    assert_all_passed(&out, &stdout, &stderr);
    assert!(stderr.contains("SwiftShader"), "{stderr}");
}

#[test]
fn the_validation_layer_objects_to_nothing_but_what_is_known() {
    let Some(layer) = file_of_chromium("validation", "libVkLayer_khronos_validation.so") else {
        return;
    };
    if gpu("validation").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = serde_json::json!({
        "file_format_version": "1.2.0",
        "layer": {
            "name": "VK_LAYER_KHRONOS_validation",
            "type": "GLOBAL",
            "library_path": layer,
            "api_version": "1.3.0",
            "implementation_version": "1",
            "description": "Khronos validation layer",
        },
    });
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("VkLayer_khronos_validation.json", &manifest.to_string());
    write(
        "vk_layer_settings.txt",
        "khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\n\
         khronos_validation.log_filename = stdout\n\
         khronos_validation.report_flags = error,warn\n\
         khronos_validation.validate_sync = true\n",
    );
    let folder = folder.path().to_str().unwrap();
    let (out, stdout, stderr) = again(&[
        ("VK_LAYER_PATH", folder),
        ("VK_LAYER_SETTINGS_PATH", folder),
        ("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation"),
        ("VK_LOADER_DEBUG", "layer"),
    ]);
    assert_all_passed(&out, &stdout, &stderr);
    let loaded = |line: &str| line.contains(layer.to_str().unwrap());
    assert!(stderr.lines().any(loaded), "no layer: {stderr}");
    let is_message =
        |line: &&str| line.contains("Validation Error") || line.contains("Validation Warning");
    let said = stdout.lines().filter(is_message);
    let (known, unknown): (Vec<&str>, Vec<&str>) = said.partition(|line| line.contains(KNOWN));
    assert!(unknown.is_empty(), "{unknown:#?}\n{stdout}");
    // That it is heard at all. Where naga has learnt better, something else has to show that.
    assert!(!known.is_empty(), "the layer says nothing: {stdout}");
}
