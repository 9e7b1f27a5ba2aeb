//! What the fuzz targets share: bytes become a file, and the file is read as in the tests.

use std::path::Path;

use neurosieve::Result;

#[path = "../../tests/readers/mutated/entry.rs"]
pub mod entry;

/// Reads a file of such a name with these bytes; an error is an answer, a panic is a finding.
pub fn read(name: &str, bytes: &[u8], reader: fn(&Path) -> Result<()>) {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
    }
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("the folder is writable");
        drop(reader(&path));
    });
}
