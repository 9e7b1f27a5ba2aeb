//! NumPy arrays: `.npy`, mapped; the matrix inside an `.npz` is the same once `npz` has found it.
//!
//! The header is a Python dict literal with the keys `descr`, `fortran_order` and `shape` and nothing else (NumPy's format
//! description, versions 1.0 to 3.0); only literals of that form are parsed, so that no header can nest or overflow.
//! Object arrays are pickles and are refused.

use std::ops::Range;
use std::path::Path;

use super::classes::LabelColumn;
use super::elements::{self, Dtype, IntegerType};
use super::layers;
use super::mapped::MappedFile;
use super::{Opened, ReadOptions};
use crate::error::{Error, Result};

/// Longest header that is read. NumPy's own are 118 bytes long for a plain matrix.
pub(super) const LONGEST_HEADER: usize = 1 << 16;

/// The bytes of an array: a part of a mapped file, or inflated.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(MappedFile, Range<usize>),
    Inflated(Vec<u8>),
}

impl Bytes {
    /// Bytes in memory, where they are not mapped.
    fn inflated(&self) -> u64 {
        match self {
            Self::Mapped(..) => 0,
            Self::Inflated(bytes) => bytes.len() as u64,
        }
    }

    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(file, range) => &file[range.clone()],
            Self::Inflated(bytes) => bytes,
        }
    }
}

/// A matrix samples × neurons in the layout of NumPy.
#[derive(Debug)]
pub(super) struct Matrix {
    bytes: Bytes,
    /// Where the elements begin.
    data: usize,
    samples: usize,
    neurons: usize,
    dtype: Dtype,
    /// Columns are contiguous instead of rows.
    fortran: bool,
}

pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Opened<Matrix>> {
    let file = MappedFile::open(path)?;
    let all = 0..file.len();
    matrix(path, "header", Bytes::Mapped(file, all), options)
}

/// The matrix in `bytes`; `place` says where in the file they are.
pub(super) fn matrix(
    path: &Path,
    place: &str,
    bytes: Bytes,
    options: &ReadOptions,
) -> Result<Opened<Matrix>> {
    let header = Header::parse(path, place, bytes.get())?;
    let Element::Float(dtype) = header.element else {
        return Err(Error::file(
            path,
            place,
            format!("its elements are '{}'", header.descr),
            "Save activations as float16, float32 or float64",
        ));
    };
    let &[samples, neurons] = header.shape.as_slice() else {
        return Err(Error::file(
            path,
            place,
            format!("the shape is {:?}", header.shape),
            "It must have two dimensions, samples × neurons",
        ));
    };
    layers::check_shape(path, samples, neurons)?;
    header.check_size(path, place, dtype.bytes(), bytes.get().len())?;
    Ok(Opened {
        samples,
        neurons,
        dtype,
        layers: layers::undescribed(path, neurons, options)?,
        contents: Matrix {
            bytes,
            data: header.data,
            samples,
            neurons,
            dtype,
            fortran: header.fortran,
        },
    })
}

/// Numbers of any type from a one-dimensional array.
pub(super) fn read_numbers(path: &Path) -> Result<Vec<f64>> {
    let file = MappedFile::open(path)?;
    let header = Header::parse(path, "header", &file)?;
    check_vector(path, &header)?;
    let bytes = &file[header.data..];
    match header.element {
        Element::Integer(kind) => {
            header.check_size(path, "header", kind.bytes, file.len())?;
            Ok(kind.read(bytes).into_iter().map(|n| n as f64).collect())
        }
        Element::Float(dtype) => {
            header.check_size(path, "header", dtype.bytes(), file.len())?;
            Ok(elements::to_f64(dtype, bytes))
        }
        Element::Bool => Err(Error::file(
            path,
            "header",
            format!("its elements are '{}'", header.descr),
            "Save them as numbers",
        )),
    }
}

/// A matrix of `bool`, row by row, with its number of rows and columns.
pub(super) fn read_bools(path: &Path) -> Result<(usize, usize, Vec<bool>)> {
    let file = MappedFile::open(path)?;
    let header = Header::parse(path, "header", &file)?;
    let (&[rows, columns], Element::Bool) = (header.shape.as_slice(), header.element) else {
        return Err(Error::file(
            path,
            "header",
            format!(
                "it is of '{}', with the shape {:?}",
                header.descr, header.shape
            ),
            "Save masks as a matrix of bool, masks × neurons",
        ));
    };
    header.check_size(path, "header", 1, file.len())?;
    let bytes = &file[header.data..];
    if let Some(at) = bytes.iter().position(|byte| *byte > 1) {
        return Err(Error::file(
            path,
            format!("element {at}"),
            format!("its byte is {}, and a bool is 0 or 1", bytes[at]),
            "Save the matrix again",
        ));
    }
    let value = |at: usize| match header.fortran {
        false => bytes[at] == 1,
        true => bytes[at % columns * rows + at / columns] == 1,
    };
    Ok((rows, columns, (0..bytes.len()).map(value).collect()))
}

