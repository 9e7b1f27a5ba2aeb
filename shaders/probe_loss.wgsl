// Probe, second part: what lies between the two products of a pass, where a device does all of it.
//
//   loss:     Z -> R in its place, and sums of the samples' losses      (softmax, sigmoid or squared error, see KIND)
//   columns:  sums over runs of samples of each column of Z or R
//   add_up:   the partial gradients of a block, added to what the blocks before it gave
//
// Exponentials and logarithms are computed here by plain arithmetic, to about 1 ulp: the language grants its own ones errors of
// 3 + 2|x| ulp and of an absolute 5e-7, and no two devices need have the same.

struct Loss {
  // Values in a row of Z.
  width: u32,
  // First column of these problems, columns of each, and how many they are: all have the same targets.
  column: u32,
  classes: u32,
  problems: u32,
  // Samples of the block without the padding, and the place of its first among all of them.
  samples: u32,
  sample: u32,
  // Sums of losses of a problem, and the place of the block's first among them.
  parts: u32,
  part: u32,
  // Place of the first of these problems among all.
  problem: u32,
  // Where the workgroups of this dispatch end, and the first of them.
  groups: u32,
  first: u32,
  padding: u32,
}

struct Columns {
  // Values in a row of Z.
  width: u32,
  // Samples of the block without the padding, and the place of its first among all of them.
  samples: u32,
  sample: u32,
  // Place of the block's first run among all of them.
  run: u32,
  groups: u32,
  first: u32,
  padding: vec2<u32>,
}

struct Adding {
  // Words of four values in a gradient.
  words: u32,
  // Partial gradients of the block.
  slices: u32,
  // 0: the block is the first.
  accumulate: u32,
  groups: u32,
}

// What the loss is: 0 softmax, 1 sigmoid, 2 half the squared error. What Z becomes: 0 its derivative R; 1 its second derivative.
const KIND: u32 = 0u;
const WANTED: u32 = 0u;

// Samples of a workgroup, 16 at a time; 16 threads share a sample's columns.
const ROWS: u32 = 64u;
const LANES: u32 = 16u;

@group(0) @binding(0) var<storage, read_write> z: array<f32>; // samples x width
@group(0) @binding(1) var<storage, read> targets: array<u32>; // class of each sample, or the bits of its value
@group(0) @binding(2) var<storage, read> weights: array<f32>; // of each sample
@group(0) @binding(3) var<storage, read> intercepts: array<f32>; // of each column
@group(0) @binding(4) var<storage, read_write> losses: array<f32>; // problems x parts
var<immediate> p: Loss;

var<workgroup> shared_values: array<f32, 256>;
var<workgroup> own_values: array<f32, 16>;
var<workgroup> row_losses: array<f32, ROWS>;

// e^x of x <= 0: 2^n e^r, n the integer nearest to x / ln 2, ln 2 in two parts, e^r by its series.
fn exponential(x: f32) -> f32 {
  let within = max(x, -87.0);
  let n = round(within * 1.44269504);
  let r = fma(n, 2.12194440e-4, fma(n, -0.693359375, within));
  var series = fma(r, 1.0 / 5040.0, 1.0 / 720.0);
  series = fma(r, series, 1.0 / 120.0);
  series = fma(r, series, 1.0 / 24.0);
  series = fma(r, series, 1.0 / 6.0);
  series = fma(r, series, 0.5);
  let e = fma(r * r, series, r) + 1.0;
  let scaled = e * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}

// ln(1 + x) of x >= 0: with 1 + x = 2^e m this is e ln 2 + 2 atanh((m - 1) / (m + 1)), by its series. Of small x nothing is
// added to 1.
fn logarithm_above_one(x: f32) -> f32 {
  var e = 0.0;
  var f = x / (2.0 + x);
  if (x > 0.41421356) {
    let bits = bitcast<u32>(1.0 + x);
    var m = bitcast<f32>((bits & 0x7fffffu) | 0x3f800000u);
    e = f32(bits >> 23u) - 127.0;
    if (m > 1.41421356) {
      m = 0.5 * m;
      e += 1.0;
    }
    f = (m - 1.0) / (m + 1.0);
  }
  let square = f * f;
  var series = fma(square, 1.0 / 9.0, 1.0 / 7.0);
  series = fma(square, series, 0.2);
  series = fma(square, series, 1.0 / 3.0);
  return fma(e, 0.693147181, 2.0 * fma(f * square, series, f));
}

// What sixteen threads have, added or the largest of it: all of them get it.
fn largest(t: u32, value: f32) -> f32 {
  shared_values[t] = value;
  workgroupBarrier();
  let row = t / LANES * LANES;
  var most = shared_values[row];
  for (var k = 1u; k < LANES; k++) {
    most = max(most, shared_values[row + k]);
  }
  workgroupBarrier();
  return most;
}

fn total(t: u32, value: f32) -> f32 {
  shared_values[t] = value;
  workgroupBarrier();
  let row = t / LANES * LANES;
  var sum = shared_values[row];
  for (var k = 1u; k < LANES; k++) {
    sum += shared_values[row + k];
  }
  workgroupBarrier();
  return sum;
}

// The loss of one logit or value, without its weight, and the first or second derivative.
fn of_one(value: f32, sample: u32) -> vec2<f32> {
  if (KIND == 2u) {
    let error = value - bitcast<f32>(targets[sample]);
    return vec2(0.5 * error * error, select(error, 1.0, WANTED == 1u));
  }
  // The logit of the wrong class.
  let sign = select(1.0, -1.0, targets[sample] == 1u);
  let against = sign * value;
  let e = exponential(-abs(against));
  let wrong = select(e, 1.0, against > 0.0) / (1.0 + e);
  let second = e / ((1.0 + e) * (1.0 + e));
  let first = sign * wrong;
  return vec2(max(against, 0.0) + logarithm_above_one(e), select(first, second, WANTED == 1u));
}

