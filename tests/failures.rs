//! A device that is missing, too small, broken or lost ends in an error that says so, never in zeros.

use neurosieve::error::{Error, Trouble};
use neurosieve::gpu::{Binding, Choice, Dispatch, Kernel, Pace, adapters, choose};

use crate::support;

const DOUBLE: Kernel = Kernel {
    shader: "double",
    source: "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
            let i = (group.y * groups.x + group.x) * 64u + thread;
            if (i < arrayLength(&y)) { y[i] = 2.0 * x[i]; }
        }",
    entry: "main",
    bindings: &[Binding::read("x"), Binding::read_write("y")],
};

fn gpu_problem(error: Error) -> String {
    match error {
        Error::Gpu { problem, .. } => problem,
        other => panic!("expected a GPU error, got {other}"),
    }
}

#[test]
fn a_kernel_computes_beyond_one_dimension_of_workgroups() {
    let Some(gpu) = support::gpu("a_kernel_computes_beyond_one_dimension_of_workgroups") else {
        return;
    };
    // 65,535 · 64 values are what one dimension covers.
    let x: Vec<f32> = (0..65_535 * 64 + 130).map(|i| (i % 1013) as f32).collect();
    let input = gpu.upload("x", &x).unwrap();
    let output = gpu.zeros::<f32>("y", x.len()).unwrap();
    let dispatch = Dispatch {
        kernel: &DOUBLE,
        constants: &[],
        slots: vec![input.all(), output.all()],
        groups: x.len().div_ceil(64),
    };
    gpu.submit("double", &[dispatch]).unwrap();
    let y = gpu.download(&output).unwrap();
    assert!(x.iter().zip(&y).all(|(x, y)| 2.0 * x == *y));
    assert_eq!(
        gpu.download_range(&output, 1000..1004).unwrap(),
        y[1000..1004]
    );
    assert!(gpu.download_range(&output, 1000..x.len() + 1).is_err());
    gpu.write(&input, 3, &[7.0, 8.0]).unwrap();
    assert_eq!(
        gpu.download_range(&input, 2..6).unwrap(),
        [2.0, 7.0, 8.0, 5.0]
    );
    assert!(gpu.write(&input, x.len(), &[1.0]).is_err());
}

#[test]
fn a_device_that_does_not_exist_is_refused_with_the_list_of_those_that_do() {
    // "1" is part of "LLVM 15.0.6", yet no more than an index.
    let beyond = adapters().len().to_string();
    for asked in ["no such adapter", "4711", "", &beyond] {
        match choose(asked) {
            Err(Error::Device {
                asked: told,
                problem,
                fix,
            }) => {
                assert_eq!(told, asked);
                assert!(problem.contains("adapter"), "{problem}");
                for report in adapters() {
                    assert!(problem.contains(&report.name), "{problem}");
                }
                assert!(fix.contains("cpu"), "{fix}");
            }
            other => panic!("{asked:?} gave {other:?}"),
        }
    }
}

#[test]
fn a_software_adapter_is_taken_by_index_and_name_but_never_by_auto_or_gpu() {
    let all = adapters();
    match choose("auto").unwrap() {
        Choice::Gpu { gpu, reason } => {
            assert!(gpu.report().kind.is_real(), "{reason}");
        }
        Choice::Cpu { reason } => {
            assert!(!all.iter().any(|report| report.kind.is_real()), "{reason}");
            assert!(reason.ends_with('.'), "a sentence: {reason}");
            let problem = choose("gpu").unwrap_err().to_string();
            assert!(problem.contains("index"), "{problem}");
            let problem = choose("all").unwrap_err().to_string();
            assert!(problem.contains("no real GPU"), "{problem}");
        }
        Choice::Fleet { reason, .. } => panic!("auto chose several: {reason}"),
    }
    assert!(matches!(choose("CPU").unwrap(), Choice::Cpu { .. }));
    for report in &all {
        let Choice::Gpu { gpu, .. } = choose(&report.index.to_string()).unwrap() else {
            panic!("an index chose the CPU path");
        };
        assert_eq!(gpu.report(), report);
        let Choice::Gpu { gpu, .. } = choose(&report.name.to_uppercase()).unwrap() else {
            panic!("a name chose the CPU path");
        };
        assert_eq!(gpu.report().name, report.name);
        // The same one twice is two devices: what becomes of one is not the other's concern.
        let word = report.name.split_whitespace().next().unwrap();
        let twice = format!("{}, {}", report.index, word.to_lowercase());
        let Choice::Fleet { gpus, .. } = choose(&twice).unwrap() else {
            panic!("two places of the list chose one device");
        };
        gpus[0].destroy();
        assert!(gpus[0].upload("x", &[1f32]).is_err());
        assert!(gpus[1].upload("x", &[1f32]).is_ok());
        let problem = choose(&format!("{},", report.index))
            .unwrap_err()
            .to_string();
        assert!(
            problem.contains("no adapter has the index or name \"\""),
            "{problem}"
        );
    }
}

