// Correlation, fourth part: as `gram_halves` of correlation_halves.wgsl, of one part, on matrix units that multiply 16 x 16 values in f16
// and add in f32.
//
//   G_ab (+)= sum of hi_a * hi_b          gram_matrix_f16
//
// A tile is 128 x 128, four regions of 64 x 64 or four by four blocks each. A workgroup has four times as many threads as the
// smallest subgroup of the device: where subgroups are larger there are fewer of them, and each does several regions one after
// the other. 32 samples a step go through workgroup memory, in rows that are 8 values longer than a tile (other banks), written
// and read as words of four. The samples-major z is left as it is for one operand, read by columns, and right for the other,
// read by rows. What such units add may be truncated, not rounded, so no sum is longer than 1,024 samples before it is added
// to g in f32: far below what rounding the values to f16 costs. The last step may have 16 samples: the others count 0, by a
// selection and not by a branch, and no step is fetched ahead of time: on an H100 either took twice as long.

enable f16;
enable wgpu_cooperative_matrix;

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

// A divisor of 1,024.
const THREADS: u32 = 128u;
// Words of each side that a thread fetches a step.
const WORDS: u32 = 8u;

@group(0) @binding(0) var<storage, read> z: array<vec4<f16>>; // N' x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<f32>; // tiles, each row by row
var<immediate> p: Params;

// 32 samples x the neurons of a tile's side, 34 words a row
var<workgroup> left: array<vec4<f16>, 1088>;
var<workgroup> right: array<vec4<f16>, 1088>;

@compute @workgroup_size(THREADS)
fn gram_matrix_f16(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) subgroups: u32,
) {
  let group = id.y * groups.x + id.x;
  if (group >= p.count) {
    return;
  }
  let slot = p.first + group;
  let tile = tiles[slot];
  for (var turn = 0u; turn < 4u / subgroups; turn++) {
    let region = turn * subgroups + subgroup;
    let top = region / 2u * 64u;
    let first = region % 2u * 64u;
    let to = slot * 16384u + top * 128u + first;
    for (var start = p.start; start < p.end; start += 1024u) {
      let end = min(start + 1024u, p.end);
      var s00 = coop_mat16x16<f32, C>();
      var s01 = coop_mat16x16<f32, C>();
      var s02 = coop_mat16x16<f32, C>();
      var s03 = coop_mat16x16<f32, C>();
      var s10 = coop_mat16x16<f32, C>();
      var s11 = coop_mat16x16<f32, C>();
      var s12 = coop_mat16x16<f32, C>();
      var s13 = coop_mat16x16<f32, C>();
      var s20 = coop_mat16x16<f32, C>();
      var s21 = coop_mat16x16<f32, C>();
      var s22 = coop_mat16x16<f32, C>();
      var s23 = coop_mat16x16<f32, C>();
      var s30 = coop_mat16x16<f32, C>();
      var s31 = coop_mat16x16<f32, C>();
      var s32 = coop_mat16x16<f32, C>();
      var s33 = coop_mat16x16<f32, C>();
      for (var step = start; step < end; step += 32u) {
        workgroupBarrier();
        for (var i = 0u; i < WORDS; i++) { // unroll
          let word = thread + i * THREADS;
          let sample = step + word / 32u;
          let place = word / 32u * 34u + word % 32u;
          let row = min(sample, end - 1u) * p.stride + word % 32u;
          left[place] = select(vec4<f16>(), z[row + tile.x * 32u], sample < end);
          right[place] = select(vec4<f16>(), z[row + tile.y * 32u], sample < end);
        }
        workgroupBarrier();
        for (var k = 0u; k < 2u; k++) { // unroll
          let row = top / 4u + k * 544u;
          let column = first / 4u + k * 544u;
          let b0 = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 0u], 34u);
          let b1 = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 4u], 34u);
          let b2 = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 8u], 34u);
          let b3 = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 12u], 34u);
          let a0 = coopLoad<coop_mat16x16<f16, A>>(&left[row + 0u], 34u);
          s00 = coopMultiplyAdd(a0, b0, s00);
          s01 = coopMultiplyAdd(a0, b1, s01);
          s02 = coopMultiplyAdd(a0, b2, s02);
          s03 = coopMultiplyAdd(a0, b3, s03);
          let a1 = coopLoad<coop_mat16x16<f16, A>>(&left[row + 4u], 34u);
          s10 = coopMultiplyAdd(a1, b0, s10);
          s11 = coopMultiplyAdd(a1, b1, s11);
          s12 = coopMultiplyAdd(a1, b2, s12);
          s13 = coopMultiplyAdd(a1, b3, s13);
          let a2 = coopLoad<coop_mat16x16<f16, A>>(&left[row + 8u], 34u);
          s20 = coopMultiplyAdd(a2, b0, s20);
          s21 = coopMultiplyAdd(a2, b1, s21);
          s22 = coopMultiplyAdd(a2, b2, s22);
          s23 = coopMultiplyAdd(a2, b3, s23);
          let a3 = coopLoad<coop_mat16x16<f16, A>>(&left[row + 12u], 34u);
          s30 = coopMultiplyAdd(a3, b0, s30);
          s31 = coopMultiplyAdd(a3, b1, s31);
          s32 = coopMultiplyAdd(a3, b2, s32);
          s33 = coopMultiplyAdd(a3, b3, s33);
        }
      }
      // By a factor, not a branch: all of a subgroup must load. g holds numbers from the beginning.
      let kept = select(0.0, 1.0, p.accumulate != 0u || start > p.start);
      s00 = s00 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 0u], 128u) * kept;
      s01 = s01 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 16u], 128u) * kept;
      s02 = s02 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 32u], 128u) * kept;
      s03 = s03 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 48u], 128u) * kept;
      s10 = s10 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2048u], 128u) * kept;
      s11 = s11 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2064u], 128u) * kept;
      s12 = s12 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2080u], 128u) * kept;
      s13 = s13 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2096u], 128u) * kept;
      s20 = s20 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 4096u], 128u) * kept;
      s21 = s21 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 4112u], 128u) * kept;
      s22 = s22 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 4128u], 128u) * kept;
      s23 = s23 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 4144u], 128u) * kept;
      s30 = s30 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 6144u], 128u) * kept;
      s31 = s31 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 6160u], 128u) * kept;
      s32 = s32 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 6176u], 128u) * kept;
      s33 = s33 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 6192u], 128u) * kept;
      coopStoreT(s00, &g[to + 0u], 128u);
      coopStoreT(s01, &g[to + 16u], 128u);
      coopStoreT(s02, &g[to + 32u], 128u);
      coopStoreT(s03, &g[to + 48u], 128u);
      coopStoreT(s10, &g[to + 2048u], 128u);
      coopStoreT(s11, &g[to + 2064u], 128u);
      coopStoreT(s12, &g[to + 2080u], 128u);
      coopStoreT(s13, &g[to + 2096u], 128u);
      coopStoreT(s20, &g[to + 4096u], 128u);
      coopStoreT(s21, &g[to + 4112u], 128u);
      coopStoreT(s22, &g[to + 4128u], 128u);
      coopStoreT(s23, &g[to + 4144u], 128u);
      coopStoreT(s30, &g[to + 6144u], 128u);
      coopStoreT(s31, &g[to + 6160u], 128u);
      coopStoreT(s32, &g[to + 6176u], 128u);
      coopStoreT(s33, &g[to + 6192u], 128u);
    }
  }
}
