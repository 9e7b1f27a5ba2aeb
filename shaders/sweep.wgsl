// Sweep: which samples a probe gets right when it keeps the first k neurons of an ordering, for every k.
//
//   logit_c(0) = initial_c
//   logit_c(k) = logit_c(k - 1) + w_jc * d_j      with j the k-th neuron of the ordering, d = x - what replaces x
//   right(k)   = the first of the largest logits is the label's
//
// With at most 64 classes, logits in registers. Where there are few samples, orderings are cut into pieces of 256 points, so that
// there is work for a whole device: `sums` adds what each piece adds to the logits, and `carry` makes of these the logits that each
// piece starts from. `few` walks every piece, or the whole ordering: one thread a sample and piece leaves one bit a point, 32
// points a word, in `hits`. Eight neurons are fetched at once: a walk that waits for each in turn waits most of the time.
// With more classes, logits in memory: `many` walks whole orderings, one thread a sample and ordering.
// Then `count` adds the bits over a group's samples, which follow one another: all of them, or those of a class. Integers
// alone, no atomics: the counts are exact and do not depend on any order.

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
  // Its first piece, and how many it has.
  piece: u32,
  pieces: u32,
}

// Some points of an ordering that follow one another: 256 or what is left of it, or all.
struct Piece {
  // Where its first neuron stands in `orders`, and how many of the ordering's there are from there on.
  start: u32,
  length: u32,
  // Points, its neurons or one more where the ordering ends, and the first of its rows in `hits`.
  points: u32,
  row: u32,
  // Its place in the ordering: the first starts from `initial`.
  place: u32,
}

// Words of four classes.
const QUADS: u32 = 4u;
const PIECE: u32 = 256u;

@group(0) @binding(0) var<storage, read> deviations: array<f32>; // neurons x samples
@group(0) @binding(1) var<storage, read> weights: array<f32>; // neurons x classes
@group(0) @binding(1) var<storage, read> weights4: array<array<vec4<f32>, QUADS>>; // neurons x classes, padded with zeros
@group(0) @binding(2) var<storage, read> initial: array<f32>; // classes
@group(0) @binding(2) var<storage, read> initial4: array<vec4<f32>>; // classes, padded with -3e38
@group(0) @binding(3) var<storage, read> orders: array<u32>; // all orderings, one after another
@group(0) @binding(4) var<storage, read> spans: array<Span>; // orderings
@group(0) @binding(4) var<storage, read> parts: array<Piece>; // pieces of all orderings
@group(0) @binding(5) var<storage, read> labels: array<u32>; // samples
@group(0) @binding(6) var<storage, read_write> hits: array<u32>; // rows of all orderings x samples
var<immediate> p: Params;
@group(0) @binding(7) var<storage, read_write> logits: array<f32>; // orderings x classes x samples
@group(0) @binding(7) var<storage, read> starts_from: array<vec4<f32>>; // pieces x QUADS x samples

// 1 where the first of the largest logits is the label's.
fn right(logits: array<vec4<f32>, QUADS>, label: u32) -> u32 {
  var most = logits[0];
  for (var i = 1u; i < QUADS; i++) { // unroll
    most = max(most, logits[i]);
  }
  let largest = vec4<f32>(max(max(most.x, most.y), max(most.z, most.w)));
  let none = vec4<u32>(4u * QUADS);
  var first = none;
  for (var i = 0u; i < QUADS; i++) { // unroll
    first = min(first, select(none, vec4<u32>(4u * i, 4u * i + 1u, 4u * i + 2u, 4u * i + 3u), logits[i] == largest));
  }
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
  let at = (p.first + group) / p.width;
  let part = parts[at];
  let label = labels[sample];
  var now = array<vec4<f32>, QUADS>();
  for (var i = 0u; i < QUADS; i++) { // unroll
    now[i] = initial4[i];
    if (part.place > 0u) {
      now[i] = starts_from[(at * QUADS + i) * p.samples + sample];
    }
  }
  // What stands behind the last neuron is fetched in its stead and reaches no point that is counted.
  let last = max(part.length, 1u) - 1u;
  var to = part.row * p.samples + sample;
  for (var k0 = 0u; k0 < part.points; k0 += 32u) {
    var word = 0u;
    for (var k1 = k0; k1 < min(k0 + 32u, part.points); k1 += 8u) {
      var neurons = array<u32, 8>();
      var steps = array<f32, 8>();
      for (var j = 0u; j < 8u; j++) { // unroll
        neurons[j] = orders[part.start + min(k1 + j, last)];
        steps[j] = deviations[neurons[j] * p.samples + sample];
      }
      for (var j = 0u; j < 8u; j++) { // unroll
        word |= right(now, label) << (k1 + j - k0);
        for (var i = 0u; i < QUADS; i++) { // unroll
          now[i] = fma(vec4<f32>(steps[j]), weights4[neurons[j]][i], now[i]);
        }
      }
    }
    hits[to] = word;
    to += p.samples;
  }
}

