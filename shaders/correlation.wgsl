// Correlation: the Gram matrix of centred and scaled neurons, in packed tiles of its upper triangle.
//
//   z_ij = (x_ij - shift_j) * scale_j          centre    N x D  ->  N' x D', padded with zeros
//   hi = f16(z_ij - rest_j), lo = f16((z_ij - rest_j - hi) * 2^11)          centre_halves
//   G_ab (+)= sum over i of z_ia * z_ib        gram      N' x D' ->  one tile a workgroup
//
// A tile is 64 x 64 (SIDE 8) or 128 x 128 (SIDE 16); D' is a multiple of it and N' of 16. The host divides by N and
// normalises by the diagonal of the same G.
//
// `gram`: SIDE x SIDE threads, 8 x 8 values each as 2 x 2 quads of 4 x 4 (the halves are half a tile apart, so that
// neighbours read neighbouring words), 16 samples a step through 8 or 16 KiB of workgroup memory, the next step's samples
// fetched into registers meanwhile: four words of each side a thread, or two where there are four times as many threads.
// The samples-major z is already what both operands need. Sums of 256 samples stay in registers and are added to the tile
// at once: sparse neurons repeat products, whose roundings all go the same way, so longer sums would be less exact. Every tile has one owner, so the order of all sums is fixed. Unrolled in the source:
// the translation to SPIR-V, MSL and HLSL leaves loops as they are.

struct Centring {
  // Samples of x.
  samples: u32,
  // What x holds: 0 f32, 1 f16, 2 bf16; of the last two a word holds two, the first in its lower half.
  format: u32,
  // Samples of z, and neurons of both.
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>; // samples x columns, as they are stored
@group(0) @binding(1) var<storage, read> shift: array<f32>; // columns
@group(0) @binding(2) var<storage, read> scale: array<f32>; // columns
@group(0) @binding(3) var<storage, read_write> centred: array<f32>; // rows x columns
var<immediate> c: Centring;

// The f32 of an f16 that is finite, exactly. By its bits: a device may flush what is subnormal there.
fn of_bits(bits: u32) -> f32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 31u;
  let fraction = bits & 1023u;
  if (exponent == 0u) {
    return bitcast<f32>(bitcast<u32>(f32(fraction) * 5.9604644775390625e-8) | sign);
  }
  return bitcast<f32>(sign | ((exponent + 112u) << 23u) | (fraction << 13u));
}

// The f32 of a stored value, exactly.
fn stored(at: u32) -> f32 {
  if (c.format == 0u) {
    return bitcast<f32>(x[at]);
  }
  let word = x[at / 2u];
  let bits = select(word & 0xffffu, word >> 16u, at % 2u == 1u);
  if (c.format == 2u) {
    return bitcast<f32>(bits << 16u);
  }
  return of_bits(bits);
}

@compute @workgroup_size(256)
fn centre(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = (id.y * groups.x + id.x) * 256u + thread;
  if (at >= c.rows * c.columns) {
    return;
  }
  let row = at / c.columns;
  let column = at % c.columns;
  var value = 0.0;
  if (row < c.samples) {
    // As (x - shift) * scale, since the scale is a power of two, but without overflow.
    value = stored(at) * scale[column] - shift[column] * scale[column];
  }
  centred[at] = value;
}

// What the rounding of the shift leaves of the mean of z; columns.
@group(0) @binding(3) var<storage, read> rest: array<f32>;
@group(0) @binding(4) var<storage, read_write> halves: array<u32>; // rows x PARTS x columns, two a word

// Halves of a value: hi, or hi and lo.
override PARTS: u32 = 1u;

// The bits of the f16 nearest to a value, ties to even; infinite from 65520 on, and where there is no value.
fn half(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size >= 0x477ff000u) {
    return sign | 0x7c00u;
  }
  if (size < 0x38800000u) {
    // Subnormal: the neighbours of 1/2 are as far apart, so adding it rounds.
    return sign | (bitcast<u32>(bitcast<f32>(size) + 0.5) - 0x3f000000u);
  }
  return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u);
}

// hi in the lower 16 bits, lo in the upper ones.
fn parts(row: u32, column: u32) -> u32 {
  if (row >= c.samples) {
    return 0u;
  }
  let at = row * c.columns + column;
  let value = stored(at) * scale[column] - shift[column] * scale[column] - rest[column];
  let hi = half(value);
  return hi | (half((value - of_bits(hi)) * 2048.0) << 16u);
}