fn check_vector(path: &Path, header: &Header) -> Result<()> {
    if header.shape.len() == 1 {
        return Ok(());
    }
    Err(Error::file(
        path,
        "header",
        format!("the shape is {:?}", header.shape),
        "Labels have one dimension: one label a sample",
    ))
}

/// Integer labels from a one-dimensional array.
pub(super) fn read_labels(path: &Path) -> Result<LabelColumn> {
    let file = MappedFile::open(path)?;
    let header = Header::parse(path, "header", &file)?;
    let Element::Integer(kind) = header.element else {
        return Err(Error::file(
            path,
            "header",
            format!("its elements are '{}'", header.descr),
            "Save labels as integers, or write their names into a text file, one a line",
        ));
    };
    check_vector(path, &header)?;
    header.check_size(path, "header", kind.bytes, file.len())?;
    LabelColumn::numbered(path, "labels", &kind.read(&file[header.data..]))
}

impl Matrix {
    /// Bytes that it holds in memory.
    pub fn inflated(&self) -> u64 {
        self.bytes.inflated()
    }

    /// The type of the elements where whole rows of them are contiguous.
    pub fn by_row(&self) -> Option<Dtype> {
        (!self.fortran).then_some(self.dtype)
    }

    /// As [`Matrix::read_rows`], the bits of elements of two bytes in contiguous rows.
    pub fn read_bits(&self, start: usize, out: &mut [u16]) {
        let from = self.data + start * self.neurons * 2;
        elements::to_bits(&self.bytes.get()[from..from + out.len() * 2], out);
    }

    /// Fills `out` with whole rows from `start` on; the caller has checked the range.
    pub fn read_rows(&self, start: usize, out: &mut [f32]) {
        let width = self.dtype.bytes();
        let elements = &self.bytes.get()[self.data..];
        if !self.fortran {
            let from = start * self.neurons * width;
            let bytes = &elements[from..from + out.len() * width];
            elements::to_f32(self.dtype, bytes, out);
            return;
        }
        let rows = out.len() / self.neurons;
        let mut column = vec![0.0; rows];
        for neuron in 0..self.neurons {
            let from = (neuron * self.samples + start) * width;
            let bytes = &elements[from..from + rows * width];
            elements::to_f32(self.dtype, bytes, &mut column);
            for (row, &value) in column.iter().enumerate() {
                out[row * self.neurons + neuron] = value;
            }
        }
    }
}

/// What an array holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Float(Dtype),
    Integer(IntegerType),
    Bool,
}

/// The header of an array.
#[derive(Debug)]
pub(super) struct Header {
    /// Where the elements begin.
    data: usize,
    descr: String,
    element: Element,
    fortran: bool,
    pub shape: Vec<usize>,
}

impl Header {
    /// Parses the header at the start of `bytes`.
    pub fn parse(path: &Path, place: &str, bytes: &[u8]) -> Result<Self> {
        let error = |problem: String| {
            Error::file(
                path,
                place,
                problem,
                "Save a plain array again with numpy.save or numpy.savez",
            )
        };
        let (start, length) = match bytes {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
                (10, usize::from(u16::from_le_bytes([*a, *b])))
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
                (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize)
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', major, minor, ..] if *major > 3 => {
                return Err(error(format!(
                    "the format version is {major}.{minor}, known are 1.0 to 3.0"
                )));
            }
            _ => {
                return Err(error(
                    "it does not start with \\x93NUMPY, a version and a length".to_owned(),
                ));
            }
        };
        if length > LONGEST_HEADER || length > bytes.len() - start {
            return Err(error(format!(
                "the header is said to be {length} bytes long, {} follow, and at most {LONGEST_HEADER} are read",
                bytes.len() - start
            )));
        }
        let text = std::str::from_utf8(&bytes[start..start + length]).map_err(|e| {
            error(format!(
                "byte {} of the header is not UTF-8",
                e.valid_up_to()
            ))
        })?;
        let literal = Literal::parse(text).map_err(|at| {
            error(format!(
                "character {at} of the header is not understood: {:?}",
                super::shortened(text.get(at..).unwrap_or_default().trim_end())
            ))
        })?;
        let element = element(path, place, &literal.descr)?;
        Ok(Self {
            data: start + length,
            descr: literal.descr,
            element,
            fortran: literal.fortran,
            shape: literal.shape,
        })
    }

    /// Refuses a file that is not exactly as long as the shape says; so no shape can make us allocate more than it.
    fn check_size(&self, path: &Path, place: &str, width: usize, length: usize) -> Result<()> {
        let expected = self
            .shape
            .iter()
            .try_fold(width, |bytes, &extent| bytes.checked_mul(extent));
        let held = length - self.data;
        if expected == Some(held) {
            return Ok(());
        }
        Err(Error::file(
            path,
            place,
            format!(
                "shape {:?} of '{}' takes {} bytes, but {held} follow the header",
                self.shape,
                self.descr,
                expected.map_or("more than 2^64".to_owned(), |bytes| bytes.to_string())
            ),
            "The file was cut off or padded: copy or save it again",
        ))
    }
}

