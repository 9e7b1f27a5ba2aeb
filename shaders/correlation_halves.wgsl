// Correlation, third part: as `gram` of correlation.wgsl, of values that are stored in 16 bits.
//
//   z = hi                      PARTS 1: hi is z rounded to f16
//   z = hi + lo / 2^11          PARTS 2: lo is what rounding leaves of z, times 2^11, in f16
//   G_ab (+)= sum of hi_a * hi_b, and with two parts (sum of hi_a * lo_b + lo_a * hi_b) / 2^11          gram_halves
//
// lo * lo is left out: it is below what f32 holds of the sum. Products and sums are in f32, and f16 is decoded by its bits,
// so the kernel needs no optional feature; what it computes is what correlation_matrix_f16.wgsl and _split.wgsl do on
// matrix units.
// The row of a sample holds hi of all neurons and then lo of all. Tiles, runs of 256 samples and the order of sums are those
// of `gram`; lo takes workgroup memory too, so there SIDE is 8. Four samples are unrolled in the source.

struct Params {
  // Words of four values in a row of z, all parts together.
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
// Words of four values in a row of a tile, and in 16 rows of all parts.
override WORDS: u32 = 16u;
override PANEL: u32 = 256u;
override PARTS: u32 = 1u;

@group(0) @binding(0) var<storage, read> z: array<vec2<u32>>; // N' x PARTS x D', four halves a word
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<vec4<f32>>; // tiles, each row by row
var<immediate> p: Params;

var<workgroup> left: array<vec4<f32>, PANEL>; // 16 samples x the neurons of a tile's side, hi and then lo
var<workgroup> right: array<vec4<f32>, PANEL>;

// The f32 of an f16, exactly, infinite ones included; by its bits, since a device may flush what is subnormal.
fn whole(bits: u32) -> f32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 31u;
  let fraction = bits & 1023u;
  if (exponent == 0u) {
    return bitcast<f32>(bitcast<u32>(f32(fraction) * 5.9604644775390625e-8) | sign);
  }
  let wide = select(exponent + 112u, 255u, exponent == 31u);
  return bitcast<f32>(sign | (wide << 23u) | (fraction << 13u));
}

fn four(word: vec2<u32>) -> vec4<f32> {
  return vec4(
    whole(word.x & 0xffffu),
    whole(word.x >> 16u),
    whole(word.y & 0xffffu),
    whole(word.y >> 16u),
  );
}