#[test]
fn a_buffer_over_the_limit_of_the_device_is_refused() {
    let Some(gpu) = support::gpu("a_buffer_over_the_limit_of_the_device_is_refused") else {
        return;
    };
    let words = usize::try_from(gpu.binding_bytes() / 4).unwrap() + 1;
    let problem = gpu_problem(gpu.zeros::<f32>("too large", words).unwrap_err());
    assert!(problem.contains("binding"), "{problem}");
    let small = gpu.with_binding_limit(1 << 10);
    assert!(small.upload("x", &[0f32; 257]).is_err());
    assert!(small.upload("x", &[0f32; 256]).is_ok());
    assert!(small.fit("rows", 1 << 11, 1).is_err());
    assert_eq!(small.fit("rows", 10, 4).unwrap(), 100);
}

#[test]
fn blocks_go_through_a_ring_of_buffers_in_order_and_too_many_or_too_large_ones_are_refused() {
    let name =
        "blocks_go_through_a_ring_of_buffers_in_order_and_too_many_or_too_large_ones_are_refused";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    let ring = gpu.staging(2, 4000).unwrap();
    let x = gpu.zeros::<f32>("x", 1000).unwrap();
    let y = gpu.zeros::<f32>("y", 1000).unwrap();
    let block = |at: usize| vec![at as f32; 1000 - at];
    let mut staged = Some(gpu.stage(&ring, &block(0)).unwrap());
    for at in 0..7 {
        let ahead = gpu.stage(&ring, &block(at + 1)).unwrap();
        let sent = staged.replace(ahead).unwrap();
        gpu.send(&ring, sent, &x).unwrap();
        let dispatch = Dispatch {
            kernel: &DOUBLE,
            constants: &[],
            slots: vec![x.all(), y.all()],
            groups: 1000usize.div_ceil(64),
        };
        gpu.submit("double", &[dispatch]).unwrap();
        let doubled = gpu.download(&y).unwrap();
        assert_eq!(doubled[..1000 - at], vec![2.0 * at as f32; 1000 - at]);
    }
    // What is made where it lies: more than one thread takes at a time.
    let many = (5 << 18) + 3;
    let large = gpu.staging(1, 4 * many).unwrap();
    let made = gpu.zeros::<u32>("made", many).unwrap();
    let fill = |start: usize, out: &mut [u32]| {
        for (at, value) in (start..).zip(out) {
            *value = 7 * at as u32;
        }
    };
    let staged = gpu.stage_by(&large, many, &fill).unwrap();
    gpu.send(&large, staged, &made).unwrap();
    let found = gpu.download(&made).unwrap();
    assert!((0..).zip(&found).all(|(at, value)| *value == 7 * at));
    let problem = gpu_problem(gpu.stage(&ring, &[0f32; 1001]).unwrap_err());
    assert!(
        problem.contains("4004 bytes for a buffer of 4000"),
        "{problem}"
    );
    let _second = gpu.stage(&ring, &block(8)).unwrap();
    let problem = gpu_problem(gpu.stage(&ring, &block(9)).unwrap_err());
    assert!(problem.contains("waits to be sent"), "{problem}");
}

#[test]
fn a_bad_shader_or_binding_is_an_error_that_quotes_the_compiler() {
    let Some(gpu) = support::gpu("a_bad_shader_or_binding_is_an_error_that_quotes_the_compiler")
    else {
        return;
    };
    let x = gpu.upload("x", &[1f32; 64]).unwrap();
    let y = gpu.zeros::<f32>("y", 64).unwrap();
    let dispatch = |kernel| Dispatch {
        kernel,
        constants: &[],
        slots: vec![x.all(), y.all()],
        groups: 1,
    };
    let broken = Kernel {
        shader: "broken",
        source: "fn main( {",
        ..DOUBLE
    };
    let problem = gpu_problem(gpu.submit("broken", &[dispatch(&broken)]).unwrap_err());
    assert!(problem.contains("expected"), "{problem}");
    let no_entry = Kernel {
        entry: "absent",
        ..DOUBLE
    };
    assert!(gpu.submit("no entry", &[dispatch(&no_entry)]).is_err());
    let mut too_few = dispatch(&DOUBLE);
    too_few.slots.pop();
    assert!(gpu.submit("one slot", &[too_few]).is_err());
    // The device still works afterwards.
    gpu.submit("double", &[dispatch(&DOUBLE)]).unwrap();
    assert_eq!(gpu.download(&y).unwrap(), [2f32; 64]);
}

