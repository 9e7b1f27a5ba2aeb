// Roofs: the rate of matrix units that multiply 8 x 8 values in f32; see roofs.wgsl.
//
// Each subgroup adds the product of two blocks to eight others, step after step, and writes the sum of the eight. One of the
// two holds `factor` everywhere and the other one `summand`: the host knows the end exactly. A workgroup has eight times as
// many threads as the smallest subgroup of the device, and blocks of subgroups that are not there stay as they were.

enable wgpu_cooperative_matrix;

struct Blocks {
  // Products that are added to each block.
  steps: u32,
  // Workgroups in all.
  groups: u32,
  factor: f32,
  summand: f32,
}

override THREADS: u32 = 256u;

@group(0) @binding(0) var<storage, read_write> sums: array<f32>; // 64 a subgroup, eight of them a workgroup
var<immediate> p: Blocks;

var<workgroup> left: array<f32, 64>;
var<workgroup> right: array<f32, 64>;

@compute @workgroup_size(THREADS)
fn blocks_f32(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  let group = id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  for (var at = thread; at < 64u; at += THREADS) {
    left[at] = f32(p.factor);
    right[at] = f32(p.summand);
  }
  workgroupBarrier();
  let a = coopLoad<coop_mat8x8<f32, A>>(&left[0], 8u);
  let b = coopLoadT<coop_mat8x8<f32, B>>(&right[0], 8u);
  var c0 = coop_mat8x8<f32, C>();
  var c1 = coop_mat8x8<f32, C>();
  var c2 = coop_mat8x8<f32, C>();
  var c3 = coop_mat8x8<f32, C>();
  var c4 = coop_mat8x8<f32, C>();
  var c5 = coop_mat8x8<f32, C>();
  var c6 = coop_mat8x8<f32, C>();
  var c7 = coop_mat8x8<f32, C>();
  for (var step = 0u; step < p.steps; step++) {
    c0 = coopMultiplyAdd(a, b, c0);
    c1 = coopMultiplyAdd(a, b, c1);
    c2 = coopMultiplyAdd(a, b, c2);
    c3 = coopMultiplyAdd(a, b, c3);
    c4 = coopMultiplyAdd(a, b, c4);
    c5 = coopMultiplyAdd(a, b, c5);
    c6 = coopMultiplyAdd(a, b, c6);
    c7 = coopMultiplyAdd(a, b, c7);
  }
  let low = (c0 + c1) + (c2 + c3);
  let high = (c4 + c5) + (c6 + c7);
  coopStoreT(low + high, &sums[(group * 8u + subgroup) * 64u], 8u);
}
