// Correlation, sixth part: as `gram` of correlation.wgsl, in tiles of 128 x 128 and with 32 KiB of workgroup memory.
//
//   G_ab (+)= sum over i of z_ia * z_ib          gram_wide
//
// 16 x 16 threads of 8 x 8 values each, as there. The samples of two steps have room, so that one is written while the other
// one is read and threads wait for one another once a step, not twice. Sums of 256 samples are
// added to registers that hold the tile: the bits are those of `gram`.

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

const SIDE: u32 = 16u;

@group(0) @binding(0) var<storage, read> z: array<vec4<f32>>; // N' x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<vec4<f32>>; // tiles, each row by row
var<immediate> p: Params;

var<workgroup> left: array<array<array<vec4<f32>, 32>, 16>, 2>; // two steps x 16 samples x the neurons of a tile's side
var<workgroup> right: array<array<array<vec4<f32>, 32>, 16>, 2>;

@compute @workgroup_size(256)
fn gram_wide(
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
  let tx = thread % 8u + thread / 32u % 2u * 8u;
  let ty = thread / 8u % 4u + thread / 64u * 4u;
  let word = thread % 32u;
  let row = thread / 32u;
  let corner = (p.start + row) * p.stride + word;
  var at_left = corner + tile.x * 32u;
  var at_right = corner + tile.y * 32u;
  let jump = 8u * p.stride;
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
  let to = slot * 4096u + ty * 128u + tx;
  let low = to + 2048u;
  if (p.accumulate != 0u) {
    t0 = g[to];
    t1 = g[to + 16u];
    t2 = g[to + 32u];
    t3 = g[to + 32u + 16u];
    t4 = g[to + 64u];
    t5 = g[to + 64u + 16u];
    t6 = g[to + 96u];
    t7 = g[to + 96u + 16u];
    t8 = g[low];
    t9 = g[low + 16u];
    t10 = g[low + 32u];
    t11 = g[low + 32u + 16u];
    t12 = g[low + 64u];
    t13 = g[low + 64u + 16u];
    t14 = g[low + 96u];
    t15 = g[low + 96u + 16u];
  }
  left[0][row][word] = z[at_left];
  left[0][row + 8u][word] = z[at_left + jump];
  right[0][row][word] = z[at_right];
  right[0][row + 8u][word] = z[at_right + jump];
  workgroupBarrier();
  var at = 0u;
  for (var start = p.start; start < p.end; start += 256u) {
    let end = min(start + 256u, p.end);
    for (var step = start; step < end; step += 16u) {
      at_left += 16u * p.stride;
      at_right += 16u * p.stride;
      var left0 = vec4<f32>();
      var left1 = vec4<f32>();
      var right0 = vec4<f32>();
      var right1 = vec4<f32>();
      if (step + 16u < p.end) {
        left0 = z[at_left];
        left1 = z[at_left + jump];
        right0 = z[at_right];
        right1 = z[at_right + jump];
      }
      for (var k = 0u; k < 16u; k++) { // unroll
        let a0 = left[at][k][ty];
        let a1 = left[at][k][SIDE + ty];
        let b0 = right[at][k][tx];
        let b1 = right[at][k][SIDE + tx];
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
      at = 1u - at;
      left[at][row][word] = left0;
      left[at][row + 8u][word] = left1;
      right[at][row][word] = right0;
      right[at][row + 8u][word] = right1;
      workgroupBarrier();
    }
    t0 += s0;
    t1 += s1;
    t2 += s2;
    t3 += s3;
    t4 += s4;
    t5 += s5;
    t6 += s6;
    t7 += s7;
    t8 += s8;
    t9 += s9;
    t10 += s10;
    t11 += s11;
    t12 += s12;
    t13 += s13;
    t14 += s14;
    t15 += s15;
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
  g[to] = t0;
  g[to + 16u] = t1;
  g[to + 32u] = t2;
  g[to + 32u + 16u] = t3;
  g[to + 64u] = t4;
  g[to + 64u + 16u] = t5;
  g[to + 96u] = t6;
  g[to + 96u + 16u] = t7;
  g[low] = t8;
  g[low + 16u] = t9;
  g[low + 32u] = t10;
  g[low + 32u + 16u] = t11;
  g[low + 64u] = t12;
  g[low + 64u + 16u] = t13;
  g[low + 96u] = t14;
  g[low + 96u + 16u] = t15;
}