@compute @workgroup_size(256)
fn loss(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let block = group / p.problems;
  let problem = group % p.problems;
  let column = p.column + problem * p.classes;
  let lane = t % LANES;
  for (var round = 0u; round < 4u; round++) {
    let row = block * ROWS + round * 16u + t / LANES;
    let counts = row < p.samples;
    let sample = p.sample + select(0u, row, counts);
    let at = row * p.width + column;
    let weight = select(0.0, weights[sample], counts);
    if (KIND != 0u) {
      if (lane == 0u) {
        let found = of_one(z[at] + intercepts[column], sample);
        row_losses[round * 16u + t / LANES] = weight * found.x;
        z[at] = weight * found.y;
      }
    } else {
      let own = targets[sample];
      var most = -3.4e38;
      for (var c = lane; c < p.classes; c += LANES) {
        most = max(most, z[at + c] + intercepts[column + c]);
      }
      most = largest(t, most);
      let behind = z[at + own] + intercepts[column + own] - most;
      // The own class's is apart from the others': p - 1 would cancel for a confident probe.
      var others = 0.0;
      for (var c = lane; c < p.classes; c += LANES) {
        let e = exponential(z[at + c] + intercepts[column + c] - most);
        others += select(e, 0.0, c == own);
      }
      others = total(t, others);
      let likely = exponential(behind);
      let all = others + likely;
      if (lane == 0u) {
        // Of a confident row the others' share alone: 1 + e would lose it.
        let above_one = select(all - 1.0, others, behind == 0.0);
        row_losses[round * 16u + t / LANES] = weight * (logarithm_above_one(max(above_one, 0.0)) - behind);
      }
      storageBarrier(); // all have read the own class's
      let scale = weight / all;
      for (var c = lane; c < p.classes; c += LANES) {
        let e = exponential(z[at + c] + intercepts[column + c] - most);
        var value = e * scale;
        if (WANTED == 1u) {
          value *= select(all - e, others, c == own) / all;
        } else if (c == own) {
          value = -others * scale;
        }
        z[at + c] = value;
      }
    }
  }
  workgroupBarrier();
  if (t < 16u) {
    let four = t * 4u;
    own_values[t] = row_losses[four] + row_losses[four + 1u] + row_losses[four + 2u] + row_losses[four + 3u];
  }
  workgroupBarrier();
  if (t == 0u) {
    var sum = 0.0;
    for (var k = 0u; k < 16u; k++) {
      sum += own_values[k];
    }
    losses[(p.problem + problem) * p.parts + p.part + block] = sum;
  }
}

@group(0) @binding(0) var<storage, read> summed: array<f32>; // samples x width
@group(0) @binding(1) var<storage, read> of_samples: array<vec2<f32>>; // sum and sum of sizes of each sample's activations
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>; // runs x width
var<immediate> q: Columns;

// Samples of a run, and columns of a workgroup; four threads share a column.
const RUN: u32 = 2048u;
const STRIP: u32 = 64u;

// 1: there are sums of samples.
const CHECKED: u32 = 1u;

var<workgroup> shared_sums: array<vec4<f32>, 256>;

// Of each column v and run: the sum of v, of v times the sum of its sample, of |v| times the sum of sizes, and the largest |v|.
@compute @workgroup_size(256)
fn columns(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = q.first + id.y * count.x + id.x;
  if (group >= q.groups) {
    return;
  }
  let strips = (q.width + STRIP - 1u) / STRIP;
  let run = group / strips;
  let column = group % strips * STRIP + t % STRIP;
  var sum = vec4<f32>();
  if (column < q.width) {
    let end = min((run + 1u) * RUN, q.samples);
    for (var row = run * RUN + t / STRIP; row < end; row += 4u) {
      let value = summed[row * q.width + column];
      sum.x += value;
      if (CHECKED == 1u) {
        let sample = of_samples[q.sample + row];
        sum.y = fma(value, sample.x, sum.y);
        sum.z = fma(abs(value), sample.y, sum.z);
        sum.w = max(sum.w, abs(value));
      }
    }
  }
  shared_sums[t] = sum;
  workgroupBarrier();
  if (t < STRIP && column < q.width) {
    for (var k = 1u; k < 4u; k++) {
      let other = shared_sums[k * STRIP + t];
      sum = vec4(sum.xyz + other.xyz, max(sum.w, other.w));
    }
    sums[(q.run + run) * q.width + column] = sum;
  }
}

@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>; // slices x words
@group(0) @binding(1) var<storage, read_write> high: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> low: array<vec4<f32>>;
var<immediate> a: Adding;

// What a sum of two f32 loses is kept beside it (Knuth's two-sum): the host adds both in f64. A compiler that is allowed to
// reckon as if numbers were real leaves nothing there, and then the sum is that of f32.
@compute @workgroup_size(64)
fn add_up(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = id.y * count.x + id.x;
  let word = group * 64u + t;
  if (group >= a.groups || word >= a.words) {
    return;
  }
  var sum = vec4<f32>();
  var lost = vec4<f32>();
  if (a.accumulate != 0u) {
    sum = high[word];
    lost = low[word];
  }
  for (var slice = 0u; slice < a.slices; slice++) {
    let value = partials[slice * a.words + word];
    let both = sum + value;
    let taken = both - sum;
    lost += (sum - (both - taken)) + (value - taken);
    sum = both;
  }
  high[word] = sum;
  low[word] = lost;
}
