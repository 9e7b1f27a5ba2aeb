//! Runs that are killed at any moment, or stopped by Ctrl-C, and go on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::Value;

use crate::support::random;

/// How many kills one test run survives; `NEUROSIEVE_KILLS` asks for more.
const KILLS: usize = 8;

/// A small study of the fixture.
pub(super) fn specification(folder: &Path) -> std::path::PathBuf {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/python-tokens");
    let part = |name: &str| format!("{name} = {:?}\n", format!("{data}/{name}.safetensors"));
    let text = format!(
        "name = \"killed\"\n[data]\n{}{}{}tasks = [\"coarse\"]\n[probe]\nlambda_ratios = [0.1, 0.01]\n\
         [control]\ndraws = 1\n[minimal_set]\nladder = [4, 16, 64]\nbootstrap = 4\n",
        part("train"),
        part("dev"),
        part("test")
    );
    let file = folder.join("study.toml");
    std::fs::write(&file, text).unwrap();
    file
}

fn study(spec: &Path, out: &Path, resume: bool) -> Child {
    start(spec, out, resume, &[])
}

/// Begins a study, or goes on with it.
pub(super) fn start(spec: &Path, out: &Path, resume: bool, extra: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neurosieve"));
    command.arg("study").arg(spec).arg("-o").arg(out);
    command.args(["--device", "cpu"]).args(extra);
    if resume {
        command.arg("--resume");
    }
    let silent = command.stdout(Stdio::null()).stderr(Stdio::piped());
    silent.spawn().expect("the binary was built for this test")
}

/// Whether it ended well in so much time; killed otherwise.
pub(super) fn ends_within(mut child: Child, time: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
            assert!(status.success(), "{said}");
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// What a run found, without how long it took.
pub(super) fn found(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("results.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value.as_object_mut().unwrap().remove("timings");
    value
}

#[test]
fn a_study_that_is_killed_at_random_moments_ends_as_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    let whole = folder.path().join("whole");
    let begun = Instant::now();
    assert!(ends_within(
        study(&spec, &whole, false),
        Duration::from_secs(600)
    ));
    let alone = begun.elapsed();
    let wanted = std::env::var("NEUROSIEVE_KILLS").ok();
    let wanted = wanted.map_or(KILLS, |kills| kills.parse().expect("a number of kills"));
    let mut random = random(99);
    let (mut kills, mut rounds) = (0, 0);
    while kills < wanted {
        let out = folder.path().join(format!("killed-{rounds}"));
        let mut resume = false;
        // A moment of the whole run, or later: a run that is killed early again and again must come to its end, too.
        while !ends_within(
            study(&spec, &out, resume),
            alone.mul_f64(random.random_range(0.02..1.2)),
        ) {
            kills += 1;
            resume = out.join("units").join("unfinished").exists();
        }
        assert_eq!(found(&out), found(&whole), "after {kills} kills");
        let left: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        let half = left
            .iter()
            .filter(|name| name.to_string_lossy().ends_with(".tmp"));
        assert_eq!(half.count(), 0, "{left:?}");
        rounds += 1;
    }
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("{kills} kills survived in {rounds} runs\n"),
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_what_is_under_way_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (spec, out) = (specification(folder.path()), folder.path().join("out"));
    let mut child = study(&spec, &out, false);
    let units = out.join("units");
    let there = || std::fs::read_dir(&units).map_or(0, |entries| entries.count());
    let begun = Instant::now();
    while there() < 4 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let status = child.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(
        said.contains("--resume") && said.contains("stopping"),
        "{said}"
    );
    assert!(!out.join("results.json").exists());
    assert!(ends_within(
        study(&spec, &out, true),
        Duration::from_secs(600)
    ));
}

/// No file may become larger than the limit, as on a disk that is full: what is written after that fails.
#[cfg(unix)]
#[test]
fn a_full_disk_stops_a_study_with_what_was_done_intact() {
    let folder = tempfile::tempdir().unwrap();
    let (spec, whole) = (specification(folder.path()), folder.path().join("whole"));
    assert!(ends_within(
        study(&spec, &whole, false),
        Duration::from_secs(600)
    ));
    let out = folder.path().join("out");
    let units = || units(&out);
    // In blocks of 512 or 1,024 bytes, as the shell counts: no unit fits, then some do, then all, but not the results.
    assert_eq!(limited(&spec, &out, 4, units()), 0);
    let mut child = study(&spec, &out, out.join("units").join("unfinished").exists());
    while units() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let some = limited(&spec, &out, 20, units());
    let all = limited(&spec, &out, 100, some);
    assert!(0 < some && some < all, "{some} and then {all} units");
    assert!(ends_within(
        study(&spec, &out, true),
        Duration::from_secs(600)
    ));
    assert_eq!(found(&out), found(&whole));
    assert_eq!(units(), all, "nothing was done twice");
}

/// Goes on with a study that may write so much to a file, and gives the units that are there when it stops: no fewer than before.
#[cfg(unix)]
fn limited(spec: &Path, out: &Path, blocks: usize, before: usize) -> usize {
    let mut command = Command::new("sh");
    let shell = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
    command.args(["-c", shell, "sh", &blocks.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_neurosieve"));
    command.arg("study").arg(spec).arg("-o").arg(out);
    command.args(["--device", "cpu"]);
    if out.join("units").join("unfinished").exists() {
        command.arg("--resume");
    }
    let ended = command.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    // An error, neither a signal nor a panic, that names what could not be written and why.
    assert_eq!(ended.status.code(), Some(1), "{blocks}: {said}");
    assert!(
        said.contains("cannot write") && said.contains("too large"),
        "{blocks}: {said}"
    );
    assert!(!said.contains("panicked"), "{blocks}: {said}");
    let after = units(out);
    assert!(after >= before, "{blocks}: {before} units became {after}");
    after
}

/// Units that are done.
#[cfg(unix)]
fn units(out: &Path) -> usize {
    let there = std::fs::read_dir(out.join("units")).into_iter().flatten();
    let paths = there.map(|entry| entry.unwrap().path());
    let done = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "unit");
    paths.filter(done).count()
}
