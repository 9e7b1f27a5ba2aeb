// Ablation: which samples a probe gets right under each of many masks of neurons.
//
//   logit_c = initial_c + sum of w_jc * d_j over the neurons j that are kept, d = x - what replaces x
//           = whole_c   - sum of w_jc * d_j over the neurons j that are not
//   right   = the first of the largest logits is the label's
//
// `everything` leaves whole, the logits of the complete probe; `count` takes for each mask the sum with fewer terms. One
// thread a sample and mask, 64 samples of one mask a workgroup, so that all of its threads walk the same bits; 16 classes
// at a time in registers. Counts are integers, so the order in which they are added does not matter.

struct Params {
  // Samples on the device, and workgroups of 64 that they take.
  samples: u32,
  width: u32,
  // Neurons on the device, 32 of them a word; classes, 16 of them a tile.
  neurons: u32,
  classes: u32,
  // Workgroups of this dispatch, and the first of them.
  count: u32,
  first: u32,
  padding0: u32,
  padding1: u32,
}

struct Logits {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
}

@group(0) @binding(0) var<storage, read> deviations: array<f32>; // neurons x samples
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>; // tiles x neurons x 4, padded with zeros
@group(0) @binding(2) var<storage, read> initial: array<vec4<f32>>; // tiles x 4, padded with -3e38
@group(0) @binding(3) var<storage, read_write> whole: array<vec4<f32>>; // tiles x 4 x samples
var<immediate> p: Params;
@group(0) @binding(4) var<storage, read> labels: array<u32>; // samples
@group(0) @binding(5) var<storage, read> masks: array<u32>; // masks x (1 where it starts from whole, then bits)
@group(0) @binding(6) var<storage, read_write> counts: array<atomic<u32>>; // masks x classes

// Adds weight times deviation of one neuron, or takes it away.
fn added(to: Logits, tile: u32, neuron: u32, deviation: f32) -> Logits {
  let at = (tile * p.neurons + neuron) * 4u;
  let d = vec4<f32>(deviation);
  return Logits(
    fma(d, weights[at], to.a),
    fma(d, weights[at + 1u], to.b),
    fma(d, weights[at + 2u], to.c),
    fma(d, weights[at + 3u], to.d),
  );
}

fn start(tile: u32) -> Logits {
  let at = tile * 4u;
  return Logits(initial[at], initial[at + 1u], initial[at + 2u], initial[at + 3u]);
}

@compute @workgroup_size(64)
fn everything(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let sample = ((p.first + group) % p.width) * 64u + thread;
  if (group >= p.count || sample >= p.samples) {
    return;
  }
  let tile = (p.first + group) / p.width;
  var logits = start(tile);
  for (var neuron = 0u; neuron < p.neurons; neuron += 1u) {
    logits = added(logits, tile, neuron, deviations[neuron * p.samples + sample]);
  }
  let to = tile * 4u * p.samples + sample;
  whole[to] = logits.a;
  whole[to + p.samples] = logits.b;
  whole[to + 2u * p.samples] = logits.c;
  whole[to + 3u * p.samples] = logits.d;
}

// The first place of the largest of 16 logits, and that logit.
struct Best {
  place: u32,
  logit: f32,
}

fn best_of(l: Logits) -> Best {
  let four = max(max(l.a, l.b), max(l.c, l.d));
  let largest = max(max(four.x, four.y), max(four.z, four.w));
  let same = vec4<f32>(largest);
  let none = vec4<u32>(16u);
  let first = min(
    min(
      select(none, vec4<u32>(0u, 1u, 2u, 3u), l.a == same),
      select(none, vec4<u32>(4u, 5u, 6u, 7u), l.b == same),
    ),
    min(
      select(none, vec4<u32>(8u, 9u, 10u, 11u), l.c == same),
      select(none, vec4<u32>(12u, 13u, 14u, 15u), l.d == same),
    ),
  );
  return Best(min(min(first.x, first.y), min(first.z, first.w)), largest);
}

@compute @workgroup_size(64)
fn count(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  let sample = ((p.first + group) % p.width) * 64u + thread;
  if (group >= p.count || sample >= p.samples) {
    return;
  }
  let mask = (p.first + group) / p.width;
  let words = (p.neurons + 31u) / 32u;
  let row = mask * (words + 1u);
  let from_whole = masks[row] == 1u;
  let sign = select(1.0, -1.0, from_whole);
  let label = labels[sample];
  var winner = Best(0u, 0.0);
  for (var tile = 0u; tile * 16u < p.classes; tile += 1u) {
    var logits = start(tile);
    if (from_whole) {
      let at = tile * 4u * p.samples + sample;
      logits = Logits(
        whole[at],
        whole[at + p.samples],
        whole[at + 2u * p.samples],
        whole[at + 3u * p.samples],
      );
    }
    for (var word = 0u; word < words; word += 1u) {
      var bits = masks[row + 1u + word];
      while (bits != 0u) {
        let neuron = word * 32u + firstTrailingBit(bits);
        logits = added(logits, tile, neuron, sign * deviations[neuron * p.samples + sample]);
        bits &= bits - 1u;
      }
    }
    let best = best_of(logits);
    if (tile == 0u || best.logit > winner.logit) {
      winner = Best(tile * 16u + best.place, best.logit);
    }
  }
  if (winner.place == label) {
    atomicAdd(&counts[mask * p.classes + label], 1u);
  }
}
