// Curvature: the Hessian of a probe's loss from terms that were drawn of it: block (a, b) is the sum over its terms of
// v x[R_a] x[R_b]^T, with a minus sign where a and b differ. The entries of x are gathered: of a sample those of the rows in R.
//
//   sum:    one workgroup a tile of a block on and above the diagonal, over the terms of one part of the samples
//   mirror: what is above H's diagonal, below it
//
// A thread computes 8 x 8 values as quads of 4 x 4, the quads half a tile apart; 8 x 8 threads or 16 x 16 a tile: 64 x 64 or
// 128 x 128 of H. Terms go in panels of 16 through workgroup memory, the next one fetched into registers meanwhile. Whatever the
// tile, an entry is summed in the same order: at most 1,024 terms in one f32 sum before it goes to the block's total.

struct Params {
  // Neurons of x, and values from one sample to the next.
  neurons: u32,
  stride: u32,
  // Rows of H.
  entries: u32,
  // 0: the first part of the samples; 1: add to what there is.
  add: u32,
  // Where the workgroups of this dispatch end, and the first of them.
  groups: u32,
  first: u32,
  // Padding to 32 bytes.
  unused0: u32,
  unused1: u32,
}

struct Block {
  // Its terms in this part of the samples.
  begin: u32,
  end: u32,
  // Its first row in H, and how many; its first column, and how many.
  down: u32,
  downs: u32,
  across: u32,
  acrosses: u32,
  // Padding to 32 bytes.
  unused0: u32,
  unused1: u32,
}

struct Term {
  sample: u32,
  weight: f32,
}

// Entries that are no neuron's: the intercept's, which is 1, and those beyond a block's sides, which are 0.
const ONE: u32 = 0xffffffffu;
const NONE: u32 = 0xfffffffeu;

// Threads along a side of a workgroup, 8 or 16, and all of them; words of four values in a row of a tile.
const SIDE: u32 = 8u;
const THREADS: u32 = 64u;
const WORDS: u32 = 16u;

@group(0) @binding(0) var<storage, read> x: array<f32>; // samples of one part x neurons
@group(0) @binding(1) var<storage, read> columns: array<u32>; // the neuron of each of H's entries, or ONE
@group(0) @binding(2) var<storage, read> terms: array<Term>;
@group(0) @binding(3) var<storage, read> blocks: array<Block>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4<u32>>; // block, tile down, tile across
@group(0) @binding(5) var<storage, read_write> h: array<f32>;
var<immediate> p: Params;

// One panel: 16 terms x the entries of a tile's side.
var<workgroup> left: array<array<vec4<f32>, WORDS>, 16>;
var<workgroup> right: array<array<vec4<f32>, WORDS>, 16>;

// The neurons of four entries of a block's side.
fn neurons(first: u32, count: u32, place: u32) -> vec4<u32> {
  var found = vec4(NONE);
  if (place < count) {
    found.x = columns[first + place];
  }
  if (place + 1u < count) {
    found.y = columns[first + place + 1u];
  }
  if (place + 2u < count) {
    found.z = columns[first + place + 2u];
  }
  if (place + 3u < count) {
    found.w = columns[first + place + 3u];
  }
  return found;
}

fn entries(sample: u32, wanted: vec4<u32>) -> vec4<f32> {
  let at = sample * p.stride;
  let there = min(wanted, vec4(p.neurons - 1u)) + vec4(at);
  let values = vec4(x[there.x], x[there.y], x[there.z], x[there.w]);
  let others = select(vec4(0.0), vec4(1.0), wanted == vec4(ONE));
  return select(others, values, wanted < vec4(p.neurons));
}

// A term; beyond the last one, the first with a weight of 0.
fn term(at: u32, begin: u32, end: u32) -> Term {
  if (at < end) {
    return terms[at];
  }
  return Term(terms[begin].sample, 0.0);
}

fn put(block: Block, row: u32, column: u32, values: vec4<f32>) {
  if (row >= block.downs) {
    return;
  }
  var signed = values;
  if (block.down != block.across) {
    signed = -values;
  }
  let to = (block.down + row) * p.entries + block.across + column;
  for (var i = 0u; i < 4u; i++) { // unroll
    if (column + i < block.acrosses) {
      var value = signed[i];
      if (p.add != 0u) {
        value += h[to + i];
      }
      h[to + i] = value;
    }
  }
}