#[test]
fn a_lost_device_is_an_error_and_never_zeros() {
    let Some(gpu) = support::own_gpu("a_lost_device_is_an_error_and_never_zeros") else {
        return;
    };
    let x = gpu.upload("x", &[1f32; 64]).unwrap();
    let clone = gpu.clone();
    gpu.destroy();
    let problem = gpu_problem(clone.download(&x).unwrap_err());
    assert!(problem.contains("lost"), "{problem}");
    assert!(gpu_problem(clone.upload("y", &[1f32]).unwrap_err()).contains("lost"));
    assert!(clone.zeros::<f32>("y", 1).is_err());
    assert!(clone.write(&x, 0, &[2f32]).is_err());
    assert!(clone.wait("wait").is_err());
    let dispatch = Dispatch {
        kernel: &DOUBLE,
        constants: &[],
        slots: vec![x.all(), x.all()],
        groups: 1,
    };
    assert!(clone.submit("double", &[dispatch]).is_err());
}

#[test]
fn running_out_of_memory_is_tried_again_with_smaller_blocks_and_other_errors_are_not() {
    let test = "running_out_of_memory_is_tried_again_with_smaller_blocks_and_other_errors_are_not";
    let Some(gpu) = support::gpu(test) else {
        return;
    };
    let limit = std::cell::RefCell::new(Vec::new());
    let attempt = |trouble: Trouble, enough: u64| {
        limit.borrow_mut().clear();
        gpu.fitting(|gpu| {
            limit.borrow_mut().push(gpu.binding_bytes());
            if gpu.binding_bytes() > enough {
                return Err(Error::Gpu {
                    operation: "allocate".into(),
                    adapter: "some".into(),
                    problem: "a problem".into(),
                    trouble,
                });
            }
            Ok(gpu.binding_bytes())
        })
    };
    let first = gpu.binding_bytes();
    assert_eq!(attempt(Trouble::Memory, first / 16).unwrap(), first / 16);
    assert_eq!(*limit.borrow(), [first, first / 4, first / 16]);
    assert!(attempt(Trouble::Memory, 0).is_err());
    assert!(limit.borrow().len() < 12, "it gives up");
    for other in [Trouble::Refused, Trouble::Lost] {
        assert!(attempt(other, 0).is_err());
        assert_eq!(*limit.borrow(), [first]);
    }
}

#[test]
fn submissions_grow_to_a_tenth_of_a_second_and_what_is_less_teaches_nothing() {
    let ms = std::time::Duration::from_millis;
    let mut pace = Pace::starting_with(1000.0);
    assert_eq!((pace.groups(10.0), pace.groups(1e9)), (100, 1));
    pace.took((40, 10.0), ms(1));
    assert_eq!(pace.groups(10.0), 100, "the rest of something");
    pace.took((100, 10.0), ms(10));
    assert_eq!(pace.groups(10.0), 1000);
    pace.took((1000, 10.0), ms(0));
    assert_eq!(pace.groups(10.0), 64_000, "no more than that at once");
    pace.took((3, 10.0), ms(1000));
    assert_eq!(
        pace.groups(10.0),
        1,
        "a short one that took too long counts"
    );
    // One workgroup is as much as fits, though it is less than what is meant.
    let mut pace = Pace::starting_with(1000.0);
    pace.took((1, 600.0), ms(10));
    assert_eq!(pace.groups(600.0), 10);
}

#[test]
fn a_device_remembers_a_pace_that_small_work_does_not_wear_down() {
    let Some(gpu) =
        support::own_gpu("a_device_remembers_a_pace_that_small_work_does_not_wear_down")
    else {
        return;
    };
    let mut pace = gpu.pace("test");
    pace.took(
        (pace.groups(1e6), 1e6),
        std::time::Duration::from_millis(100),
    );
    let learned = pace.groups(1e6);
    gpu.keep_pace("test", pace);
    for _ in 0..5 {
        let pace = gpu.clone().pace("test");
        assert_eq!(pace.groups(1e6), learned / 4, "it begins with a quarter");
        gpu.keep_pace("test", pace);
    }
}
