//! The file of a unit: what it is, a hash of its contents, and these.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What a unit's file begins with; another number where its form changes.
const MAGIC: &[u8] = b"neurosieve unit 1\n";

/// Bytes of a hash.
const HASH: usize = blake3::OUT_LEN;

/// What became of a unit's file.
pub(super) enum Kept {
    /// It is whole: its contents.
    Whole(Vec<u8>),
    /// Its hash is not that of what it holds.
    Damaged,
    /// It is not there, or cannot be read.
    Not,
}

/// Reads a file, where it is one.
pub(super) fn kept(file: &Path) -> Kept {
    // A pipe in its place would be waited for.
    if !fs::metadata(file).is_ok_and(|what| what.is_file()) {
        return Kept::Not;
    }
    let Ok(mut bytes) = fs::read(file) else {
        return Kept::Not;
    };
    match contents(&bytes).map(|contents| bytes.len() - contents.len()) {
        Some(start) => Kept::Whole(bytes.split_off(start)),
        None => Kept::Damaged,
    }
}

/// What is in a unit's file, where the file is whole.
pub(super) fn contents(file: &[u8]) -> Option<&[u8]> {
    let (hash, contents) = file.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
    (blake3::hash(contents) == *hash).then_some(contents)
}

/// Writes contents, which come in parts, with what stands before them, and sees to it that they are on the disk.
pub(super) fn write(out: &mut File, parts: &[&[u8]]) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    out.write_all(MAGIC)?;
    out.write_all(hasher.finalize().as_bytes())?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.sync_all()
}
