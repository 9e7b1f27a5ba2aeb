//! Matrices of correlations, written tile by tile while they are computed: neither the matrix nor a row of it is ever held.
//!
//! | extension | what |
//! |---|---|
//! | `.npy` | D × D (of two models D × D'), F32, row by row |
//! | `.safetensors` | `packed`: the upper triangle without its diagonal, row by row (of two models `correlations`, D × D') |

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::ops::correlation::Matrix;

/// A matrix of correlations on its way to a file.
#[derive(Debug)]
pub struct MatrixFile {
    path: PathBuf,
    /// What is written, renamed when it is whole.
    beside: PathBuf,
    file: Mutex<File>,
    layout: Layout,
    /// Bytes before the first value.
    header: u64,
}

/// Where a pair is in the file.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// Left × right neurons; both halves where these are the same.
    Full { columns: u64, both: bool },
    /// The upper triangle of so many neurons.
    Packed { neurons: u64 },
}

impl MatrixFile {
    /// Opens a file for the pairs of `left` neurons with `right` ones, or with themselves where `same`. The extension of
    /// `path` says which form it takes.
    ///
    /// # Errors
    /// When the extension is another one, or the file cannot be made as large as it will be.
    pub fn new(path: &Path, left: usize, right: usize, same: bool) -> Result<Self> {
        let (rows, columns) = (left as u64, right as u64);
        let (header, layout, values) = match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => {
                let layout = Layout::Full {
                    columns,
                    both: same,
                };
                (npy_header(rows, columns), layout, rows * columns)
            }
            Some("safetensors") if same => {
                let values = rows * rows.saturating_sub(1) / 2;
                let header = safetensors_header("packed", &[values]);
                (header, Layout::Packed { neurons: rows }, values)
            }
            Some("safetensors") => {
                let layout = Layout::Full {
                    columns,
                    both: false,
                };
                let header = safetensors_header("correlations", &[rows, columns]);
                (header, layout, rows * columns)
            }
            _ => {
                return Err(Error::invalid(
                    format!("output file {}", path.display()),
                    "its name ends in neither .npy nor .safetensors",
                    "Name it, say, correlations.npy",
                ));
            }
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let mut made = Self {
            path: path.to_owned(),
            file: Mutex::new(File::create(&beside).map_err(|e| Error::io("create", &beside, e))?),
            beside,
            layout,
            header: header.len() as u64,
        };
        let length = made.header + values * 4;
        let file = made.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Its length at once, so that a full disk is found before the work where the file system can tell.
        file.set_len(length)
            .and_then(|()| file.write_all(&header))
            .map_err(|e| Error::io("write", &made.beside, e))?;
        Ok(made)
    }

    /// All tiles are in: puts the file into its place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<()> {
        let written = self
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sync_all()
            .and_then(|()| std::fs::rename(&self.beside, &self.path));
        written.map_err(|e| Error::io("write", &self.path, e))
    }

    /// Writes values from place `at` on.
    fn put(&self, file: &mut File, at: u64, values: &[u8]) -> Result<()> {
        file.seek(SeekFrom::Start(self.header + at * 4))
            .and_then(|_| file.write_all(values))
            .map_err(|e| Error::io("write", &self.beside, e))
    }
}

impl Drop for MatrixFile {
    fn drop(&mut self) {
        // Gone already where the file is finished; otherwise of no use, and an error here would hide the one that led here.
        drop(std::fs::remove_file(&self.beside));
    }
}

impl Matrix for MatrixFile {
    fn tile(&self, (top, left): (usize, usize), r: ArrayView2<'_, f32>) -> Result<()> {
        let (first, column) = (top as u64, left as u64);
        let bytes = |values: &mut dyn Iterator<Item = &f32>| -> Vec<u8> {
            values.flat_map(|value| value.to_le_bytes()).collect()
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, row) in (first..).zip(r.outer_iter()) {
            match self.layout {
                Layout::Full { columns, .. } => {
                    self.put(&mut file, i * columns + column, &bytes(&mut row.iter()))?;
                }
                Layout::Packed { neurons } => {
                    // On the diagonal the row begins inside the tile.
                    let skip = (i + 1).saturating_sub(column);
                    let start = i * (2 * neurons - i - 1) / 2 + column + skip - i - 1;
                    let values = bytes(&mut row.iter().skip(skip as usize));
                    self.put(&mut file, start, &values)?;
                }
            }
        }
        if let Layout::Full {
            columns,
            both: true,
        } = self.layout
            && top != left
        {
            for (j, of_column) in (column..).zip(r.columns()) {
                let values = bytes(&mut of_column.iter());
                self.put(&mut file, j * columns + first, &values)?;
            }
        }
        Ok(())
    }
}

/// The header of NumPy's format 1.0, padded so that the values begin at a multiple of 64 bytes.
fn npy_header(rows: u64, columns: u64) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let before = 10;
    let whole = (before + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', whole - before - text.len() - 1));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

/// The header of a safetensors file of one F32 tensor.
fn safetensors_header(name: &str, shape: &[u64]) -> Vec<u8> {
    let values: u64 = shape.iter().product();
    let mut text = format!(
        "{{\"__metadata__\":{{\"schema_version\":\"1\"}},\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[0,{}]}}}}",
        values * 4
    );
    let whole = text.len().next_multiple_of(8);
    text.extend(std::iter::repeat_n(' ', whole - text.len()));
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend(text.as_bytes());
    header
}