@compute @workgroup_size(THREADS)
fn gram_halves(
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
  // From hi to lo: in a row of z, and in workgroup memory.
  let low_words = p.stride / PARTS;
  let low_panel = 16u * WORDS;
  let corner = thread / WORDS * p.stride + thread % WORDS;
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
  // hi * lo and lo * hi.
  var t0 = vec4<f32>();
  var t1 = vec4<f32>();
  var t2 = vec4<f32>();
  var t3 = vec4<f32>();
  var t4 = vec4<f32>();
  var t5 = vec4<f32>();
  var t6 = vec4<f32>();
  var t7 = vec4<f32>();
  var t8 = vec4<f32>();
  var t9 = vec4<f32>();
  var t10 = vec4<f32>();
  var t11 = vec4<f32>();
  var t12 = vec4<f32>();
  var t13 = vec4<f32>();
  var t14 = vec4<f32>();
  var t15 = vec4<f32>();
  let to = slot * 16u * THREADS + ty * 4u * WORDS + tx;
  let low = to + 4u * SIDE * WORDS;
  for (var start = p.start; start < p.end; start += 256u) {
    let end = min(start + 256u, p.end);
    for (var k = start; k < end; k += 16u) {
      let at_left = k * p.stride + corner + tile.x * WORDS;
      let at_right = k * p.stride + corner + tile.y * WORDS;
      workgroupBarrier();
      for (var turn = 0u; turn < 32u / SIDE; turn++) {
        let place = turn * THREADS + thread;
        left[place] = four(z[at_left + turn * jump]);
        right[place] = four(z[at_right + turn * jump]);
        if (PARTS == 2u) {
          left[low_panel + place] = four(z[at_left + turn * jump + low_words]);
          right[low_panel + place] = four(z[at_right + turn * jump + low_words]);
        }
      }
      workgroupBarrier();
      for (var row = 0u; row < 16u * WORDS; row += 4u * WORDS) {
        {
          let a0 = left[row + 0u * WORDS + ty]; let a1 = left[row + 0u * WORDS + SIDE + ty];
          let b0 = right[row + 0u * WORDS + tx]; let b1 = right[row + 0u * WORDS + SIDE + tx];
          s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
          s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
          s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
          s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
          s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
          s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
          s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
          s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
          if (PARTS == 2u) {
            let c0 = left[low_panel + row + 0u * WORDS + ty];
            let c1 = left[low_panel + row + 0u * WORDS + SIDE + ty];
            let d0 = right[low_panel + row + 0u * WORDS + tx];
            let d1 = right[low_panel + row + 0u * WORDS + SIDE + tx];
            t0 = fma(vec4(a0.x), d0, fma(vec4(c0.x), b0, t0));
            t1 = fma(vec4(a0.x), d1, fma(vec4(c0.x), b1, t1));
            t2 = fma(vec4(a0.y), d0, fma(vec4(c0.y), b0, t2));
            t3 = fma(vec4(a0.y), d1, fma(vec4(c0.y), b1, t3));
            t4 = fma(vec4(a0.z), d0, fma(vec4(c0.z), b0, t4));
            t5 = fma(vec4(a0.z), d1, fma(vec4(c0.z), b1, t5));
            t6 = fma(vec4(a0.w), d0, fma(vec4(c0.w), b0, t6));
            t7 = fma(vec4(a0.w), d1, fma(vec4(c0.w), b1, t7));
            t8 = fma(vec4(a1.x), d0, fma(vec4(c1.x), b0, t8));
            t9 = fma(vec4(a1.x), d1, fma(vec4(c1.x), b1, t9));
            t10 = fma(vec4(a1.y), d0, fma(vec4(c1.y), b0, t10));
            t11 = fma(vec4(a1.y), d1, fma(vec4(c1.y), b1, t11));
            t12 = fma(vec4(a1.z), d0, fma(vec4(c1.z), b0, t12));
            t13 = fma(vec4(a1.z), d1, fma(vec4(c1.z), b1, t13));
            t14 = fma(vec4(a1.w), d0, fma(vec4(c1.w), b0, t14));
            t15 = fma(vec4(a1.w), d1, fma(vec4(c1.w), b1, t15));
          }
        }
        {
          let a0 = left[row + 1u * WORDS + ty]; let a1 = left[row + 1u * WORDS + SIDE + ty];
          let b0 = right[row + 1u * WORDS + tx]; let b1 = right[row + 1u * WORDS + SIDE + tx];
          s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
          s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
          s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
          s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
          s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
          s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
          s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
          s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
          if (PARTS == 2u) {
            let c0 = left[low_panel + row + 1u * WORDS + ty];
            let c1 = left[low_panel + row + 1u * WORDS + SIDE + ty];
            let d0 = right[low_panel + row + 1u * WORDS + tx];
            let d1 = right[low_panel + row + 1u * WORDS + SIDE + tx];
            t0 = fma(vec4(a0.x), d0, fma(vec4(c0.x), b0, t0));
            t1 = fma(vec4(a0.x), d1, fma(vec4(c0.x), b1, t1));
            t2 = fma(vec4(a0.y), d0, fma(vec4(c0.y), b0, t2));
            t3 = fma(vec4(a0.y), d1, fma(vec4(c0.y), b1, t3));
            t4 = fma(vec4(a0.z), d0, fma(vec4(c0.z), b0, t4));
            t5 = fma(vec4(a0.z), d1, fma(vec4(c0.z), b1, t5));
            t6 = fma(vec4(a0.w), d0, fma(vec4(c0.w), b0, t6));
            t7 = fma(vec4(a0.w), d1, fma(vec4(c0.w), b1, t7));
            t8 = fma(vec4(a1.x), d0, fma(vec4(c1.x), b0, t8));
            t9 = fma(vec4(a1.x), d1, fma(vec4(c1.x), b1, t9));
            t10 = fma(vec4(a1.y), d0, fma(vec4(c1.y), b0, t10));
            t11 = fma(vec4(a1.y), d1, fma(vec4(c1.y), b1, t11));
            t12 = fma(vec4(a1.z), d0, fma(vec4(c1.z), b0, t12));
            t13 = fma(vec4(a1.z), d1, fma(vec4(c1.z), b1, t13));
            t14 = fma(vec4(a1.w), d0, fma(vec4(c1.w), b0, t14));
            t15 = fma(vec4(a1.w), d1, fma(vec4(c1.w), b1, t15));
          }
        }
        {
          let a0 = left[row + 2u * WORDS + ty]; let a1 = left[row + 2u * WORDS + SIDE + ty];
          let b0 = right[row + 2u * WORDS + tx]; let b1 = right[row + 2u * WORDS + SIDE + tx];
          s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
          s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
          s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
          s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
          s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
          s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
          s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
          s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
          if (PARTS == 2u) {
            let c0 = left[low_panel + row + 2u * WORDS + ty];
            let c1 = left[low_panel + row + 2u * WORDS + SIDE + ty];
            let d0 = right[low_panel + row + 2u * WORDS + tx];
            let d1 = right[low_panel + row + 2u * WORDS + SIDE + tx];
            t0 = fma(vec4(a0.x), d0, fma(vec4(c0.x), b0, t0));
            t1 = fma(vec4(a0.x), d1, fma(vec4(c0.x), b1, t1));
            t2 = fma(vec4(a0.y), d0, fma(vec4(c0.y), b0, t2));
            t3 = fma(vec4(a0.y), d1, fma(vec4(c0.y), b1, t3));
            t4 = fma(vec4(a0.z), d0, fma(vec4(c0.z), b0, t4));
            t5 = fma(vec4(a0.z), d1, fma(vec4(c0.z), b1, t5));
            t6 = fma(vec4(a0.w), d0, fma(vec4(c0.w), b0, t6));
            t7 = fma(vec4(a0.w), d1, fma(vec4(c0.w), b1, t7));
            t8 = fma(vec4(a1.x), d0, fma(vec4(c1.x), b0, t8));
            t9 = fma(vec4(a1.x), d1, fma(vec4(c1.x), b1, t9));
            t10 = fma(vec4(a1.y), d0, fma(vec4(c1.y), b0, t10));
            t11 = fma(vec4(a1.y), d1, fma(vec4(c1.y), b1, t11));
            t12 = fma(vec4(a1.z), d0, fma(vec4(c1.z), b0, t12));
            t13 = fma(vec4(a1.z), d1, fma(vec4(c1.z), b1, t13));
            t14 = fma(vec4(a1.w), d0, fma(vec4(c1.w), b0, t14));
            t15 = fma(vec4(a1.w), d1, fma(vec4(c1.w), b1, t15));
          }
        }
        {
          let a0 = left[row + 3u * WORDS + ty]; let a1 = left[row + 3u * WORDS + SIDE + ty];
          let b0 = right[row + 3u * WORDS + tx]; let b1 = right[row + 3u * WORDS + SIDE + tx];
          s0 = fma(vec4(a0.x), b0, s0); s1 = fma(vec4(a0.x), b1, s1);
          s2 = fma(vec4(a0.y), b0, s2); s3 = fma(vec4(a0.y), b1, s3);
          s4 = fma(vec4(a0.z), b0, s4); s5 = fma(vec4(a0.z), b1, s5);
          s6 = fma(vec4(a0.w), b0, s6); s7 = fma(vec4(a0.w), b1, s7);
          s8 = fma(vec4(a1.x), b0, s8); s9 = fma(vec4(a1.x), b1, s9);
          s10 = fma(vec4(a1.y), b0, s10); s11 = fma(vec4(a1.y), b1, s11);
          s12 = fma(vec4(a1.z), b0, s12); s13 = fma(vec4(a1.z), b1, s13);
          s14 = fma(vec4(a1.w), b0, s14); s15 = fma(vec4(a1.w), b1, s15);
          if (PARTS == 2u) {
            let c0 = left[low_panel + row + 3u * WORDS + ty];
            let c1 = left[low_panel + row + 3u * WORDS + SIDE + ty];
            let d0 = right[low_panel + row + 3u * WORDS + tx];
            let d1 = right[low_panel + row + 3u * WORDS + SIDE + tx];
            t0 = fma(vec4(a0.x), d0, fma(vec4(c0.x), b0, t0));
            t1 = fma(vec4(a0.x), d1, fma(vec4(c0.x), b1, t1));
            t2 = fma(vec4(a0.y), d0, fma(vec4(c0.y), b0, t2));
            t3 = fma(vec4(a0.y), d1, fma(vec4(c0.y), b1, t3));
            t4 = fma(vec4(a0.z), d0, fma(vec4(c0.z), b0, t4));
            t5 = fma(vec4(a0.z), d1, fma(vec4(c0.z), b1, t5));
            t6 = fma(vec4(a0.w), d0, fma(vec4(c0.w), b0, t6));
            t7 = fma(vec4(a0.w), d1, fma(vec4(c0.w), b1, t7));
            t8 = fma(vec4(a1.x), d0, fma(vec4(c1.x), b0, t8));
            t9 = fma(vec4(a1.x), d1, fma(vec4(c1.x), b1, t9));
            t10 = fma(vec4(a1.y), d0, fma(vec4(c1.y), b0, t10));
            t11 = fma(vec4(a1.y), d1, fma(vec4(c1.y), b1, t11));
            t12 = fma(vec4(a1.z), d0, fma(vec4(c1.z), b0, t12));
            t13 = fma(vec4(a1.z), d1, fma(vec4(c1.z), b1, t13));
            t14 = fma(vec4(a1.w), d0, fma(vec4(c1.w), b0, t14));
            t15 = fma(vec4(a1.w), d1, fma(vec4(c1.w), b1, t15));
          }
        }
      }
    }
    if (PARTS == 2u) {
      s0 += t0 * 0.00048828125; t0 = vec4<f32>();
      s1 += t1 * 0.00048828125; t1 = vec4<f32>();
      s2 += t2 * 0.00048828125; t2 = vec4<f32>();
      s3 += t3 * 0.00048828125; t3 = vec4<f32>();
      s4 += t4 * 0.00048828125; t4 = vec4<f32>();
      s5 += t5 * 0.00048828125; t5 = vec4<f32>();
      s6 += t6 * 0.00048828125; t6 = vec4<f32>();
      s7 += t7 * 0.00048828125; t7 = vec4<f32>();
      s8 += t8 * 0.00048828125; t8 = vec4<f32>();
      s9 += t9 * 0.00048828125; t9 = vec4<f32>();
      s10 += t10 * 0.00048828125; t10 = vec4<f32>();
      s11 += t11 * 0.00048828125; t11 = vec4<f32>();
      s12 += t12 * 0.00048828125; t12 = vec4<f32>();
      s13 += t13 * 0.00048828125; t13 = vec4<f32>();
      s14 += t14 * 0.00048828125; t14 = vec4<f32>();
      s15 += t15 * 0.00048828125; t15 = vec4<f32>();
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
