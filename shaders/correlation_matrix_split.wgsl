// Correlation, seventh part: as `gram_halves` of correlation_halves.wgsl, of two parts, on matrix units that multiply 16 x 16 values in f16
// and add in f32.
//
//   G_ab (+)= sum of hi_a * hi_b + (sum of hi_a * lo_b + lo_a * hi_b) / 2^11          gram_matrix_split
//
// A tile is 128 x 128, sixteen regions of 32 x 32 or two by two blocks each, of three products. A workgroup has sixteen times
// as many threads as the smallest subgroup of the device: where subgroups are larger there are fewer of them, and each does
// several regions one after the other. 16 samples a step go through workgroup memory, the next ones fetched into registers
// meanwhile; rows and words are those of correlation_matrix_f16.wgsl. What such units add may be truncated, not rounded, so no
// sum is longer than 512 samples before it is added to g in f32.

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
const THREADS: u32 = 512u;
// Words of each side that a thread fetches a step.
const WORDS: u32 = 2u;

@group(0) @binding(0) var<storage, read> z: array<vec4<f16>>; // N' x 2 x D'
@group(0) @binding(1) var<storage, read> tiles: array<vec2<u32>>; // row and column of each tile, in tiles
@group(0) @binding(2) var<storage, read_write> g: array<f32>; // tiles, each row by row
var<immediate> p: Params;

// 2 parts x 16 samples x the neurons of a tile's side, 34 words a row
var<workgroup> left: array<vec4<f16>, 1088>;
var<workgroup> right: array<vec4<f16>, 1088>;

@compute @workgroup_size(THREADS)
fn gram_matrix_split(
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
  for (var turn = 0u; turn < 16u / subgroups; turn++) {
    let region = turn * subgroups + subgroup;
    let top = region / 4u * 32u;
    let first = region % 4u * 32u;
    let to = slot * 16384u + top * 128u + first;
    var next_left: array<vec4<f16>, WORDS>;
    var next_right: array<vec4<f16>, WORDS>;
    for (var i = 0u; i < WORDS; i++) { // unroll
      let word = thread + i * THREADS;
      let row = (p.start + word / 32u % 16u) * p.stride + word / 512u * (p.stride / 2u) + word % 32u;
      next_left[i] = z[row + tile.x * 32u];
      next_right[i] = z[row + tile.y * 32u];
    }
    for (var start = p.start; start < p.end; start += 512u) {
      let end = min(start + 512u, p.end);
      var s00 = coop_mat16x16<f32, C>();
      var s01 = coop_mat16x16<f32, C>();
      var s10 = coop_mat16x16<f32, C>();
      var s11 = coop_mat16x16<f32, C>();
      // hi * lo and lo * hi.
      var t00 = coop_mat16x16<f32, C>();
      var t01 = coop_mat16x16<f32, C>();
      var t10 = coop_mat16x16<f32, C>();
      var t11 = coop_mat16x16<f32, C>();
      for (var step = start; step < end; step += 16u) {
        workgroupBarrier();
        for (var i = 0u; i < WORDS; i++) { // unroll
          let word = thread + i * THREADS;
          let place = word / 32u * 34u + word % 32u;
          left[place] = next_left[i];
          right[place] = next_right[i];
        }
        workgroupBarrier();
        let next = select(step, step + 16u, step + 16u < p.end);
        for (var i = 0u; i < WORDS; i++) { // unroll
          let word = thread + i * THREADS;
          let row = (next + word / 32u % 16u) * p.stride + word / 512u * (p.stride / 2u) + word % 32u;
          next_left[i] = z[row + tile.x * 32u];
          next_right[i] = z[row + tile.y * 32u];
        }
        let row = top / 4u;
        let column = first / 4u;
        let a0_hi = coopLoad<coop_mat16x16<f16, A>>(&left[row + 0u], 34u);
        let a1_hi = coopLoad<coop_mat16x16<f16, A>>(&left[row + 4u], 34u);
        let a0_lo = coopLoad<coop_mat16x16<f16, A>>(&left[row + 544u], 34u);
        let a1_lo = coopLoad<coop_mat16x16<f16, A>>(&left[row + 548u], 34u);
        let b0_hi = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 0u], 34u);
        let b1_hi = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 4u], 34u);
        let b0_lo = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 544u], 34u);
        let b1_lo = coopLoadT<coop_mat16x16<f16, B>>(&right[column + 548u], 34u);
        s00 = coopMultiplyAdd(a0_hi, b0_hi, s00);
        s01 = coopMultiplyAdd(a0_hi, b1_hi, s01);
        s10 = coopMultiplyAdd(a1_hi, b0_hi, s10);
        s11 = coopMultiplyAdd(a1_hi, b1_hi, s11);
        t00 = coopMultiplyAdd(a0_hi, b0_lo, t00);
        t00 = coopMultiplyAdd(a0_lo, b0_hi, t00);
        t01 = coopMultiplyAdd(a0_hi, b1_lo, t01);
        t01 = coopMultiplyAdd(a0_lo, b1_hi, t01);
        t10 = coopMultiplyAdd(a1_hi, b0_lo, t10);
        t10 = coopMultiplyAdd(a1_lo, b0_hi, t10);
        t11 = coopMultiplyAdd(a1_hi, b1_lo, t11);
        t11 = coopMultiplyAdd(a1_lo, b1_hi, t11);
      }
      // By a factor, not a branch: all of a subgroup must load. g holds numbers from the beginning.
      let kept = select(0.0, 1.0, p.accumulate != 0u || start > p.start);
      s00 = s00 + t00 * 0.00048828125;
      s00 = s00 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 0u], 128u) * kept;
      s01 = s01 + t01 * 0.00048828125;
      s01 = s01 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 16u], 128u) * kept;
      s10 = s10 + t10 * 0.00048828125;
      s10 = s10 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2048u], 128u) * kept;
      s11 = s11 + t11 * 0.00048828125;
      s11 = s11 + coopLoadT<coop_mat16x16<f32, C>>(&g[to + 2064u], 128u) * kept;
      coopStoreT(s00, &g[to + 0u], 128u);
      coopStoreT(s01, &g[to + 16u], 128u);
      coopStoreT(s10, &g[to + 2048u], 128u);
      coopStoreT(s11, &g[to + 2064u], 128u);
    }
  }
}