@compute @workgroup_size(256)
fn centre_halves(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = (id.y * groups.x + id.x) * 256u + thread;
  let words = c.columns / 2u;
  if (at >= c.rows * words) {
    return;
  }
  let row = at / words;
  let word = at % words;
  let first = parts(row, 2u * word);
  let second = parts(row, 2u * word + 1u);
  let to = row * PARTS * words + word;
  halves[to] = (first & 0xffffu) | (second << 16u);
  if (PARTS == 2u) {
    halves[to + words] = (first >> 16u) | (second & 0xffff0000u);
  }
}

struct Params {
  // Words of four f32 in a row of z.
  stride: u32,
  // Samples of this dispatch; the difference is a multiple of 16.
  start: u32,
  end: u32,
  // Tiles of this dispatch, and the first of them.
  count: u32,
  first: u32,
  // 0: overwrite g; 1: add to it.
  accumulate: u32,
  padding: vec2<u32>,
}

// Threads along a side of a workgroup, 8 or 16, and all of them.
override SIDE: u32 = 8u;
override THREADS: u32 = 64u;
// Words of four f32 in a row of a tile, and in 16 rows.
override WORDS: u32 = 16u;
override PANEL: u32 = 256u;

@group(0) @binding(0) var<storage, read> z: array<vec4<f32>>; // N' x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<vec4<f32>>; // tiles, each row by row
var<immediate> p: Params;

var<workgroup> left: array<vec4<f32>, PANEL>; // 16 samples x the neurons of a tile's side
var<workgroup> right: array<vec4<f32>, PANEL>;

