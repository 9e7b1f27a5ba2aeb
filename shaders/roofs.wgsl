// Roofs: what a device can do at most, measured by kernels that do nothing else.
//
//   fma:   each thread advances eight vectors of four values, x <- x * factor + summand, and writes the sum of all 32
//   triad: a = b + s c (McCalpin 1995), four values a thread
//
// Chains do not depend on one another, so a thread has eight operations in flight whatever one of them takes. Factor and
// summand come from the host: no compiler can know the end, and the host knows it exactly.

struct Params {
  // Steps of every chain, a multiple of eight.
  steps: u32,
  // Workgroups in all.
  groups: u32,
  factor: f32,
  summand: f32,
}

struct Stream {
  // Vectors of four values.
  length4: u32,
  // Workgroups in all.
  groups: u32,
  scale: f32,
  unused: u32,
}

@group(0) @binding(0) var<storage, read_write> sums: array<f32>; // one a thread
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> c: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<f32>>;
var<immediate> t: Stream;

@compute @workgroup_size(256)
fn fma_f32(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let m = vec4<f32>(p.factor);
  let a = vec4<f32>(p.summand);
  let first = f32(thread % 16u);
  var c0 = vec4<f32>(first, first + 1.0, first + 2.0, first + 3.0);
  var c1 = c0 + 4.0;
  var c2 = c0 + 8.0;
  var c3 = c0 + 12.0;
  var c4 = c0 + 16.0;
  var c5 = c0 + 20.0;
  var c6 = c0 + 24.0;
  var c7 = c0 + 28.0;
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
  let sum = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7));
  sums[group * 256u + thread] = (sum.x + sum.y) + (sum.z + sum.w);
}

@compute @workgroup_size(256)
fn triad(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * count.x + id.x;
  let at = group * 256u + thread;
  if (group >= t.groups || at >= t.length4) {
    return;
  }
  a[at] = b[at] + t.scale * c[at];
}