@compute @workgroup_size(THREADS)
fn sum(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let tile = tiles[group];
  let block = blocks[tile.x];
  // Of 32 threads that run in step, 8 are next to one another and 4 below.
  let tx = t % 8u + t / 32u % (SIDE / 8u) * 8u;
  let ty = t / 8u % 4u + t / (SIDE * 4u) * 4u;
  // The word that a thread fetches of a term, and the first of its terms; the others are as many below as all threads fetch.
  let word = t % WORDS;
  let row = t / WORDS;
  let jump = THREADS / WORDS;
  let of_left = neurons(block.down, block.downs, tile.y * WORDS * 4u + word * 4u);
  let of_right = neurons(block.across, block.acrosses, tile.z * WORDS * 4u + word * 4u);
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  var s4 = vec4<f32>();
  var s5 = vec4<f32>();
  var s6 = vec4<f32>();
  var s7 = vec4<f32>();
  var s8 = vec4<f32>();
  var s9 = vec4<f32>();
  var s10 = vec4<f32>();
  var s11 = vec4<f32>();
  var s12 = vec4<f32>();
  var s13 = vec4<f32>();
  var s14 = vec4<f32>();
  var s15 = vec4<f32>();
  for (var chunk = block.begin; chunk < block.end; chunk += 1024u) {
    let end = min(chunk + 1024u, block.end);
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    var c4 = vec4<f32>();
    var c5 = vec4<f32>();
    var c6 = vec4<f32>();
    var c7 = vec4<f32>();
    var c8 = vec4<f32>();
    var c9 = vec4<f32>();
    var c10 = vec4<f32>();
    var c11 = vec4<f32>();
    var c12 = vec4<f32>();
    var c13 = vec4<f32>();
    var c14 = vec4<f32>();
    var c15 = vec4<f32>();
    let term0 = term(chunk + row, block.begin, end);
    let term1 = term(chunk + row + jump, block.begin, end);
    var left0 = entries(term0.sample, of_left) * term0.weight;
    var right0 = entries(term0.sample, of_right);
    var left1 = entries(term1.sample, of_left) * term1.weight;
    var right1 = entries(term1.sample, of_right);
    var left2 = vec4<f32>();
    var right2 = vec4<f32>();
    var left3 = vec4<f32>();
    var right3 = vec4<f32>();
    if (SIDE == 8u) {
      let term2 = term(chunk + row + 2u * jump, block.begin, end);
      let term3 = term(chunk + row + 3u * jump, block.begin, end);
      left2 = entries(term2.sample, of_left) * term2.weight;
      right2 = entries(term2.sample, of_right);
      left3 = entries(term3.sample, of_left) * term3.weight;
      right3 = entries(term3.sample, of_right);
    }
    for (var at = chunk; at < end; at += 16u) {
      workgroupBarrier();
      left[row][word] = left0;
      right[row][word] = right0;
      left[row + jump][word] = left1;
      right[row + jump][word] = right1;
      if (SIDE == 8u) {
        left[row + 2u * jump][word] = left2;
        right[row + 2u * jump][word] = right2;
        left[row + 3u * jump][word] = left3;
        right[row + 3u * jump][word] = right3;
      }
      workgroupBarrier();
      if (at + 16u < end) {
        let next0 = term(at + 16u + row, block.begin, end);
        let next1 = term(at + 16u + row + jump, block.begin, end);
        left0 = entries(next0.sample, of_left) * next0.weight;
        right0 = entries(next0.sample, of_right);
        left1 = entries(next1.sample, of_left) * next1.weight;
        right1 = entries(next1.sample, of_right);
        if (SIDE == 8u) {
          let next2 = term(at + 16u + row + 2u * jump, block.begin, end);
          let next3 = term(at + 16u + row + 3u * jump, block.begin, end);
          left2 = entries(next2.sample, of_left) * next2.weight;
          right2 = entries(next2.sample, of_right);
          left3 = entries(next3.sample, of_left) * next3.weight;
          right3 = entries(next3.sample, of_right);
        }
      }
      for (var k = 0u; k < 16u; k++) { // unroll
        let a0 = left[k][ty];
        let a1 = left[k][SIDE + ty];
        let b0 = right[k][tx];
        let b1 = right[k][SIDE + tx];
        c0 = fma(vec4(a0.x), b0, c0);
        c1 = fma(vec4(a0.x), b1, c1);
        c2 = fma(vec4(a0.y), b0, c2);
        c3 = fma(vec4(a0.y), b1, c3);
        c4 = fma(vec4(a0.z), b0, c4);
        c5 = fma(vec4(a0.z), b1, c5);
        c6 = fma(vec4(a0.w), b0, c6);
        c7 = fma(vec4(a0.w), b1, c7);
        c8 = fma(vec4(a1.x), b0, c8);
        c9 = fma(vec4(a1.x), b1, c9);
        c10 = fma(vec4(a1.y), b0, c10);
        c11 = fma(vec4(a1.y), b1, c11);
        c12 = fma(vec4(a1.z), b0, c12);
        c13 = fma(vec4(a1.z), b1, c13);
        c14 = fma(vec4(a1.w), b0, c14);
        c15 = fma(vec4(a1.w), b1, c15);
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
    s8 += c8;
    s9 += c9;
    s10 += c10;
    s11 += c11;
    s12 += c12;
    s13 += c13;
    s14 += c14;
    s15 += c15;
  }
  let top = tile.y * WORDS * 4u + ty * 4u;
  let low = top + SIDE * 4u;
  let near = tile.z * WORDS * 4u + tx * 4u;
  let far = near + SIDE * 4u;
  put(block, top, near, s0);
  put(block, top, far, s1);
  put(block, top + 1u, near, s2);
  put(block, top + 1u, far, s3);
  put(block, top + 2u, near, s4);
  put(block, top + 2u, far, s5);
  put(block, top + 3u, near, s6);
  put(block, top + 3u, far, s7);
  put(block, low, near, s8);
  put(block, low, far, s9);
  put(block, low + 1u, near, s10);
  put(block, low + 1u, far, s11);
  put(block, low + 2u, near, s12);
  put(block, low + 2u, far, s13);
  put(block, low + 3u, near, s14);
  put(block, low + 3u, far, s15);
}

@compute @workgroup_size(256)
fn mirror(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let at = (p.first + id.y * count.x + id.x) * 256u + t;
  let row = at / p.entries;
  let column = at % p.entries;
  if (row < p.entries && column < row) {
    h[at] = h[column * p.entries + row];
  }
}