fn element(path: &Path, place: &str, descr: &str) -> Result<Element> {
    let integer = |bytes, signed| Ok(Element::Integer(IntegerType { bytes, signed }));
    match descr {
        "<f2" => Ok(Element::Float(Dtype::F16)),
        "<f4" => Ok(Element::Float(Dtype::F32)),
        "<f8" => Ok(Element::Float(Dtype::F64)),
        "|b1" => Ok(Element::Bool),
        "|i1" | "<i1" => integer(1, true),
        "<i2" => integer(2, true),
        "<i4" => integer(4, true),
        "<i8" => integer(8, true),
        "|u1" | "<u1" => integer(1, false),
        "<u2" => integer(2, false),
        "<u4" => integer(4, false),
        "<u8" => integer(8, false),
        _ => {
            let fix = match descr.get(..2) {
                Some("|O") => {
                    "Arrays of objects are pickles, which can run code and are never loaded: save a plain array of numbers"
                }
                Some(start) if start.starts_with('>') => {
                    "Save the array in little-endian order: array.astype(array.dtype.newbyteorder(\"<\"))"
                }
                _ => "Save a plain array of float16, float32, float64 or integers",
            };
            Err(Error::file(
                path,
                place,
                format!(
                    "elements of type '{}' are not read",
                    super::shortened(descr)
                ),
                fix,
            ))
        }
    }
}

/// The three entries of a header.
#[derive(Debug)]
struct Literal {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Literal {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`; the error is the character that it failed at.
    fn parse(text: &str) -> std::result::Result<Self, usize> {
        let mut cursor = Cursor { text, at: 0 };
        Self::entries(&mut cursor).ok_or(cursor.at)
    }

    fn entries(cursor: &mut Cursor<'_>) -> Option<Self> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        cursor.expect("{")?;
        while cursor.expect("}").is_none() {
            let key = cursor.string()?;
            cursor.expect(":")?;
            match key {
                "descr" => descr = Some(cursor.string()?.to_owned()),
                "fortran_order" => fortran = Some(cursor.boolean()?),
                "shape" => shape = Some(cursor.tuple()?),
                _ => return None,
            }
            if cursor.expect(",").is_none() {
                cursor.expect("}")?;
                break;
            }
        }
        cursor.rest().trim().is_empty().then_some(())?;
        Some(Self {
            descr: descr?,
            fortran: fortran?,
            shape: shape?,
        })
    }
}

/// A position in the header's text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips white space and then `token`; stays before the token when it is not there.
    fn expect(&mut self, token: &str) -> Option<()> {
        self.at = self.text.len() - self.rest().trim_start().len();
        self.rest()
            .starts_with(token)
            .then(|| self.at += token.len())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = ["'", "\""]
            .into_iter()
            .find(|quote| self.expect(quote).is_some())?;
        let length = self.rest().find(quote)?;
        let content = &self.rest()[..length];
        self.at += length + quote.len();
        Some(content)
    }

    fn boolean(&mut self) -> Option<bool> {
        [("False", false), ("True", true)]
            .into_iter()
            .find(|(word, _)| self.expect(word).is_some())
            .map(|(_, value)| value)
    }

    /// A tuple of extents; a negative one, or one beyond the address space, is not understood.
    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut extents = Vec::new();
        self.expect("(")?;
        while self.expect(")").is_none() {
            let rest = self.rest();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            extents.push(rest[..digits].parse().ok()?);
            self.at += digits;
            if self.expect(",").is_none() {
                self.expect(")")?;
                break;
            }
        }
        Some(extents)
    }
}
