//! Good and broken files of every format.

mod dataset;
mod formats;
mod hostile;
mod inspect;
mod mutated;
mod native;
#[cfg(unix)]
mod special;
mod text;

use std::path::{Path, PathBuf};

use neurosieve::data::{self, ReadOptions, Source};

/// A file under `fixtures/`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn open(path: &Path) -> Source {
    data::open(path, &ReadOptions::default()).unwrap()
}

/// The message of an error, which must name the file; panics when there is none.
fn message<T: std::fmt::Debug>(result: neurosieve::Result<T>, path: &Path) -> String {
    let message = result.unwrap_err().to_string();
    assert!(
        message.contains(&path.display().to_string()),
        "{message:?} does not name {}",
        path.display()
    );
    message
}

/// Asserts that each of the pieces occurs in the message.
#[track_caller]
fn assert_says(message: &str, pieces: &[&str]) {
    for piece in pieces {
        assert!(message.contains(piece), "{message:?} lacks {piece:?}");
    }
}
