// Correlation: the Gram matrix of centred and scaled neurons, in packed tiles of its upper triangle.
//
//   z_ij = (x_ij - shift_j) * scale_j          centre    N x D  ->  N' x D', padded with zeros
//   G_ab (+)= sum over i of z_ia * z_ib        gram      N' x D' ->  one 64 x 64 tile a workgroup
//
// D' is a multiple of 64 and N' of 16. The host divides by N and normalises by the diagonal of the same G.
//
// `gram`: 64 threads, 8 x 8 values each as 2 x 2 quads of 4 x 4 (the halves are 32 apart, so that neighbours read
// neighbouring words), 16 samples a step through 8 KiB of workgroup memory, the next step's samples fetched into
// registers meanwhile. The samples-major z is already what both operands need. Sums of 256 samples stay in registers and
// are added to the tile at once: sparse neurons repeat products, whose roundings all go the same way, so longer sums
// would be eight times less exact. Every tile has one owner, so the order of all sums is fixed. Unrolled in the source:
// the translation to SPIR-V, MSL and HLSL leaves loops as they are.

struct Centring {
  // Samples and neurons of x.
  samples: u32,
  neurons: u32,
  // Samples and neurons of z.
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>; // samples x neurons
@group(0) @binding(1) var<storage, read> shift: array<f32>; // columns
@group(0) @binding(2) var<storage, read> scale: array<f32>; // columns
@group(0) @binding(3) var<storage, read_write> centred: array<f32>; // rows x columns
@group(0) @binding(4) var<uniform> c: Centring;

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
  if (row < c.samples && column < c.neurons) {
    value = (x[row * c.neurons + column] - shift[column]) * scale[column];
  }
  centred[at] = value;
}

struct Params {
  // Words of four f32 in a row of z.
  stride: u32,
  // Samples of this dispatch; the difference is a multiple of 16.
  start: u32,
  end: u32,
  // Tiles of this dispatch, the first of them in `tiles`, and the place of the first of `tiles` that g holds.
  count: u32,
  first: u32,
  base: u32,
  // 0: overwrite g; 1: add to it.
  accumulate: u32,
  padding: u32,
}

@group(0) @binding(0) var<storage, read> z: array<vec4<f32>>; // N' x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in units of 64
@group(0) @binding(2) var<storage, read_write> g: array<vec4<f32>>; // tiles x 64 x 64, row by row
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> left: array<vec4<f32>, 256>; // 16 samples x 64 neurons
var<workgroup> right: array<vec4<f32>, 256>;

