// Correlation, fourth part: as `gram_halves` of correlation_halves.wgsl, on matrix units that multiply 16 x 16 values in f16
// and add in f32.
//
//   G_ab (+)= sum of hi_a * hi_b, and with two parts (sum of hi_a * lo_b + lo_a * hi_b) / 2^11          gram_matrix_f16
//
// A tile is 128 x 128, eight regions of 64 x 32 or four by two blocks each. A workgroup has eight times as many threads as the
// smallest subgroup of the device: where subgroups are larger there are fewer of them, and each does several regions one after
// the other. 16 samples a step go through workgroup memory, in rows that are 8 values longer than a tile (other banks). What
// such units add may be truncated, not rounded, so no sum is longer than 256 samples before it is added to g in f32. The
// samples-major z is left as it is for one operand, read by columns, and right for the other, read by rows.

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

// A divisor of 512.
override THREADS: u32 = 256u;
override PARTS: u32 = 1u;
// 16 rows of 136 values, of all parts.
override PANEL: u32 = 2176u;

@group(0) @binding(0) var<storage, read> z: array<vec4<f16>>; // N' x PARTS x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<f32>; // tiles, each row by row
var<immediate> p: Params;

var<workgroup> left: array<f16, PANEL>; // 16 samples x the neurons of a tile's side, hi and then lo
var<workgroup> right: array<f16, PANEL>;

fn keep_left(at: u32, word: vec4<f16>) {
  left[at] = word.x;
  left[at + 1u] = word.y;
  left[at + 2u] = word.z;
  left[at + 3u] = word.w;
}

