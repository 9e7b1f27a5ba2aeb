//! Damage: what a broken disk, a killed writer, a careless script or somebody malicious makes of a good file.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers that lengths, shapes and offsets are overwritten with, as text.
const NUMBERS: [&str; 14] = [
    "-1",
    "0",
    "1",
    "-0",
    "1.5",
    "1e999",
    "-1e308",
    "5e-324",
    "NaN",
    "255",
    "65536",
    "4294967295",
    "4611686018427387904",
    "99999999999999999999999",
];

/// Bytes and letters that texts are spliced with: not UTF-8, control characters, marks, brackets.
const PIECES: [&[u8]; 16] = [
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\x80",
    b"\0",
    b"\r",
    b"\n",
    b"\n\n",
    b"\t",
    b"\"",
    b"\\",
    b",",
    b"}",
    "\u{feff}".as_bytes(),
    "\u{2028}".as_bytes(),
    b"\x1b[2J",
];

const NESTS: [&[u8]; 5] = [b"[", b"{\"a\":", b"(", b"[[0],", b"{"];

/// A seeded source of damage.
pub struct Mutator(ChaCha8Rng);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound.max(1))
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Damages a file in one to three ways.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(3) {
            self.once(bytes);
        }
    }

    /// A place, in half of the cases near the start, where headers are.
    fn place(&mut self, length: usize) -> usize {
        let reach = if self.below(2) == 0 {
            length.min(256)
        } else {
            length
        };
        self.below(reach)
    }

    fn once(&mut self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let at = self.place(length);
        match self.below(32) {
            0..=2 => bytes.truncate(at),
            3..=7 => self.flip(bytes),
            8..=13 => self.integer(bytes, at),
            14..=21 => self.number(bytes),
            22 => {
                let nest = self.one_of(&NESTS).repeat(1 << self.below(13));
                splice(bytes, at..at, &nest);
            }
            23..=25 => {
                let piece = self.one_of(&PIECES);
                splice(bytes, at..at, piece);
            }
            26 => splice(bytes, at..at + self.below(64), &[]),
            27..=30 => {
                // A piece of the file over, or between, others.
                let from = self.place(length);
                let piece = bytes[from..length.min(from + 1 + self.below(64))].to_vec();
                let over = self.below(2) * piece.len();
                splice(bytes, at..at + over, &piece);
            }
            _ => match self.below(8) {
                0 => bytes.clear(),
                1 => bytes.extend_from_within(..),
                _ => bytes.extend([0; 9]),
            },
        }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..1 + self.below(8) {
            let at = self.place(bytes.len());
            let bit = self.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// An extreme number over one, two, four or eight bytes.
    fn integer(&mut self, bytes: &mut [u8], at: usize) {
        let length = bytes.len() as u64;
        let extremes = [
            0,
            1,
            0x7f,
            0xff,
            0x7fff,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            1 << 40,
            u64::MAX >> 1,
            u64::MAX,
            u64::MAX - 7,
            length,
            length + 1,
            length.saturating_sub(1),
        ];
        let width = self.one_of(&[1, 2, 4, 8]);
        let at = if self.below(2) == 0 {
            at / width * width
        } else {
            at
        };
        let value = self.one_of(&extremes).to_le_bytes();
        for (byte, value) in bytes[at..].iter_mut().zip(&value[..width]) {
            *byte = *value;
        }
    }

    /// Another number for one in the text: an extreme one, or one that stands elsewhere in it.
    fn number(&mut self, bytes: &mut Vec<u8>) {
        let numbers = numbers(bytes);
        if numbers.is_empty() {
            return;
        }
        // Headers come first.
        let few = numbers.len().min(12);
        let among = if self.below(2) == 0 {
            few
        } else {
            numbers.len()
        };
        let over = numbers[self.below(among)].clone();
        let other = numbers[self.below(numbers.len())].clone();
        let text = match self.below(3) {
            0 => bytes[other].to_vec(),
            _ => self.one_of(&NUMBERS).as_bytes().to_vec(),
        };
        splice(bytes, over, &text);
    }
}

/// Where the numbers of a text are.
fn numbers(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let mut found = Vec::new();
    let mut start = 0;
    for run in bytes.chunk_by(|a, b| of_number(a) == of_number(b)) {
        if of_number(&run[0]) && run.iter().any(u8::is_ascii_digit) {
            found.push(start..start + run.len());
        }
        start += run.len();
    }
    found
}

fn splice(bytes: &mut Vec<u8>, over: std::ops::Range<usize>, with: &[u8]) {
    let end = over.end.min(bytes.len());
    bytes.splice(over.start.min(end)..end, with.iter().copied());
}
