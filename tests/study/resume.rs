//! A run that goes on where another one stopped has the bits of one that never did.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use neurosieve::study::memory::Room;
use neurosieve::study::results::StudyResults;
use neurosieve::study::units::Folder;
use neurosieve::study::{self, Spec};
use neurosieve::{Backend, Error, Result};
use rand::RngExt;

use super::{device, quick};

static GOES_ON: AtomicBool = AtomicBool::new(false);

fn open(path: &Path, resume: bool) -> Result<Folder> {
    Folder::open(path, resume, &GOES_ON)
}

/// A folder, and no limit of memory.
fn unbounded(folder: &Folder) -> (&Folder, Room) {
    (folder, Room::enough(&Backend::Cpu))
}

/// A run in a folder; how many units it found, of how many.
fn run(spec: &Spec, folder: &Folder) -> Result<(String, (usize, usize))> {
    let results = study::resume(
        spec,
        &Backend::Cpu,
        device("cpu"),
        unbounded(folder),
        &mut |_| {},
    )?;
    Ok((document(&results), folder.found()))
}

/// The results without how long they took.
fn document(results: &StudyResults) -> String {
    let mut value = serde_json::to_value(results).unwrap();
    assert!(value.as_object_mut().unwrap().remove("timings").is_some());
    value.to_string()
}

fn units(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "unit"));
    files.sort();
    files
}

#[test]
fn what_is_missing_is_computed_again_and_nothing_else_and_every_bit_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("units");
    let spec = quick();
    let alone = study::run(&spec, &Backend::Cpu, device("cpu"), &mut |_| {}).unwrap();
    let first = open(&path, false).unwrap();
    let (found, (there, all)) = run(&spec, &first).unwrap();
    assert_eq!(found, document(&alone));
    assert!(there == 0 && all > 10, "{all} units");
    drop(first);
    // Of a run that did not finish nothing is thrown away.
    let refused = open(&path, false).unwrap_err().to_string();
    assert!(
        refused.contains("did not finish") && refused.contains("--resume"),
        "{refused}"
    );
    // A unit is gone, one has a flipped bit, one is cut short, one is what a killed run was writing, one is a pipe
    // that nobody writes to.
    let files = units(&path);
    assert_eq!(files.len(), all);
    std::fs::remove_file(&files[0]).unwrap();
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 4;
    std::fs::write(&files[1], &bytes).unwrap();
    std::fs::write(&files[2], &std::fs::read(&files[2]).unwrap()[..70]).unwrap();
    std::fs::rename(&files[3], files[3].with_extension("part")).unwrap();
    std::fs::remove_file(&files[4]).unwrap();
    #[cfg(unix)]
    crate::support::fifo(&files[4]);
    let second = open(&path, true).unwrap();
    let (found, (there, of)) = run(&spec, &second).unwrap();
    assert_eq!(found, document(&alone));
    assert_eq!((there, of), (all - 5, all));
    // What is gone, or was never finished, is not damaged.
    let name = |file: &std::path::PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(second.damaged(), [name(&files[1]), name(&files[2])]);
    second.finish().unwrap();
    assert_eq!(units(&path).len(), all);
    drop(second);
    // A finished run may be begun anew.
    drop(open(&path, false).unwrap());
    assert_eq!(units(&path).len(), 0);
}

#[test]
fn a_flipped_bit_in_any_unit_is_noticed_and_the_unit_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("units");
    let spec = quick();
    let first = open(&path, false).unwrap();
    let (whole, (_, all)) = run(&spec, &first).unwrap();
    assert_eq!(first.damaged(), [""; 0]);
    first.finish().unwrap();
    drop(first);
    // Nothing is damaged where nothing was changed.
    let again = open(&path, true).unwrap();
    assert_eq!(run(&spec, &again).unwrap(), (whole.clone(), (all, all)));
    assert_eq!(again.damaged(), [""; 0]);
    drop(again);
    // Each of the files gets one flipped bit, the first ones in what a file begins with and in its hash, the others anywhere.
    let mut random = crate::support::random(5);
    let files = units(&path);
    for (at, file) in files.iter().enumerate() {
        let mut bytes = std::fs::read(file).unwrap();
        let place = match at {
            0 => 3,
            1 => 30,
            _ => random.random_range(0..bytes.len()),
        };
        bytes[place] ^= 1 << random.random_range(0..8);
        std::fs::write(file, &bytes).unwrap();
    }
    let last = open(&path, true).unwrap();
    assert_eq!(run(&spec, &last).unwrap(), (whole, (0, all)));
    assert_eq!(last.damaged().len(), all);
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("{all} units with a flipped bit, all computed again\n"),
    );
}

#[test]
fn another_seed_penalty_or_device_finds_no_unit_and_leaves_none_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = quick();
    spec.minimal_set.bootstrap = 0;
    spec.minimal_set.random_sets = 0;
    let first = open(folder.path(), false).unwrap();
    let (before, (_, all)) = run(&spec, &first).unwrap();
    first.finish().unwrap();
    drop(first);
    spec.probe.l2_per_l1 = 0.5;
    let second = open(folder.path(), true).unwrap();
    let (after, (there, _)) = run(&spec, &second).unwrap();
    // Correlations know no penalty.
    assert_eq!(there, 1, "of {all}");
    assert_ne!(before, after);
    second.finish().unwrap();
    let (_, kept) = second.found();
    assert_eq!(
        units(folder.path()).len(),
        kept,
        "those of the first run are gone"
    );
    drop(second);
    let other = open(folder.path(), true).unwrap();
    let mut named = device("cpu");
    named.driver = "another".into();
    study::resume(&spec, &Backend::Cpu, named, unbounded(&other), &mut |_| {}).unwrap();
    assert_eq!(other.found().0, 0);
}

#[test]
fn who_looks_whether_a_run_is_at_work_does_not_keep_one_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    std::fs::write(&lock, "").unwrap();
    let looking = std::fs::File::open(&lock).unwrap();
    looking.try_lock_shared().unwrap();
    let looked = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(looking);
    });
    let opened = open(folder.path(), false);
    looked.join().unwrap();
    assert!(opened.is_ok(), "{opened:?}");
}

#[test]
fn one_run_at_a_time_has_the_folder_and_a_run_that_is_stopped_keeps_what_it_did() {
    static STOPPED: AtomicBool = AtomicBool::new(false);
    let folder = tempfile::tempdir().unwrap();
    let first = Folder::open(folder.path(), false, &STOPPED).unwrap();
    let refused = open(folder.path(), true).unwrap_err().to_string();
    assert!(refused.contains("another run"), "{refused}");
    let mut heard = 0;
    let stopped = study::resume(
        &quick(),
        &Backend::Cpu,
        device("cpu"),
        unbounded(&first),
        &mut |_| {
            heard += 1;
            STOPPED.store(heard > 40, Ordering::Relaxed);
        },
    );
    let Err(Error::Interrupted { kept }) = stopped else {
        panic!("it went on after {heard} steps");
    };
    assert_eq!(kept, folder.path());
    let done = units(folder.path()).len();
    assert!(done > 1, "{done} units after {heard} steps");
    drop(first);
    let (_, (there, all)) = run(&quick(), &open(folder.path(), true).unwrap()).unwrap();
    assert!(there == done && done < all, "{there} of {done} of {all}");
}