@group(0) @binding(4) var<storage, read_write> added: array<vec4<f32>>; // pieces x QUADS x samples
@group(0) @binding(3) var<storage, read> pieces: array<Piece>; // pieces of all orderings
@group(0) @binding(2) var<storage, read> order: array<u32>; // all orderings, one after another

@compute @workgroup_size(64)
fn sums(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let sample = ((p.first + group) % p.width) * 64u + thread;
  if (group >= p.count || sample >= p.samples) {
    return;
  }
  let at = (p.first + group) / p.width;
  let part = pieces[at];
  // Nothing starts from where an ordering ends.
  if (part.length < PIECE) {
    return;
  }
  var sum = array<vec4<f32>, QUADS>();
  for (var k0 = 0u; k0 < PIECE; k0 += 8u) {
    var neurons = array<u32, 8>();
    var steps = array<f32, 8>();
    for (var j = 0u; j < 8u; j++) { // unroll
      neurons[j] = order[part.start + k0 + j];
      steps[j] = deviations[neurons[j] * p.samples + sample];
    }
    for (var j = 0u; j < 8u; j++) { // unroll
      for (var i = 0u; i < QUADS; i++) { // unroll
        sum[i] = fma(vec4<f32>(steps[j]), weights4[neurons[j]][i], sum[i]);
      }
    }
  }
  for (var i = 0u; i < QUADS; i++) { // unroll
    added[(at * QUADS + i) * p.samples + sample] = sum[i];
  }
}

@group(0) @binding(0) var<storage, read> begins: array<vec4<f32>>; // classes, padded with -3e38
@group(0) @binding(1) var<storage, read> paths: array<Span>; // orderings
@group(0) @binding(2) var<storage, read_write> carried: array<vec4<f32>>; // pieces x QUADS x samples

// What `sums` left becomes the logits before each piece.
@compute @workgroup_size(64)
fn carry(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let sample = ((p.first + group) % p.width) * 64u + thread;
  if (group >= p.count || sample >= p.samples) {
    return;
  }
  let place = (p.first + group) / p.width;
  let path = paths[place / QUADS];
  let q = place % QUADS;
  var now = begins[q];
  for (var piece = path.piece; piece < path.piece + path.pieces; piece += 1u) {
    let at = (piece * QUADS + q) * p.samples + sample;
    let more = carried[at];
    carried[at] = now;
    now += more;
  }
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

@group(0) @binding(0) var<storage, read> marks: array<u32>; // what was left in `hits`
@group(0) @binding(1) var<storage, read> walks: array<Span>; // orderings
@group(0) @binding(2) var<storage, read> starts: array<u32>; // where groups begin among the samples, and their end
@group(0) @binding(3) var<storage, read_write> counts: array<u32>; // groups x points of all orderings
var<immediate> q: Params; // `width` is words of 32 points that the longest ordering takes

// Words of 1,024 samples, and what each thread counted of them.
var<workgroup> words: array<u32, 1024>;
var<workgroup> shares: array<u32, 256>;

// 32 points of an ordering and a group of samples: threads fetch words of neighbouring samples, and each counts a point among an
// eighth of them.
@compute @workgroup_size(256)
fn count(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  if (group >= q.count) {
    return;
  }
  let word = (q.first + group) % q.width;
  let place = (q.first + group) / q.width;
  let walk = walks[place / q.groups];
  let counted = place % q.groups;
  if (word * 32u > walk.length) {
    return;
  }
  let bit = thread % 32u;
  let share = thread / 32u;
  let row = (walk.row + word) * q.samples;
  let end = starts[counted + 1u];
  var total = 0u;
  for (var first = starts[counted]; first < end; first += 1024u) {
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) { // unroll
      let sample = first + i * 256u + thread;
      // Bits of samples behind the group's last are 0.
      words[i * 256u + thread] = select(0u, marks[row + min(sample, end - 1u)], sample < end);
    }
    workgroupBarrier();
    for (var at = share; at < min(1024u, end - first); at += 8u) {
      total += (words[at] >> bit) & 1u;
    }
  }
  shares[thread] = total;
  workgroupBarrier();
  let k = word * 32u + bit;
  if (thread < 32u && k <= walk.length) {
    for (var other = 1u; other < 8u; other += 1u) {
      total += shares[other * 32u + bit];
    }
    counts[counted * q.points + walk.point + k] = total;
  }
}
