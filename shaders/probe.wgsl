// Probe: the two products of a pass over the design X (samples x neurons, standardised), for all columns of a batch.
//
//   forward:  Z = X W      Z samples x columns, W neurons x columns
//   backward: G = X^T R    R samples x columns, G neurons x columns, one partial G for each slice of samples
//
// Both compute 64 x 32 tiles of the result, 64 threads, 8 x 4 values a thread, the inner dimension in panels of 16
// through workgroup memory. Every dimension is padded with zeros by the host: samples and neurons to 64, columns to
// 32, slices to 1,024 samples. The backward pass adds at most 1,024 samples in one f32 sum before it goes to the
// slice's total, and the host adds the slices in f64.

struct Params {
  // Row length of X in vec4: padded neurons / 4.
  neurons4: u32,
  // Row length of W, R, Z and G in vec4: padded columns / 4.
  columns4: u32,
  // Length of the inner dimension: padded neurons (forward) or the padded samples of a block (backward).
  inner: u32,
  // Tiles across: padded columns / 32.
  tiles_across: u32,
  // Tiles down: padded samples / 64 (forward) or padded neurons / 64 (backward).
  tiles_down: u32,
  // Samples of one slice (backward).
  slice: u32,
  // Where the workgroups of this dispatch end, and the first of them.
  groups: u32,
  first: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>; // samples x neurons
@group(0) @binding(1) var<storage, read> right: array<vec4<f32>>; // W neurons x columns, or R samples x columns
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // Z, or slices x neurons x columns
var<immediate> p: Params;

// One panel: 16 steps of the inner dimension, 64 rows of the left and 32 columns of the right factor.
var<workgroup> left_panel: array<f32, 1024>;
var<workgroup> right_panel: array<vec4<f32>, 128>;

@compute @workgroup_size(64)
fn forward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let row = (group / p.tiles_across) * 64u;
  let column4 = (group % p.tiles_across) * 8u;
  let tx = t % 8u;
  let ty = t / 8u;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  for (var k0 = 0u; k0 < p.inner; k0 += 16u) {
    workgroupBarrier();
    // X is row-major: thread t reads 16 consecutive values of row t and lays them down by inner index.
    let first = (row + t) * p.neurons4 + k0 / 4u;
    let v0 = x[first];
    let v1 = x[first + 1u];
    let v2 = x[first + 2u];
    let v3 = x[first + 3u];
    left_panel[0u + t] = v0.x;
    left_panel[64u + t] = v0.y;
    left_panel[128u + t] = v0.z;
    left_panel[192u + t] = v0.w;
    left_panel[256u + t] = v1.x;
    left_panel[320u + t] = v1.y;
    left_panel[384u + t] = v1.z;
    left_panel[448u + t] = v1.w;
    left_panel[512u + t] = v2.x;
    left_panel[576u + t] = v2.y;
    left_panel[640u + t] = v2.z;
    left_panel[704u + t] = v2.w;
    left_panel[768u + t] = v3.x;
    left_panel[832u + t] = v3.y;
    left_panel[896u + t] = v3.z;
    left_panel[960u + t] = v3.w;
    right_panel[t] = right[(k0 + t / 8u) * p.columns4 + column4 + t % 8u];
    right_panel[t + 64u] = right[(k0 + 8u + t / 8u) * p.columns4 + column4 + t % 8u];
    workgroupBarrier();
    for (var k = 0u; k < 16u; k += 1u) {
      let at = k * 64u + ty * 8u;
      let b = right_panel[k * 8u + tx];
      c0 = fma(vec4<f32>(left_panel[at + 0u]), b, c0);
      c1 = fma(vec4<f32>(left_panel[at + 1u]), b, c1);
      c2 = fma(vec4<f32>(left_panel[at + 2u]), b, c2);
      c3 = fma(vec4<f32>(left_panel[at + 3u]), b, c3);
      c4 = fma(vec4<f32>(left_panel[at + 4u]), b, c4);
      c5 = fma(vec4<f32>(left_panel[at + 5u]), b, c5);
      c6 = fma(vec4<f32>(left_panel[at + 6u]), b, c6);
      c7 = fma(vec4<f32>(left_panel[at + 7u]), b, c7);
    }
  }
  let to = (row + ty * 8u) * p.columns4 + column4 + tx;
  result[to + 0u * p.columns4] = c0;
  result[to + 1u * p.columns4] = c1;
  result[to + 2u * p.columns4] = c2;
  result[to + 3u * p.columns4] = c3;
  result[to + 4u * p.columns4] = c4;
  result[to + 5u * p.columns4] = c5;
  result[to + 6u * p.columns4] = c6;
  result[to + 7u * p.columns4] = c7;
}

