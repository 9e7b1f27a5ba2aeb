//! Opening an input file: what every format needs before its first byte is looked at.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A file mapped into memory, read only.
#[derive(Debug)]
pub(super) struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    /// Maps a regular, non-empty file.
    #[expect(
        unsafe_code,
        reason = "a read-only map is the only way not to copy activations of many GiB"
    )]
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_regular(path)?;
        // SAFETY: the map is read only and every access goes through a bounds-checked slice. What remains is that
        // another process truncates the file while it is read, which no reader of shared files can rule out.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("read", path, e))?;
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Opens a file after checking that it can hold anything: not a folder or a device, not empty, not a Git LFS pointer.
pub(super) fn open_regular(path: &Path) -> Result<File> {
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(path, e))?;
    if metadata.is_dir() {
        return Err(Error::file(
            path,
            "path",
            "this is a folder",
            "Give one file",
        ));
    }
    if !metadata.is_file() {
        return Err(Error::file(
            path,
            "path",
            "this is not a regular file",
            "Give a file on disk: pipes and devices are not read",
        ));
    }
    if metadata.len() == 0 {
        return Err(Error::file(
            path,
            "byte 0",
            "the file is empty",
            "Write it again: what wrote it was probably interrupted",
        ));
    }
    let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut start = Vec::with_capacity(LFS.len());
    file.by_ref()
        .take(LFS.len() as u64)
        .read_to_end(&mut start)
        .map_err(|e| Error::io("read", path, e))?;
    if start == LFS {
        return Err(Error::file(
            path,
            "byte 0",
            "this is a Git LFS pointer, not the data",
            "Fetch the data with `git lfs pull`",
        ));
    }
    Ok(file)
}

/// Why a path cannot be read; where there is nothing, what there is beside of nearly that name.
pub(super) fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    let nearest = match cause.kind() {
        ErrorKind::NotFound => nearest(path),
        _ => None,
    };
    let cause = match nearest {
        None => cause,
        Some(other) => {
            let kind = cause.kind();
            let said = format!("{cause}. Did you mean {}?", other.display());
            std::io::Error::new(kind, said)
        }
    };
    Error::io("read", path, cause)
}

/// Edits that are a slip of the pen at most, and names of a folder that are looked at.
const SLIPS: usize = 2;
const LISTED: usize = 10_000;

/// What lies in the same folder under the name with the fewest edits, when that is near enough to be a slip of the pen.
fn nearest(path: &Path) -> Option<PathBuf> {
    let wanted = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let there = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names = there.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let edits = |name: String| (strsim::damerau_levenshtein(wanted, &name), name);
    // `test` is three edits from `dev`: what is another part must not be offered. A link that leads nowhere is the name itself.
    let most = (wanted.len() / 4).clamp(1, SLIPS);
    let near = |name: &String| name.len().abs_diff(wanted.len()) <= most;
    let named = names.take(LISTED).filter(near).map(edits);
    let (_, name) = named
        .filter(|(edits, _)| (1..=most).contains(edits))
        .min()?;
    Some(path.with_file_name(name))
}

const LFS: &[u8] = b"version https://git-lfs";

/// The whole of a text file: a regular one, so that no pipe that nobody writes to, and no device without an end, is waited for.
///
/// # Errors
/// When it cannot be read, is no regular file, is empty, or is not UTF-8: with line and byte.
pub fn read_text(path: &Path) -> Result<String> {
    open_regular(path)?;
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        let bad = e.as_bytes()[good.len()];
        Error::file(
            path,
            format!("line {line}, byte {} of the file", good.len()),
            format!("byte 0x{bad:02x} is not UTF-8"),
            "Save the file as UTF-8",
        )
    })
}
