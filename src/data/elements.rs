//! Stored numbers: the element types that files hold, and their conversion to `f32` and `i64`.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::activations::Stored;

/// Element type of activations as they are stored. Computation is in `f32` whatever the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision: rounded to the nearest `f32` when read.
    F64,
}

impl Dtype {
    /// Bytes that one element takes in the file.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// How values of it are handed out as they are.
    pub(super) fn stored(self) -> Stored {
        match self {
            Self::F16 => Stored::F16,
            Self::BF16 => Stored::Bf16,
            Self::F32 | Self::F64 => Stored::F32,
        }
    }

    /// Its name as safetensors spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Converts little-endian elements to `f32`; `bytes` holds exactly as many elements as `out`.
///
/// The bytes may start anywhere: a tensor in a mapped file is not always aligned for its type.
pub(super) fn to_f32(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len(), out.len() * dtype.bytes(), "caller's bounds");
    let native = cfg!(target_endian = "little");
    match dtype {
        Dtype::F16 => match bytemuck::try_cast_slice::<u8, f16>(bytes) {
            Ok(values) if native => values.convert_to_f32_slice(out),
            _ => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        },
        Dtype::BF16 => match bytemuck::try_cast_slice::<u8, bf16>(bytes) {
            Ok(values) if native => values.convert_to_f32_slice(out),
            _ => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        },
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
    }
}

/// Little-endian elements of two bytes as their bits; `bytes` holds exactly as many as `out`.
pub(super) fn to_bits(bytes: &[u8], out: &mut [u16]) {
    assert_eq!(bytes.len(), out.len() * 2, "caller's bounds");
    for (bits, element) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *bits = u16::from_le_bytes(*element);
    }
}

/// Little-endian elements as `f64`, exactly.
pub(super) fn to_f64(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    if dtype == Dtype::F64 {
        let (elements, _) = bytes.as_chunks::<8>();
        return elements.iter().map(|e| f64::from_le_bytes(*e)).collect();
    }
    let mut values = vec![0.0; bytes.len() / dtype.bytes()];
    to_f32(dtype, bytes, &mut values);
    values.into_iter().map(f64::from).collect()
}

fn each<const WIDTH: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; WIDTH]) -> f32) {
    for (value, element) in out.iter_mut().zip(bytes.chunks_exact(WIDTH)) {
        *value = convert(element.try_into().expect("chunks of exactly WIDTH bytes"));
    }
}

/// Element type of integer labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IntegerType {
    /// 1, 2, 4 or 8.
    pub bytes: usize,
    pub signed: bool,
}

impl IntegerType {
    /// The little-endian integers in `bytes`; one past `i64` saturates, far beyond any class count.
    pub fn read(self, bytes: &[u8]) -> Vec<i64> {
        bytes
            .chunks_exact(self.bytes)
            .map(|element| {
                let negative = self.signed && element[self.bytes - 1] & 0x80 != 0;
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                wide[..self.bytes].copy_from_slice(element);
                if self.signed {
                    i64::from_le_bytes(wide)
                } else {
                    i64::try_from(u64::from_le_bytes(wide)).unwrap_or(i64::MAX)
                }
            })
            .collect()
    }
}