@compute @workgroup_size(64)
fn backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let tile = group % (p.tiles_across * p.tiles_down);
  let slice = group / (p.tiles_across * p.tiles_down);
  let row4 = (tile / p.tiles_across) * 16u;
  let column4 = (tile % p.tiles_across) * 8u;
  let tx = t % 8u;
  let ty = t / 8u;
  let end = min(slice * p.slice + p.slice, p.inner);
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  var s4 = vec4<f32>();
  var s5 = vec4<f32>();
  var s6 = vec4<f32>();
  var s7 = vec4<f32>();
  for (var chunk = slice * p.slice; chunk < end; chunk += 1024u) {
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    var c4 = vec4<f32>();
    var c5 = vec4<f32>();
    var c6 = vec4<f32>();
    var c7 = vec4<f32>();
    for (var k0 = chunk; k0 < min(chunk + 1024u, end); k0 += 16u) {
      workgroupBarrier();
      // X is already laid out by inner index: 16 samples of 64 neurons are 256 vec4, four a thread.
      for (var part = 0u; part < 4u; part += 1u) {
        let k = part * 4u + t / 16u;
        let v = x[(k0 + k) * p.neurons4 + row4 + t % 16u];
        let at = k * 64u + (t % 16u) * 4u;
        left_panel[at] = v.x;
        left_panel[at + 1u] = v.y;
        left_panel[at + 2u] = v.z;
        left_panel[at + 3u] = v.w;
      }
      right_panel[t] = right[(k0 + t / 8u) * p.columns4 + column4 + t % 8u];
      right_panel[t + 64u] = right[(k0 + 8u + t / 8u) * p.columns4 + column4 + t % 8u];
      workgroupBarrier();
      for (var k = 0u; k < 16u; k += 1u) {
        let at = k * 64u + ty * 8u;
        let b = right_panel[k * 8u + tx];
        c0 = fma(vec4<f32>(left_panel[at + 0u]), b, c0);
        c1 = fma(vec4<f32>(left_panel[at + 1u]), b, c1);
        c2 = fma(vec4<f32>(left_panel[at + 2u]), b, c2);
        c3 = fma(vec4<f32>(left_panel[at + 3u]), b, c3);
        c4 = fma(vec4<f32>(left_panel[at + 4u]), b, c4);
        c5 = fma(vec4<f32>(left_panel[at + 5u]), b, c5);
        c6 = fma(vec4<f32>(left_panel[at + 6u]), b, c6);
        c7 = fma(vec4<f32>(left_panel[at + 7u]), b, c7);
      }
    }
    s0 += c0;
    s1 += c1;
    s2 += c2;
    s3 += c3;
    s4 += c4;
    s5 += c5;
    s6 += c6;
    s7 += c7;
  }
  let to = (slice * p.tiles_down * 64u + row4 * 4u + ty * 8u) * p.columns4 + column4 + tx;
  result[to + 0u * p.columns4] = s0;
  result[to + 1u * p.columns4] = s1;
  result[to + 2u * p.columns4] = s2;
  result[to + 3u * p.columns4] = s3;
  result[to + 4u * p.columns4] = s4;
  result[to + 5u * p.columns4] = s5;
  result[to + 6u * p.columns4] = s6;
  result[to + 7u * p.columns4] = s7;
}
