//! `.npz`: a zip archive of NumPy arrays. The matrix is the array `activations`, else the only array of two dimensions.
//!
//! An array that is stored as it is (`numpy.savez`) is mapped, a compressed one (`numpy.savez_compressed`) inflated into
//! memory.

use std::io::{Cursor, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::mapped::MappedFile;
use super::npy::{self, Bytes, Header, Matrix};
use super::{Opened, ReadOptions};
use crate::error::{Error, Result};

/// DEFLATE cannot inflate more than this (RFC 1951: 258 bytes from two bits).
const MOST_INFLATION: u64 = 1032;
/// Archives of more arrays than this must name the matrix.
const MOST_ARRAYS: usize = 1000;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Opened<Matrix>> {
    let file = MappedFile::open(path)?;
    let mut archive = ZipArchive::new(Cursor::new(&*file)).map_err(|e| {
        Error::file(
            path,
            "zip directory",
            e.to_string(),
            "This is not a complete .npz archive: save it again with numpy.savez",
        )
    })?;
    let name = find(path, &mut archive)?;
    let place = format!("array \"{name}\"");
    let stored = stored_range(path, &place, &mut archive, &name, file.len() as u64)?;
    let bytes = match stored {
        Some(range) => Bytes::Mapped(file, range),
        None => Bytes::Inflated(inflate(path, &place, &mut archive, &name)?),
    };
    npy::matrix(path, &place, bytes, options)
}

/// The name, in the archive, of the matrix.
fn find(path: &Path, archive: &mut Archive<'_>) -> Result<String> {
    let arrays: Vec<String> = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .filter(|name| name.ends_with(".npy"))
        .collect();
    if let Some(name) = arrays.iter().find(|name| *name == "activations.npy") {
        return Ok(name.clone());
    }
    let mut matrices = Vec::new();
    for name in arrays.iter().take(MOST_ARRAYS) {
        let place = format!("array \"{name}\"");
        let start = read(path, &place, archive, name, npy::LONGEST_HEADER as u64 + 12)?;
        // An array that we cannot read (an object array, say) is not the matrix.
        if Header::parse(path, &place, &start).is_ok_and(|header| header.shape.len() == 2) {
            matrices.push(name.clone());
        }
    }
    match matrices.as_slice() {
        [one] if arrays.len() <= MOST_ARRAYS => Ok(one.clone()),
        _ => Err(Error::file(
            path,
            "zip directory",
            format!(
                "it holds {} arrays, {} of them with two dimensions: {}",
                arrays.len(),
                matrices.len(),
                super::quoted_list(&arrays)
            ),
            "Name the samples × neurons matrix: numpy.savez(path, activations=matrix)",
        )),
    }
}

fn broken(path: &Path, place: &str, error: impl std::fmt::Display) -> Error {
    Error::file(
        path,
        place,
        error.to_string(),
        "The archive is damaged: save it again with numpy.savez",
    )
}

/// Where a member lies in the file, when it is stored without compression.
fn stored_range(
    path: &Path,
    place: &str,
    archive: &mut Archive<'_>,
    name: &str,
    length: u64,
) -> Result<Option<std::ops::Range<usize>>> {
    let member = archive.by_name(name).map_err(|e| broken(path, place, e))?;
    if member.compression() != CompressionMethod::Stored {
        return Ok(None);
    }
    let range = member.data_start().and_then(|start| {
        let end = start.checked_add(member.size())?;
        (end <= length).then_some(start as usize..end as usize)
    });
    match range {
        Some(range) => Ok(Some(range)),
        None => Err(broken(
            path,
            place,
            format!(
                "its {} bytes reach past the end of the file, byte {length}",
                member.size()
            ),
        )),
    }
}

/// A whole compressed member.
fn inflate(path: &Path, place: &str, archive: &mut Archive<'_>, name: &str) -> Result<Vec<u8>> {
    let member = archive.by_name(name).map_err(|e| broken(path, place, e))?;
    let (size, compressed) = (member.size(), member.compressed_size());
    drop(member);
    if size > compressed.saturating_mul(MOST_INFLATION) {
        return Err(broken(
            path,
            place,
            format!("{compressed} compressed bytes cannot hold the {size} bytes that it declares"),
        ));
    }
    let bytes = read(path, place, archive, name, size.saturating_add(1))?;
    if bytes.len() as u64 != size {
        return Err(broken(
            path,
            place,
            format!("it declares {size} bytes and inflates to {}", bytes.len()),
        ));
    }
    Ok(bytes)
}

/// At most `limit` bytes of a member.
fn read(
    path: &Path,
    place: &str,
    archive: &mut Archive<'_>,
    name: &str,
    limit: u64,
) -> Result<Vec<u8>> {
    let member = archive.by_name(name).map_err(|e| broken(path, place, e))?;
    let mut bytes = Vec::new();
    member
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| broken(path, place, e))?;
    Ok(bytes)
}
