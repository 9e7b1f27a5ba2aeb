//! NumPy arrays as rows of activations, without a copy: f32, f16, and bf16 as the uint16 that it is stored in; in any layout,
//! strided, reversed, or mapped from a file.
//!
//! The package's Python part has seen to it that arrays are aligned, of the machine's byte order and of one of these types.
//! Where an operation wants all values as one f32 matrix, [`NumpyRows::values`] lends f32 as it is and converts the others.

use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use ndarray::{Array2, ArrayView2, CowArray, Ix2, ShapeBuilder};
use numpy::{PyArray2, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::error::invalid;
use super::work::Watch;
use crate::activations::{Rows, Stored, rows_of};
use crate::error::Result;

/// A matrix samples × neurons that NumPy holds.
#[derive(Debug)]
pub(super) struct NumpyRows {
    data: *const u8,
    shape: (usize, usize),
    /// In bytes; negative where the array is reversed.
    strides: (isize, isize),
    stored: Stored,
    watch: Arc<Watch>,
    /// Keeps the values where they are.
    _owner: Py<PyAny>,
}

// SAFETY: the values are only read, and stay in place as long as `_owner` lives. What remains is that the program writes to
// the array from another thread during a computation, which NumPy cannot rule out for any library that releases its lock;
// every bit pattern is a number.
#[expect(unsafe_code, reason = "a pointer is neither Send nor Sync by itself")]
unsafe impl Send for NumpyRows {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer is neither Send nor Sync by itself")]
unsafe impl Sync for NumpyRows {}

impl NumpyRows {
    /// Borrows a matrix of f32, f16 or (as uint16) bf16.
    pub(super) fn new(array: &Bound<'_, PyUntypedArray>, watch: &Arc<Watch>) -> PyResult<Self> {
        let py = array.py();
        let refused = |problem: &str| {
            let fix = "Pass it through the package's own functions, which convert it";
            Err(invalid(py, "array of activations", problem, fix))
        };
        let (stored, data) = if let Ok(array) = array.cast::<PyArray2<f32>>() {
            (Stored::F32, array.data().cast_const().cast::<u8>())
        } else if let Ok(array) = array.cast::<PyArray2<f16>>() {
            (Stored::F16, array.data().cast_const().cast())
        } else if let Ok(array) = array.cast::<PyArray2<u16>>() {
            (Stored::Bf16, array.data().cast_const().cast())
        } else {
            let (dimensions, dtype) = (array.ndim(), array.dtype());
            return refused(&format!(
                "it is of type {dtype} and has {dimensions} dimensions"
            ));
        };
        let (&[samples, neurons], &[down, right]) = (array.shape(), array.strides()) else {
            unreachable!("it is a matrix");
        };
        let aligned: bool = array.getattr("flags")?.getattr("aligned")?.extract()?;
        if !aligned {
            return refused("its values are not aligned");
        }
        Ok(Self {
            data,
            shape: (samples, neurons),
            strides: (down, right),
            stored,
            watch: watch.clone(),
            _owner: array.clone().into_any().unbind(),
        })
    }

    /// All values as f32: lent where they are f32 in a layout that runs forwards, else a copy.
    pub(super) fn values(&self) -> Result<CowArray<'_, f32, Ix2>> {
        let size = size_of::<f32>() as isize;
        let forwards = |stride: isize| usize::try_from(stride / size).ok();
        let strides = (forwards(self.strides.0), forwards(self.strides.1));
        if let (Stored::F32, (Some(down), Some(right))) = (self.stored, strides)
            && self.strides.0 % size == 0
            && self.strides.1 % size == 0
            && self.shape.0 > 0
            && self.shape.1 > 0
        {
            let shape = self.shape.strides((down, right));
            #[expect(unsafe_code, reason = "the values are lent, not copied")]
            // SAFETY: shape and strides are NumPy's own, so every element lies in the array's memory, which `_owner` keeps;
            // alignment was checked.
            let view = unsafe { ArrayView2::from_shape_ptr(shape, self.data.cast()) };
            return Ok(view.into());
        }
        let mut values = Array2::zeros(self.shape);
        let out = values.as_slice_mut().expect("it is contiguous");
        self.read_rows(0, out)?;
        Ok(values.into())
    }

    /// Hands each wanted row to `take`: as a slice where its values are adjacent, else gathered.
    fn rows<T: Copy + Default, U>(
        &self,
        start: usize,
        out: &mut [U],
        take: impl Fn(&[T], &mut [U]),
    ) -> Result<()> {
        self.watch.check()?;
        let rows = rows_of(self.shape, start, out.len())?;
        let neurons = self.shape.1;
        let adjacent = self.strides.1 == size_of::<T>() as isize || neurons == 1;
        let mut gathered = vec![T::default(); if adjacent { 0 } else { neurons }];
        for (row, out) in rows.zip(out.chunks_exact_mut(neurons)) {
            // Not past what is there: `rows_of` has seen to it, and NumPy's strides stay inside the array.
            let first = self.data.wrapping_offset(row as isize * self.strides.0);
            if adjacent {
                #[expect(unsafe_code, reason = "the values are lent, not copied")]
                // SAFETY: `neurons` adjacent, aligned values of the array's own type, which `_owner` keeps.
                let values = unsafe { std::slice::from_raw_parts(first.cast::<T>(), neurons) };
                take(values, out);
                continue;
            }
            for (neuron, value) in gathered.iter_mut().enumerate() {
                let at = first.wrapping_offset(neuron as isize * self.strides.1);
                #[expect(unsafe_code, reason = "the values are read where NumPy has them")]
                // SAFETY: an element of the array, aligned, of its own type, which `_owner` keeps.
                let read = unsafe { at.cast::<T>().read() };
                *value = read;
            }
            take(&gathered, out);
        }
        Ok(())
    }
}

impl Rows for NumpyRows {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        match self.stored {
            Stored::F32 => self.rows(start, out, |row: &[f32], out| out.copy_from_slice(row)),
            Stored::F16 => self.rows(start, out, |row: &[f16], out| {
                row.convert_to_f32_slice(out);
            }),
            Stored::Bf16 => self.rows(start, out, |row: &[bf16], out| {
                row.convert_to_f32_slice(out);
            }),
        }
    }

    fn stored(&self) -> Stored {
        self.stored
    }

    fn read_bits(&self, start: usize, out: &mut [u16]) -> Result<()> {
        self.rows(start, out, |row: &[u16], out| out.copy_from_slice(row))
    }
}
