// Correlation: the Gram matrix of centred and scaled neurons, in packed tiles of its upper triangle.
//
//   z_ij = (x_ij - shift_j) * scale_j          centre    N x D  ->  N' x D', padded with zeros
//   hi = f16(z_ij - rest_j), lo = f16((z_ij - rest_j - hi) * 2^11)          centre_halves
//   G_ab (+)= sum over i of z_ia * z_ib        gram      N' x D' ->  one tile a workgroup
//
// A tile is 64 x 64 (SIDE 8) or 128 x 128 (SIDE 16); D' is a multiple of it and N' of 16. The host divides by N and
// normalises by the diagonal of the same G. correlation_wide.wgsl computes tiles of 128 x 128 with twice the memory.
//
// `gram`: SIDE x SIDE threads, 8 x 8 values each as 2 x 2 quads of 4 x 4 (the halves are half a tile apart, so that
// neighbours read neighbouring words), 16 samples a step through 8 or 16 KiB of workgroup memory, the next step's samples
// fetched into registers meanwhile: four words of each side a thread, or two where there are four times as many threads. After
// the last step the same samples are fetched again: a branch around the fetch takes longer.
// The samples-major z is already what both operands need. Of 32 threads that run in step, 8 are next to one another and 4
// below: together they read no more than one row of a memory that holds 32 values a row. Samples of a step are the outer
// index of that memory, so that its place is a constant and only the word within a row is checked. Sums of 256 samples stay
// in registers and are added to the tile at once: sparse neurons repeat products, whose roundings all go the same way, so
// longer sums would be less exact. Every tile has one owner, so the order of all sums is fixed.

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
const SIDE: u32 = 8u;
const THREADS: u32 = 64u;
// Words of four f32 in a row of a tile.
const WORDS: u32 = 16u;

@group(0) @binding(0) var<storage, read> z: array<vec4<f32>>; // N' x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<vec4<f32>>; // tiles, each row by row
var<immediate> p: Params;

var<workgroup> left: array<array<vec4<f32>, WORDS>, 16>; // 16 samples x the neurons of a tile's side
var<workgroup> right: array<array<vec4<f32>, WORDS>, 16>;

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
  let tx = thread % 8u + thread / 32u % (SIDE / 8u) * 8u;
  let ty = thread / 8u % 4u + thread / (SIDE * 4u) * 4u;
  // The word that a thread fetches of a row, and the first of its rows; the others are as many below as all threads fetch.
  let word = thread % WORDS;
  let row = thread / WORDS;
  let corner = (p.start + row) * p.stride + word;
  var at_left = corner + tile.x * WORDS;
  var at_right = corner + tile.y * WORDS;
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
  var left0 = z[at_left];
  var left1 = z[at_left + jump];
  var right0 = z[at_right];
  var right1 = z[at_right + jump];
  var left2 = vec4<f32>();
  var left3 = vec4<f32>();
  var right2 = vec4<f32>();
  var right3 = vec4<f32>();
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
    for (var step = start; step < end; step += 16u) {
      workgroupBarrier();
      left[row][word] = left0;
      left[row + THREADS / WORDS][word] = left1;
      right[row][word] = right0;
      right[row + THREADS / WORDS][word] = right1;
      if (SIDE == 8u) {
        left[row + 2u * (THREADS / WORDS)][word] = left2;
        left[row + 3u * (THREADS / WORDS)][word] = left3;
        right[row + 2u * (THREADS / WORDS)][word] = right2;
        right[row + 3u * (THREADS / WORDS)][word] = right3;
      }
      workgroupBarrier();
      at_left += select(0u, 16u * p.stride, step + 16u < p.end);
      at_right += select(0u, 16u * p.stride, step + 16u < p.end);
      left0 = z[at_left];
      left1 = z[at_left + jump];
      right0 = z[at_right];
      right1 = z[at_right + jump];
      if (SIDE == 8u) {
        left2 = z[at_left + 2u * jump];
        left3 = z[at_left + 3u * jump];
        right2 = z[at_right + 2u * jump];
        right3 = z[at_right + 3u * jump];
      }
      for (var k = 0u; k < 16u; k++) { // unroll
        let a0 = left[k][ty];
        let a1 = left[k][SIDE + ty];
        let b0 = right[k][tx];
        let b1 = right[k][SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0);
        s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2);
        s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4);
        s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6);
        s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8);
        s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10);
        s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12);
        s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14);
        s15 = fma(vec4(a1.w), b1, s15);
      }
    }
    if (p.accumulate != 0u || start > p.start) {
      s0 += g[to];
      s1 += g[to + SIDE];
      s2 += g[to + 1u * WORDS];
      s3 += g[to + 1u * WORDS + SIDE];
      s4 += g[to + 2u * WORDS];
      s5 += g[to + 2u * WORDS + SIDE];
      s6 += g[to + 3u * WORDS];
      s7 += g[to + 3u * WORDS + SIDE];
      s8 += g[low];
      s9 += g[low + SIDE];
      s10 += g[low + 1u * WORDS];
      s11 += g[low + 1u * WORDS + SIDE];
      s12 += g[low + 2u * WORDS];
      s13 += g[low + 2u * WORDS + SIDE];
      s14 += g[low + 3u * WORDS];
      s15 += g[low + 3u * WORDS + SIDE];
    }
    g[to] = s0;
    g[to + SIDE] = s1;
    g[to + 1u * WORDS] = s2;
    g[to + 1u * WORDS + SIDE] = s3;
    g[to + 2u * WORDS] = s4;
    g[to + 2u * WORDS + SIDE] = s5;
    g[to + 3u * WORDS] = s6;
    g[to + 3u * WORDS + SIDE] = s7;
    g[low] = s8;
    g[low + SIDE] = s9;
    g[low + 1u * WORDS] = s10;
    g[low + 1u * WORDS + SIDE] = s11;
    g[low + 2u * WORDS] = s12;
    g[low + 2u * WORDS + SIDE] = s13;
    g[low + 3u * WORDS] = s14;
    g[low + 3u * WORDS + SIDE] = s15;
    s0 = vec4<f32>();
    s1 = vec4<f32>();
    s2 = vec4<f32>();
    s3 = vec4<f32>();
    s4 = vec4<f32>();
    s5 = vec4<f32>();
    s6 = vec4<f32>();
    s7 = vec4<f32>();
    s8 = vec4<f32>();
    s9 = vec4<f32>();
    s10 = vec4<f32>();
    s11 = vec4<f32>();
    s12 = vec4<f32>();
    s13 = vec4<f32>();
    s14 = vec4<f32>();
    s15 = vec4<f32>();
  }
}