@compute @workgroup_size(64)
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
  let tx = thread % 8u;
  let ty = thread / 8u;
  let corner = (p.start + thread / 16u) * p.stride + thread % 16u;
  var at_left = corner + tile.x * 16u;
  var at_right = corner + tile.y * 16u;
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
  var left0 = z[at_left + 0u * p.stride];
  var left1 = z[at_left + 4u * p.stride];
  var left2 = z[at_left + 8u * p.stride];
  var left3 = z[at_left + 12u * p.stride];
  var right0 = z[at_right + 0u * p.stride];
  var right1 = z[at_right + 4u * p.stride];
  var right2 = z[at_right + 8u * p.stride];
  var right3 = z[at_right + 12u * p.stride];
  let to = (slot - p.base) * 1024u + ty * 64u + tx;
  for (var start = p.start; start < p.end; start += 256u) {
    let end = min(start + 256u, p.end);
    for (var k = start; k < end; k += 16u) {
      workgroupBarrier();
      left[thread + 0u] = left0;
      left[thread + 64u] = left1;
      left[thread + 128u] = left2;
      left[thread + 192u] = left3;
      right[thread + 0u] = right0;
      right[thread + 64u] = right1;
      right[thread + 128u] = right2;
      right[thread + 192u] = right3;
      workgroupBarrier();
      at_left += 16u * p.stride;
      at_right += 16u * p.stride;
      if (k + 16u < p.end) {
        left0 = z[at_left + 0u * p.stride];
        left1 = z[at_left + 4u * p.stride];
        left2 = z[at_left + 8u * p.stride];
        left3 = z[at_left + 12u * p.stride];
        right0 = z[at_right + 0u * p.stride];
        right1 = z[at_right + 4u * p.stride];
        right2 = z[at_right + 8u * p.stride];
        right3 = z[at_right + 12u * p.stride];
      }
      {
        let a0 = left[0u + ty]; let a1 = left[8u + ty];
        let b0 = right[0u + tx]; let b1 = right[8u + tx];
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
        let a0 = left[16u + ty]; let a1 = left[24u + ty];
        let b0 = right[16u + tx]; let b1 = right[24u + tx];
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
        let a0 = left[32u + ty]; let a1 = left[40u + ty];
        let b0 = right[32u + tx]; let b1 = right[40u + tx];
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
        let a0 = left[48u + ty]; let a1 = left[56u + ty];
        let b0 = right[48u + tx]; let b1 = right[56u + tx];
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
        let a0 = left[64u + ty]; let a1 = left[72u + ty];
        let b0 = right[64u + tx]; let b1 = right[72u + tx];
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
        let a0 = left[80u + ty]; let a1 = left[88u + ty];
        let b0 = right[80u + tx]; let b1 = right[88u + tx];
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
        let a0 = left[96u + ty]; let a1 = left[104u + ty];
        let b0 = right[96u + tx]; let b1 = right[104u + tx];
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
        let a0 = left[112u + ty]; let a1 = left[120u + ty];
        let b0 = right[112u + tx]; let b1 = right[120u + tx];
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
        let a0 = left[128u + ty]; let a1 = left[136u + ty];
        let b0 = right[128u + tx]; let b1 = right[136u + tx];
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
        let a0 = left[144u + ty]; let a1 = left[152u + ty];
        let b0 = right[144u + tx]; let b1 = right[152u + tx];
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
        let a0 = left[160u + ty]; let a1 = left[168u + ty];
        let b0 = right[160u + tx]; let b1 = right[168u + tx];
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
        let a0 = left[176u + ty]; let a1 = left[184u + ty];
        let b0 = right[176u + tx]; let b1 = right[184u + tx];
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
        let a0 = left[192u + ty]; let a1 = left[200u + ty];
        let b0 = right[192u + tx]; let b1 = right[200u + tx];
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
        let a0 = left[208u + ty]; let a1 = left[216u + ty];
        let b0 = right[208u + tx]; let b1 = right[216u + tx];
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
        let a0 = left[224u + ty]; let a1 = left[232u + ty];
        let b0 = right[224u + tx]; let b1 = right[232u + tx];
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
        let a0 = left[240u + ty]; let a1 = left[248u + ty];
        let b0 = right[240u + tx]; let b1 = right[248u + tx];
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
      s0 += g[to + 0u];
      s1 += g[to + 8u];
      s2 += g[to + 16u];
      s3 += g[to + 24u];
      s4 += g[to + 32u];
      s5 += g[to + 40u];
      s6 += g[to + 48u];
      s7 += g[to + 56u];
      s8 += g[to + 512u];
      s9 += g[to + 520u];
      s10 += g[to + 528u];
      s11 += g[to + 536u];
      s12 += g[to + 544u];
      s13 += g[to + 552u];
      s14 += g[to + 560u];
      s15 += g[to + 568u];
    }
    g[to + 0u] = s0; s0 = vec4<f32>();
    g[to + 8u] = s1; s1 = vec4<f32>();
    g[to + 16u] = s2; s2 = vec4<f32>();
    g[to + 24u] = s3; s3 = vec4<f32>();
    g[to + 32u] = s4; s4 = vec4<f32>();
    g[to + 40u] = s5; s5 = vec4<f32>();
    g[to + 48u] = s6; s6 = vec4<f32>();
    g[to + 56u] = s7; s7 = vec4<f32>();
    g[to + 512u] = s8; s8 = vec4<f32>();
    g[to + 520u] = s9; s9 = vec4<f32>();
    g[to + 528u] = s10; s10 = vec4<f32>();
    g[to + 536u] = s11; s11 = vec4<f32>();
    g[to + 544u] = s12; s12 = vec4<f32>();
    g[to + 552u] = s13; s13 = vec4<f32>();
    g[to + 560u] = s14; s14 = vec4<f32>();
    g[to + 568u] = s15; s15 = vec4<f32>();
  }
}