@compute @workgroup_size(THREADS)
fn gram(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  if (group >= p.count) {
    return;
  }
  let slot = p.first + group;
  let tile = tiles[slot];
  let tx = thread % SIDE;
  let ty = thread / SIDE;
  let corner = (p.start + thread / WORDS) * p.stride + thread % WORDS;
  var at_left = corner + tile.x * WORDS;
  var at_right = corner + tile.y * WORDS;
  // From one word that a thread fetches to its next: the rows that all threads fetch together.
  let jump = THREADS / WORDS * p.stride;
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  var s4 = vec4<f32>();
  var s5 = vec4<f32>();
  var s6 = vec4<f32>();
  var s7 = vec4<f32>();
  var s8 = vec4<f32>();
  var s9 = vec4<f32>();
  var s10 = vec4<f32>();
  var s11 = vec4<f32>();
  var s12 = vec4<f32>();
  var s13 = vec4<f32>();
  var s14 = vec4<f32>();
  var s15 = vec4<f32>();
  var left0 = vec4<f32>();
  var left1 = vec4<f32>();
  var left2 = vec4<f32>();
  var left3 = vec4<f32>();
  var right0 = vec4<f32>();
  var right1 = vec4<f32>();
  var right2 = vec4<f32>();
  var right3 = vec4<f32>();
  left0 = z[at_left + 0u * jump];
  left1 = z[at_left + 1u * jump];
  right0 = z[at_right + 0u * jump];
  right1 = z[at_right + 1u * jump];
  if (SIDE == 8u) {
    left2 = z[at_left + 2u * jump];
    left3 = z[at_left + 3u * jump];
    right2 = z[at_right + 2u * jump];
    right3 = z[at_right + 3u * jump];
  }
  let to = slot * 16u * THREADS + ty * 4u * WORDS + tx;
  let low = to + 4u * SIDE * WORDS;
  for (var start = p.start; start < p.end; start += 256u) {
    let end = min(start + 256u, p.end);
    for (var k = start; k < end; k += 16u) {
      workgroupBarrier();
      left[thread + 0u * THREADS] = left0;
      left[thread + 1u * THREADS] = left1;
      right[thread + 0u * THREADS] = right0;
      right[thread + 1u * THREADS] = right1;
      if (SIDE == 8u) {
        left[thread + 2u * THREADS] = left2;
        left[thread + 3u * THREADS] = left3;
        right[thread + 2u * THREADS] = right2;
        right[thread + 3u * THREADS] = right3;
      }
      workgroupBarrier();
      at_left += 16u * p.stride;
      at_right += 16u * p.stride;
      if (k + 16u < p.end) {
        left0 = z[at_left + 0u * jump];
        left1 = z[at_left + 1u * jump];
        right0 = z[at_right + 0u * jump];
        right1 = z[at_right + 1u * jump];
        if (SIDE == 8u) {
          left2 = z[at_left + 2u * jump];
          left3 = z[at_left + 3u * jump];
          right2 = z[at_right + 2u * jump];
          right3 = z[at_right + 3u * jump];
        }
      }
      {
        let a0 = left[0u * WORDS + ty]; let a1 = left[0u * WORDS + SIDE + ty];
        let b0 = right[0u * WORDS + tx]; let b1 = right[0u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[1u * WORDS + ty]; let a1 = left[1u * WORDS + SIDE + ty];
        let b0 = right[1u * WORDS + tx]; let b1 = right[1u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[2u * WORDS + ty]; let a1 = left[2u * WORDS + SIDE + ty];
        let b0 = right[2u * WORDS + tx]; let b1 = right[2u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[3u * WORDS + ty]; let a1 = left[3u * WORDS + SIDE + ty];
        let b0 = right[3u * WORDS + tx]; let b1 = right[3u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[4u * WORDS + ty]; let a1 = left[4u * WORDS + SIDE + ty];
        let b0 = right[4u * WORDS + tx]; let b1 = right[4u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[5u * WORDS + ty]; let a1 = left[5u * WORDS + SIDE + ty];
        let b0 = right[5u * WORDS + tx]; let b1 = right[5u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[6u * WORDS + ty]; let a1 = left[6u * WORDS + SIDE + ty];
        let b0 = right[6u * WORDS + tx]; let b1 = right[6u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[7u * WORDS + ty]; let a1 = left[7u * WORDS + SIDE + ty];
        let b0 = right[7u * WORDS + tx]; let b1 = right[7u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[8u * WORDS + ty]; let a1 = left[8u * WORDS + SIDE + ty];
        let b0 = right[8u * WORDS + tx]; let b1 = right[8u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[9u * WORDS + ty]; let a1 = left[9u * WORDS + SIDE + ty];
        let b0 = right[9u * WORDS + tx]; let b1 = right[9u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[10u * WORDS + ty]; let a1 = left[10u * WORDS + SIDE + ty];
        let b0 = right[10u * WORDS + tx]; let b1 = right[10u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[11u * WORDS + ty]; let a1 = left[11u * WORDS + SIDE + ty];
        let b0 = right[11u * WORDS + tx]; let b1 = right[11u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[12u * WORDS + ty]; let a1 = left[12u * WORDS + SIDE + ty];
        let b0 = right[12u * WORDS + tx]; let b1 = right[12u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[13u * WORDS + ty]; let a1 = left[13u * WORDS + SIDE + ty];
        let b0 = right[13u * WORDS + tx]; let b1 = right[13u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[14u * WORDS + ty]; let a1 = left[14u * WORDS + SIDE + ty];
        let b0 = right[14u * WORDS + tx]; let b1 = right[14u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
      {
        let a0 = left[15u * WORDS + ty]; let a1 = left[15u * WORDS + SIDE + ty];
        let b0 = right[15u * WORDS + tx]; let b1 = right[15u * WORDS + SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
      }
    }
    if (p.accumulate != 0u || start > p.start) {
      s0 += g[to + 0u * WORDS];
      s1 += g[to + 0u * WORDS + SIDE];
      s2 += g[to + 1u * WORDS];
      s3 += g[to + 1u * WORDS + SIDE];
      s4 += g[to + 2u * WORDS];
      s5 += g[to + 2u * WORDS + SIDE];
      s6 += g[to + 3u * WORDS];
      s7 += g[to + 3u * WORDS + SIDE];
      s8 += g[low + 0u * WORDS];
      s9 += g[low + 0u * WORDS + SIDE];
      s10 += g[low + 1u * WORDS];
      s11 += g[low + 1u * WORDS + SIDE];
      s12 += g[low + 2u * WORDS];
      s13 += g[low + 2u * WORDS + SIDE];
      s14 += g[low + 3u * WORDS];
      s15 += g[low + 3u * WORDS + SIDE];
    }
    g[to + 0u * WORDS] = s0; s0 = vec4<f32>();
    g[to + 0u * WORDS + SIDE] = s1; s1 = vec4<f32>();
    g[to + 1u * WORDS] = s2; s2 = vec4<f32>();
    g[to + 1u * WORDS + SIDE] = s3; s3 = vec4<f32>();
    g[to + 2u * WORDS] = s4; s4 = vec4<f32>();
    g[to + 2u * WORDS + SIDE] = s5; s5 = vec4<f32>();
    g[to + 3u * WORDS] = s6; s6 = vec4<f32>();
    g[to + 3u * WORDS + SIDE] = s7; s7 = vec4<f32>();
    g[low + 0u * WORDS] = s8; s8 = vec4<f32>();
    g[low + 0u * WORDS + SIDE] = s9; s9 = vec4<f32>();
    g[low + 1u * WORDS] = s10; s10 = vec4<f32>();
    g[low + 1u * WORDS + SIDE] = s11; s11 = vec4<f32>();
    g[low + 2u * WORDS] = s12; s12 = vec4<f32>();
    g[low + 2u * WORDS + SIDE] = s13; s13 = vec4<f32>();
    g[low + 3u * WORDS] = s14; s14 = vec4<f32>();
    g[low + 3u * WORDS + SIDE] = s15; s15 = vec4<f32>();
  }
}
