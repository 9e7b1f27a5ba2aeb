//! Pipes, folders, devices and links where a file is expected: one error, and nobody waits for them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use neurosieve::Result;

use super::fixture;
use super::mutated::{self, entry};
use crate::support::fifo;

/// What reads a kind of file, and the name of one.
type Reader = (&'static str, fn(&Path) -> Result<()>);

const READERS: [Reader; 16] = [
    ("x.safetensors", entry::activations),
    ("x.npy", entry::activations),
    ("x.npz", entry::activations),
    ("x.hdf5", entry::activations),
    ("x.json", entry::activations),
    ("x.label", entry::labels),
    ("x.tsv", entry::labels),
    ("x.txt", entry::labels),
    ("x.npy", entry::labels),
    ("x.json", entry::masks),
    ("x.npy", entry::masks),
    ("x.json", entry::rankings),
    ("x.safetensors", entry::probe),
    ("x.toml", entry::specification),
    ("results.json", entry::results),
    ("bench.json", |path| {
        neurosieve::data::read_text(path).map(drop)
    }),
];

/// The error that each reader has for what `make` puts at its path.
fn answers(make: impl Fn(&Path)) -> Vec<String> {
    let ask = |(name, read): Reader| {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join(name);
        make(&path);
        let (tell, told) = mpsc::channel();
        let asked = path.clone();
        std::thread::spawn(move || tell.send(read(&asked).map_err(|error| error.to_string())));
        let answer = told.recv_timeout(Duration::from_secs(20));
        let answer = answer.unwrap_or_else(|_| panic!("{name}: the reader waits, or panicked"));
        let text = answer.expect_err("this is no file");
        assert!(text.contains(name), "{text}");
        text
    };
    READERS.map(ask).into()
}

#[test]
fn a_pipe_is_not_waited_for() {
    for text in answers(fifo) {
        assert!(
            text.contains("not a regular file") && text.contains("pipes"),
            "{text}"
        );
    }
}

#[test]
fn a_device_without_an_end_is_not_read() {
    for text in answers(|path| symlink("/dev/zero", path).unwrap()) {
        assert!(text.contains("not a regular file"), "{text}");
    }
}

#[test]
fn folders_are_no_files() {
    for text in answers(|path| std::fs::create_dir(path).unwrap()) {
        let said = ["this is a folder", "no file of activations"];
        assert!(said.iter().any(|said| text.contains(said)), "{text}");
    }
}

#[test]
fn links_to_nothing_and_to_themselves_are_named() {
    for text in answers(|path| symlink("nowhere", path).unwrap()) {
        assert!(text.contains("cannot read"), "{text}");
    }
    for text in answers(|path| symlink(path, path).unwrap()) {
        assert!(text.contains("cannot read"), "{text}");
    }
}

#[test]
fn empty_files_are_said_to_be() {
    for text in answers(|path| std::fs::write(path, b"").unwrap()) {
        assert!(text.contains("the file is empty"), "{text}");
    }
}

#[test]
fn a_link_to_a_file_is_the_file_and_a_pipe_beside_it_holds_no_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    symlink(fixture("readers/first-f32.npy"), &path).unwrap();
    fifo(&folder.path().join("x.word"));
    mutated::activations(&path).unwrap();
}
