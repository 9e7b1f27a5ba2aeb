// Sweep: which samples a probe gets right when it keeps the first k neurons of an ordering, for every k.
//
//   logit_c(0) = initial_c
//   logit_c(k) = logit_c(k - 1) + w_jc * d_j      with j the k-th neuron of the ordering, d = x - what replaces x
//   right(k)   = the first of the largest logits is the label's
//
// Pass 1 (`few` for at most 16 classes, logits in registers; `many` for any number, logits in memory): one thread a
// sample and ordering walks the ordering once and leaves one bit a point, 32 points a word, in `hits`.
// Pass 2 (`count`): one thread a point, ordering and group of samples adds the bits over the group's samples, which
// follow one another: all of them, or those of a class. Integers alone, no atomics: the counts are exact and do not depend
// on any order. Neighbouring threads read neighbouring words throughout.

struct Params {
  // Samples on the device, and workgroups of 64 that they take.
  samples: u32,
  width: u32,
  classes: u32,
  // Workgroups of this dispatch, and the first of them.
  count: u32,
  first: u32,
  // For `count`: groups of samples, and points of all orderings together.
  groups: u32,
  points: u32,
  padding: u32,
}

struct Span {
  // Where the ordering begins in `orders`, and its length K.
  start: u32,
  length: u32,
  // Its first row in `hits`, K / 32 + 1 rows; its first place in `counts`, K + 1 places.
  row: u32,
  point: u32,
}

@group(0) @binding(0) var<storage, read> deviations: array<f32>; // neurons x samples
@group(0) @binding(1) var<storage, read> weights: array<f32>; // neurons x classes
@group(0) @binding(1) var<storage, read> weights4: array<vec4<f32>>; // neurons x 16 classes, padded with zeros
@group(0) @binding(2) var<storage, read> initial: array<f32>; // classes, padded to 16 with -3e38
@group(0) @binding(3) var<storage, read> orders: array<u32>; // all orderings, one after another
@group(0) @binding(4) var<storage, read> spans: array<Span>; // orderings
@group(0) @binding(5) var<storage, read> labels: array<u32>; // samples
@group(0) @binding(6) var<storage, read_write> hits: array<u32>; // rows of all orderings x samples
var<immediate> p: Params;
@group(0) @binding(7) var<storage, read_write> logits: array<f32>; // orderings x classes x samples

// 1 where the first of the largest of 16 logits is the label's.
fn right(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, label: u32) -> u32 {
  let four = max(max(a, b), max(c, d));
  let largest = vec4<f32>(max(max(four.x, four.y), max(four.z, four.w)));
  let none = vec4<u32>(16u);
  let first = min(
    min(
      select(none, vec4<u32>(0u, 1u, 2u, 3u), a == largest),
      select(none, vec4<u32>(4u, 5u, 6u, 7u), b == largest),
    ),
    min(
      select(none, vec4<u32>(8u, 9u, 10u, 11u), c == largest),
      select(none, vec4<u32>(12u, 13u, 14u, 15u), d == largest),
    ),
  );
  return u32(min(min(first.x, first.y), min(first.z, first.w)) == label);
}

@compute @workgroup_size(64)
fn few(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let sample = ((p.first + group) % p.width) * 64u + thread;
  if (group >= p.count || sample >= p.samples) {
    return;
  }
  let span = spans[(p.first + group) / p.width];
  let label = labels[sample];
  var a = vec4<f32>(initial[0], initial[1], initial[2], initial[3]);
  var b = vec4<f32>(initial[4], initial[5], initial[6], initial[7]);
  var c = vec4<f32>(initial[8], initial[9], initial[10], initial[11]);
  var d = vec4<f32>(initial[12], initial[13], initial[14], initial[15]);
  var word = right(a, b, c, d, label);
  var to = span.row * p.samples + sample;
  for (var k = 1u; k <= span.length; k += 1u) {
    let neuron = orders[span.start + k - 1u];
    let deviation = vec4<f32>(deviations[neuron * p.samples + sample]);
    a = fma(deviation, weights4[neuron * 4u], a);
    b = fma(deviation, weights4[neuron * 4u + 1u], b);
    c = fma(deviation, weights4[neuron * 4u + 2u], c);
    d = fma(deviation, weights4[neuron * 4u + 3u], d);
    if (k % 32u == 0u) {
      hits[to] = word;
      to += p.samples;
      word = 0u;
    }
    word |= right(a, b, c, d, label) << (k % 32u);
  }
  hits[to] = word;
}

@compute @workgroup_size(64)
fn many(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let sample = ((p.first + group) % p.width) * 64u + thread;
  if (group >= p.count || sample >= p.samples) {
    return;
  }
  let ordering = (p.first + group) / p.width;
  let span = spans[ordering];
  let label = labels[sample];
  let own = ordering * p.classes * p.samples + sample;
  var best = initial[0];
  var winner = 0u;
  for (var c = 0u; c < p.classes; c += 1u) {
    let logit = initial[c];
    logits[own + c * p.samples] = logit;
    if (logit > best) {
      best = logit;
      winner = c;
    }
  }
  var word = u32(winner == label);
  var to = span.row * p.samples + sample;
  for (var k = 1u; k <= span.length; k += 1u) {
    let neuron = orders[span.start + k - 1u];
    let deviation = deviations[neuron * p.samples + sample];
    winner = 0u;
    for (var c = 0u; c < p.classes; c += 1u) {
      let at = own + c * p.samples;
      let logit = fma(deviation, weights[neuron * p.classes + c], logits[at]);
      logits[at] = logit;
      if (c == 0u || logit > best) {
        best = logit;
        winner = c;
      }
    }
    if (k % 32u == 0u) {
      hits[to] = word;
      to += p.samples;
      word = 0u;
    }
    word |= u32(winner == label) << (k % 32u);
  }
  hits[to] = word;
}

@group(0) @binding(0) var<storage, read> marks: array<u32>; // what pass 1 left in `hits`
@group(0) @binding(1) var<storage, read> walks: array<Span>; // orderings
@group(0) @binding(2) var<storage, read> starts: array<u32>; // where groups begin among the samples, and their end
@group(0) @binding(3) var<storage, read_write> counts: array<u32>; // groups x points of all orderings
var<immediate> q: Params; // `width` is workgroups of 64 points that the longest ordering takes

@compute @workgroup_size(64)
fn count(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let k = ((q.first + group) % q.width) * 64u + thread;
  if (group >= q.count) {
    return;
  }
  let place = (q.first + group) / q.width;
  let walk = walks[place / q.groups];
  let counted = place % q.groups;
  if (k > walk.length) {
    return;
  }
  let row = (walk.row + k / 32u) * q.samples;
  var total = 0u;
  for (var sample = starts[counted]; sample < starts[counted + 1u]; sample += 1u) {
    total += (marks[row + sample] >> (k % 32u)) & 1u;
  }
  counts[counted * q.points + walk.point + k] = total;
}
