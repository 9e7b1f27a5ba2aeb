// Moments: partial sums of every neuron over short runs of samples of one class.
//
//   d_ij = (x_ij - shift_j) * scale_j
//   partial_rj = (sum of d_ij, sum of d_ij^2, largest |d_ij|) over the samples i of run r
//
// The host runs it twice: with a provisional shift and scale 1 for the mean and the range, then with the mean and a
// power of two that brings the range to 1 for the spread. It adds the partials in f64. A run has at most 256 samples
// and never straddles a class, so the sums stay short and class means come from the same pass. It is summed by 16s:
// samples of one class repeat values, whose roundings all go the same way, so a sum of 256 at a stretch could be off by
// 4e-6 where this one is off by 5e-7.
//
// One thread a neuron and run, 64 neurons a workgroup: the reads of a workgroup are contiguous.

struct Params {
  neurons: u32,
  // Runs of this dispatch, and the first of them in `runs`.
  count: u32,
  first: u32,
  // Workgroups that one run takes: neurons / 64, rounded up.
  width: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>; // samples x neurons
@group(0) @binding(1) var<storage, read> order: array<u32>; // samples, sorted by class
@group(0) @binding(2) var<storage, read> runs: array<vec2<u32>>; // start and end of each run in `order`
@group(0) @binding(3) var<storage, read> shift: array<f32>; // neurons
@group(0) @binding(4) var<storage, read> scale: array<f32>; // neurons
@group(0) @binding(5) var<storage, read_write> partials: array<vec4<f32>>; // count x neurons
var<immediate> p: Params;

@compute @workgroup_size(64)
fn partial_sums(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let run = group / p.width;
  let neuron = (group % p.width) * 64u + thread;
  if (run >= p.count || neuron >= p.neurons) {
    return;
  }
  let bounds = runs[p.first + run];
  let c = shift[neuron];
  let s = scale[neuron];
  var sum = 0.0;
  var square = 0.0;
  var largest = 0.0;
  for (var start = bounds.x; start < bounds.y; start += 16u) {
    let end = min(start + 16u, bounds.y);
    var short_sum = 0.0;
    var short_square = 0.0;
    for (var i = start; i < end; i += 1u) {
      let d = (x[order[i] * p.neurons + neuron] - c) * s;
      short_sum += d;
      short_square = fma(d, d, short_square);
      largest = max(largest, abs(d));
    }
    sum += short_sum;
    square += short_square;
  }
  partials[run * p.neurons + neuron] = vec4<f32>(sum, square, largest, 0.0);
}
