// Roofs: the rate of f16 arithmetic, on devices that have it; see roofs.wgsl. Sums are added in f32.

enable f16;

struct Params {
  // Steps of every chain, a multiple of eight.
  steps: u32,
  // Workgroups in all.
  groups: u32,
  factor: f32,
  summand: f32,
}

@group(0) @binding(0) var<storage, read_write> sums: array<f32>; // one a thread
var<immediate> p: Params;

@compute @workgroup_size(256)
fn fma_f16(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let m = vec4<f16>(f16(p.factor));
  let a = vec4<f16>(f16(p.summand));
  let first = f16(thread % 16u);
  var c0 = vec4<f16>(first, first + 1.0h, first + 2.0h, first + 3.0h);
  var c1 = c0 + 4.0h;
  var c2 = c0 + 8.0h;
  var c3 = c0 + 12.0h;
  var c4 = c0 + 16.0h;
  var c5 = c0 + 20.0h;
  var c6 = c0 + 24.0h;
  var c7 = c0 + 28.0h;
  for (var step = 0u; step < p.steps; step += 8u) {
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
    c0 = fma(c0, m, a);
    c1 = fma(c1, m, a);
    c2 = fma(c2, m, a);
    c3 = fma(c3, m, a);
    c4 = fma(c4, m, a);
    c5 = fma(c5, m, a);
    c6 = fma(c6, m, a);
    c7 = fma(c7, m, a);
  }
  let low = (vec4<f32>(c0) + vec4<f32>(c1)) + (vec4<f32>(c2) + vec4<f32>(c3));
  let high = (vec4<f32>(c4) + vec4<f32>(c5)) + (vec4<f32>(c6) + vec4<f32>(c7));
  let sum = low + high;
  sums[group * 256u + thread] = (sum.x + sum.y) + (sum.z + sum.w);
}