fn keep_right(at: u32, word: vec4<f16>) {
  right[at] = word.x;
  right[at + 1u] = word.y;
  right[at + 2u] = word.z;
  right[at + 3u] = word.w;
}

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
  let low_words = p.stride / PARTS;
  for (var turn = 0u; turn < 8u / subgroups; turn++) {
    let region = turn * subgroups + subgroup;
    let top = region / 4u * 64u;
    let first = region % 4u * 32u;
    let to = slot * 16384u + top * 128u + first;
    for (var start = p.start; start < p.end; start += 256u) {
      let end = min(start + 256u, p.end);
      var s00 = coop_mat16x16<f32, C>();
      var s01 = coop_mat16x16<f32, C>();
      var s10 = coop_mat16x16<f32, C>();
      var s11 = coop_mat16x16<f32, C>();
      var s20 = coop_mat16x16<f32, C>();
      var s21 = coop_mat16x16<f32, C>();
      var s30 = coop_mat16x16<f32, C>();
      var s31 = coop_mat16x16<f32, C>();
      // hi * lo and lo * hi.
      var t00 = coop_mat16x16<f32, C>();
      var t01 = coop_mat16x16<f32, C>();
      var t10 = coop_mat16x16<f32, C>();
      var t11 = coop_mat16x16<f32, C>();
      var t20 = coop_mat16x16<f32, C>();
      var t21 = coop_mat16x16<f32, C>();
      var t30 = coop_mat16x16<f32, C>();
      var t31 = coop_mat16x16<f32, C>();
      for (var k = start; k < end; k += 16u) {
        workgroupBarrier();
        for (var word = thread; word < 512u; word += THREADS) {
          let row = (k + word / 32u) * p.stride + word % 32u;
          let place = word / 32u * 136u + word % 32u * 4u;
          keep_left(place, z[row + tile.x * 32u]);
          keep_right(place, z[row + tile.y * 32u]);
          if (PARTS == 2u) {
            keep_left(2176u + place, z[row + low_words + tile.x * 32u]);
            keep_right(2176u + place, z[row + low_words + tile.y * 32u]);
          }
        }
        workgroupBarrier();
        let b0 = coopLoadT<coop_mat16x16<f16, B>>(&right[first + 0u], 136u);
        let b1 = coopLoadT<coop_mat16x16<f16, B>>(&right[first + 16u], 136u);
        let a0 = coopLoad<coop_mat16x16<f16, A>>(&left[top + 0u], 136u);
        let a1 = coopLoad<coop_mat16x16<f16, A>>(&left[top + 16u], 136u);
        let a2 = coopLoad<coop_mat16x16<f16, A>>(&left[top + 32u], 136u);
        let a3 = coopLoad<coop_mat16x16<f16, A>>(&left[top + 48u], 136u);
        s00 = coopMultiplyAdd(a0, b0, s00);
        s01 = coopMultiplyAdd(a0, b1, s01);
        s10 = coopMultiplyAdd(a1, b0, s10);
        s11 = coopMultiplyAdd(a1, b1, s11);
        s20 = coopMultiplyAdd(a2, b0, s20);
        s21 = coopMultiplyAdd(a2, b1, s21);
        s30 = coopMultiplyAdd(a3, b0, s30);
        s31 = coopMultiplyAdd(a3, b1, s31);
        if (PARTS == 2u) {
          let d0 = coopLoadT<coop_mat16x16<f16, B>>(&right[2176u + first + 0u], 136u);
          let d1 = coopLoadT<coop_mat16x16<f16, B>>(&right[2176u + first + 16u], 136u);
          let c0 = coopLoad<coop_mat16x16<f16, A>>(&left[2176u + top + 0u], 136u);
          let c1 = coopLoad<coop_mat16x16<f16, A>>(&left[2176u + top + 16u], 136u);
          let c2 = coopLoad<coop_mat16x16<f16, A>>(&left[2176u + top + 32u], 136u);
          let c3 = coopLoad<coop_mat16x16<f16, A>>(&left[2176u + top + 48u], 136u);
          t00 = coopMultiplyAdd(a0, d0, t00);
          t01 = coopMultiplyAdd(a0, d1, t01);
          t10 = coopMultiplyAdd(a1, d0, t10);
          t11 = coopMultiplyAdd(a1, d1, t11);
          t20 = coopMultiplyAdd(a2, d0, t20);
          t21 = coopMultiplyAdd(a2, d1, t21);
          t30 = coopMultiplyAdd(a3, d0, t30);
          t31 = coopMultiplyAdd(a3, d1, t31);
          t00 = coopMultiplyAdd(c0, b0, t00);
          t01 = coopMultiplyAdd(c0, b1, t01);
          t10 = coopMultiplyAdd(c1, b0, t10);
          t11 = coopMultiplyAdd(c1, b1, t11);
          t20 = coopMultiplyAdd(c2, b0, t20);
          t21 = coopMultiplyAdd(c2, b1, t21);
          t30 = coopMultiplyAdd(c3, b0, t30);
          t31 = coopMultiplyAdd(c3, b1, t31);
        }
      }
      if (PARTS == 2u) {
        s00 = s00 + t00 * 0.00048828125;
        s01 = s01 + t01 * 0.00048828125;
        s10 = s10 + t10 * 0.00048828125;
        s11 = s11 + t11 * 0.00048828125;
        s20 = s20 + t20 * 0.00048828125;
        s21 = s21 + t21 * 0.00048828125;
        s30 = s30 + t30 * 0.00048828125;
        s31 = s31 + t31 * 0.00048828125;
      }
      // By a factor, not a branch: all of a subgroup must load. g holds numbers from the beginning.
      let kept = select(0.0, 1.0, p.accumulate != 0u || start > p.start);
      s00 = s00 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 0u], 128u) * kept;
      s01 = s01 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 16u], 128u) * kept;
      s10 = s10 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2048u], 128u) * kept;
      s11 = s11 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2064u], 128u) * kept;
      s20 = s20 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 4096u], 128u) * kept;
      s21 = s21 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 4112u], 128u) * kept;
      s30 = s30 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 6144u], 128u) * kept;
      s31 = s31 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 6160u], 128u) * kept;
      coopStoreT(s00, &g[to + 0u], 128u);
      coopStoreT(s01, &g[to + 16u], 128u);
      coopStoreT(s10, &g[to + 2048u], 128u);
      coopStoreT(s11, &g[to + 2064u], 128u);
      coopStoreT(s20, &g[to + 4096u], 128u);
      coopStoreT(s21, &g[to + 4112u], 128u);
      coopStoreT(s30, &g[to + 6144u], 128u);
      coopStoreT(s31, &g[to + 6160u], 128u);
    }
  }
}
