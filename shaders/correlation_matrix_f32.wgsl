// Correlation, fifth part: as `gram` of correlation.wgsl, on matrix units that multiply 8 x 8 values in f32.
//
//   G_ab (+)= sum over i of z_ia * z_ib          gram_matrix_f32
//
// A tile is 64 x 64, four regions of 32 x 32 or four by four blocks each. A workgroup has four times as many threads as the
// smallest subgroup of the device: where subgroups are larger there are fewer of them, and each does several regions one after
// the other. 16 samples a step go through workgroup memory, in rows that are 4 values longer than a tile (other banks). Sums
// of 256 samples are added to g at once, as in `gram`.

enable wgpu_cooperative_matrix;

struct Params {
  // Words of four values in a row of z.
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

// A divisor of 256.
override THREADS: u32 = 128u;

@group(0) @binding(0) var<storage, read> z: array<vec4<f32>>; // N' x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<f32>; // tiles, each row by row
var<immediate> p: Params;

var<workgroup> left: array<f32, 1088>; // 16 samples x the neurons of a tile's side
var<workgroup> right: array<f32, 1088>;

@compute @workgroup_size(THREADS)
fn gram_matrix_f32(
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
    let top = region / 2u * 32u;
    let first = region % 2u * 32u;
    let to = slot * 4096u + top * 64u + first;
    for (var start = p.start; start < p.end; start += 256u) {
      let end = min(start + 256u, p.end);
      var s00 = coop_mat8x8<f32, C>();
      var s01 = coop_mat8x8<f32, C>();
      var s02 = coop_mat8x8<f32, C>();
      var s03 = coop_mat8x8<f32, C>();
      var s10 = coop_mat8x8<f32, C>();
      var s11 = coop_mat8x8<f32, C>();
      var s12 = coop_mat8x8<f32, C>();
      var s13 = coop_mat8x8<f32, C>();
      var s20 = coop_mat8x8<f32, C>();
      var s21 = coop_mat8x8<f32, C>();
      var s22 = coop_mat8x8<f32, C>();
      var s23 = coop_mat8x8<f32, C>();
      var s30 = coop_mat8x8<f32, C>();
      var s31 = coop_mat8x8<f32, C>();
      var s32 = coop_mat8x8<f32, C>();
      var s33 = coop_mat8x8<f32, C>();
      for (var k = start; k < end; k += 16u) {
        workgroupBarrier();
        for (var word = thread; word < 256u; word += THREADS) {
          let row = (k + word / 16u) * p.stride + word % 16u;
          let place = word / 16u * 68u + word % 16u * 4u;
          let a = z[row + tile.x * 16u];
          let b = z[row + tile.y * 16u];
          left[place] = a.x;
          left[place + 1u] = a.y;
          left[place + 2u] = a.z;
          left[place + 3u] = a.w;
          right[place] = b.x;
          right[place + 1u] = b.y;
          right[place + 2u] = b.z;
          right[place + 3u] = b.w;
        }
        workgroupBarrier();
        for (var row = 0u; row < 1088u; row += 544u) {
          let a0 = coopLoad<coop_mat8x8<f32, A>>(&left[row + top + 0u], 68u);
          let a1 = coopLoad<coop_mat8x8<f32, A>>(&left[row + top + 8u], 68u);
          let a2 = coopLoad<coop_mat8x8<f32, A>>(&left[row + top + 16u], 68u);
          let a3 = coopLoad<coop_mat8x8<f32, A>>(&left[row + top + 24u], 68u);
          let b0 = coopLoadT<coop_mat8x8<f32, B>>(&right[row + first + 0u], 68u);
          let b1 = coopLoadT<coop_mat8x8<f32, B>>(&right[row + first + 8u], 68u);
          let b2 = coopLoadT<coop_mat8x8<f32, B>>(&right[row + first + 16u], 68u);
          let b3 = coopLoadT<coop_mat8x8<f32, B>>(&right[row + first + 24u], 68u);
          s00 = coopMultiplyAdd(a0, b0, s00);
          s01 = coopMultiplyAdd(a0, b1, s01);
          s02 = coopMultiplyAdd(a0, b2, s02);
          s03 = coopMultiplyAdd(a0, b3, s03);
          s10 = coopMultiplyAdd(a1, b0, s10);
          s11 = coopMultiplyAdd(a1, b1, s11);
          s12 = coopMultiplyAdd(a1, b2, s12);
          s13 = coopMultiplyAdd(a1, b3, s13);
          s20 = coopMultiplyAdd(a2, b0, s20);
          s21 = coopMultiplyAdd(a2, b1, s21);
          s22 = coopMultiplyAdd(a2, b2, s22);
          s23 = coopMultiplyAdd(a2, b3, s23);
          s30 = coopMultiplyAdd(a3, b0, s30);
          s31 = coopMultiplyAdd(a3, b1, s31);
          s32 = coopMultiplyAdd(a3, b2, s32);
          s33 = coopMultiplyAdd(a3, b3, s33);
        }
      }
      // By a factor, not a branch: all of a subgroup must load. g holds numbers from the beginning.
      let kept = select(0.0, 1.0, p.accumulate != 0u || start > p.start);
      s00 = s00 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 0u], 64u) * kept;
      s01 = s01 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 8u], 64u) * kept;
      s02 = s02 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 16u], 64u) * kept;
      s03 = s03 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 24u], 64u) * kept;
      s10 = s10 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 512u], 64u) * kept;
      s11 = s11 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 520u], 64u) * kept;
      s12 = s12 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 528u], 64u) * kept;
      s13 = s13 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 536u], 64u) * kept;
      s20 = s20 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1024u], 64u) * kept;
      s21 = s21 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1032u], 64u) * kept;
      s22 = s22 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1040u], 64u) * kept;
      s23 = s23 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1048u], 64u) * kept;
      s30 = s30 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1536u], 64u) * kept;
      s31 = s31 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1544u], 64u) * kept;
      s32 = s32 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1552u], 64u) * kept;
      s33 = s33 + coopLoadT<coop_mat8x8<f32, C>>(&g[to + 1560u], 64u) * kept;
      coopStoreT(s00, &g[to + 0u], 64u);
      coopStoreT(s01, &g[to + 8u], 64u);
      coopStoreT(s02, &g[to + 16u], 64u);
      coopStoreT(s03, &g[to + 24u], 64u);
      coopStoreT(s10, &g[to + 512u], 64u);
      coopStoreT(s11, &g[to + 520u], 64u);
      coopStoreT(s12, &g[to + 528u], 64u);
      coopStoreT(s13, &g[to + 536u], 64u);
      coopStoreT(s20, &g[to + 1024u], 64u);
      coopStoreT(s21, &g[to + 1032u], 64u);
      coopStoreT(s22, &g[to + 1040u], 64u);
      coopStoreT(s23, &g[to + 1048u], 64u);
      coopStoreT(s30, &g[to + 1536u], 64u);
      coopStoreT(s31, &g[to + 1544u], 64u);
      coopStoreT(s32, &g[to + 1552u], 64u);
      coopStoreT(s33, &g[to + 1560u], 64u);
    }
  }
}
