// Curvature: the Hessian of a probe's loss from terms that were drawn of it: block (a, b) is the sum over its terms of
// v x[R_a] x[R_b]^T, with a minus sign where a and b differ. The entries of x are gathered: of a sample those of the rows in R.
//
//   pack:   the entries of some of a block's terms, gathered once: a panel of terms x the rows of its side, which is padded with
//           zeros to whole tiles; a class's own block has one panel, that of a pair two
//   sum:    one workgroup a tile of a block on and above the diagonal, over the terms that are packed; added to what H holds
//   mirror: what is above H's diagonal, below it
//
// The terms of a block are a multiple of 16, those beyond its own with a weight of 0, and come in runs of 1,024, its last one
// shorter. What is packed at once are whole runs.
//
// A thread of `sum` computes 8 x 8 values as quads of 4 x 4, the quads half a tile apart; 8 x 8 threads or 16 x 16 a tile:
// 64 x 64 or 128 x 128 of H. 16 terms at a time go through workgroup memory, the next ones fetched into registers meanwhile.
// Whatever the tile, and whatever is packed at once, an entry is summed in the same order: each run in one f32 sum, which is then
// added to H.

struct Params {
  // Neurons of x, and values from one sample to the next.
  neurons: u32,
  stride: u32,
  // Rows of H.
  entries: u32,
  // Where the workgroups of this dispatch end, and the first of them.
  groups: u32,
  first: u32,
  // Padding to 32 bytes.
  unused0: u32,
  unused1: u32,
  unused2: u32,
}

// What a workgroup packs: up to 64 entries of a side x some of the block's terms, a multiple of 16.
struct Slice {
  // The terms.
  begin: u32,
  end: u32,
  // The first entry, and how many there are before the zeros.
  entry: u32,
  entries: u32,
  // Where the first value goes, and values from one term to the next.
  to: u32,
  stride: u32,
  // Padding to 32 bytes.
  unused0: u32,
  unused1: u32,
}

struct Block {
  // Its terms that are packed.
  begin: u32,
  end: u32,
  // Its first row in H, and how many; its first column, and how many.
  down: u32,
  downs: u32,
  across: u32,
  acrosses: u32,
  // Where the panels of its rows and of its columns begin, in words of four values.
  left: u32,
  right: u32,
}

struct Term {
  sample: u32,
  weight: f32,
}

// The intercept's entry, which is 1, and entries beyond a block's side, which are 0.
const ONE: u32 = 0xffffffffu;
const NONE: u32 = 0xfffffffeu;

// Terms that are one f32 sum.
const RUN: u32 = 1024u;

// Threads along a side of a workgroup, 8 or 16, and all of them; words of four values in a row of a tile.
const SIDE: u32 = 8u;
const THREADS: u32 = 64u;
const WORDS: u32 = 16u;

@group(0) @binding(0) var<storage, read> x: array<f32>; // samples of one part x neurons
@group(0) @binding(1) var<storage, read> columns: array<u32>; // the neuron of each of H's entries, or ONE
@group(0) @binding(2) var<storage, read> slices: array<Slice>;
@group(0) @binding(3) var<storage, read> terms: array<Term>;
@group(0) @binding(4) var<storage, read_write> packed: array<f32>; // panels: terms x the entries of a side

@group(0) @binding(0) var<storage, read> panels: array<vec4<f32>>; // the same
@group(0) @binding(1) var<storage, read> blocks: array<Block>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>; // block, tile down, tile across
@group(0) @binding(4) var<storage, read_write> h: array<f32>;

@group(0) @binding(0) var<storage, read_write> whole: array<f32>; // h, once it is summed
var<immediate> p: Params;

// 16 terms x the entries of a tile's side.
var<workgroup> left: array<array<vec4<f32>, WORDS>, 16>;
var<workgroup> right: array<array<vec4<f32>, WORDS>, 16>;

@compute @workgroup_size(256)
fn pack(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let slice = slices[group];
  // Threads next to one another have entries of one term, and four terms have threads at once.
  let entry = t % 64u;
  var neuron = NONE;
  if (entry < slice.entries) {
    neuron = columns[slice.entry + entry];
  }
  let source = min(neuron, p.neurons - 1u);
  let is_neuron = neuron < p.neurons;
  let other = select(0.0, 1.0, neuron == ONE);
  var to = slice.to + t / 64u * slice.stride + entry;
  let jump = 4u * slice.stride;
  for (var at = slice.begin + t / 64u; at < slice.end; at += 16u) {
    let value0 = x[terms[at].sample * p.stride + source];
    let value1 = x[terms[at + 4u].sample * p.stride + source];
    let value2 = x[terms[at + 8u].sample * p.stride + source];
    let value3 = x[terms[at + 12u].sample * p.stride + source];
    packed[to] = select(other, value0, is_neuron);
    packed[to + jump] = select(other, value1, is_neuron);
    packed[to + 2u * jump] = select(other, value2, is_neuron);
    packed[to + 3u * jump] = select(other, value3, is_neuron);
    to += 4u * jump;
  }
}

// Words of a term in a panel of so many entries: whole tiles.
fn width(entries: u32) -> u32 {
  return (entries + 4u * WORDS - 1u) / (4u * WORDS) * WORDS;
}

// What H holds there; beyond the block's columns some other entry of the row, or of its last row.
fn held(block: Block, row: u32, column: u32) -> vec4<f32> {
  let begin = (block.down + min(row, block.downs - 1u)) * p.entries + block.across;
  let last = block.acrosses - 1u;
  return vec4(
    h[begin + min(column, last)],
    h[begin + min(column + 1u, last)],
    h[begin + min(column + 2u, last)],
    h[begin + min(column + 3u, last)],
  );
}

fn put(block: Block, row: u32, column: u32, values: vec4<f32>) {
  if (row >= block.downs) {
    return;
  }
  let to = (block.down + row) * p.entries + block.across + column;
  for (var i = 0u; i < 4u; i++) { // unroll
    if (column + i < block.acrosses) {
      h[to + i] = values[i];
    }
  }
}

// Adds to H four values each of two rows at two columns; with a minus sign where the classes differ. All that is held is read before
// the first is written.
fn add(block: Block, row: u32, at: vec2<u32>, s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32>) {
  let sign = select(-1.0, 1.0, block.down == block.across);
  let near = at.x;
  let far = at.y;
  let held0 = held(block, row, near);
  let held1 = held(block, row, far);
  let held2 = held(block, row + 1u, near);
  let held3 = held(block, row + 1u, far);
  put(block, row, near, held0 + sign * s0);
  put(block, row, far, held1 + sign * s1);
  put(block, row + 1u, near, held2 + sign * s2);
  put(block, row + 1u, far, held3 + sign * s3);
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
  let left_width = width(block.downs);
  let right_width = width(block.acrosses);
  var at_term = block.begin + row;
  var at_left = block.left + row * left_width + tile.y * WORDS + word;
  var at_right = block.right + row * right_width + tile.z * WORDS + word;
  let left_jump = jump * left_width;
  let right_jump = jump * right_width;
  let top = tile.y * WORDS * 4u + ty * 4u;
  let low = top + SIDE * 4u;
  let near = tile.z * WORDS * 4u + tx * 4u;
  let places = vec2(near, near + SIDE * 4u);
  var left0 = panels[at_left] * terms[at_term].weight;
  var left1 = panels[at_left + left_jump] * terms[at_term + jump].weight;
  var right0 = panels[at_right];
  var right1 = panels[at_right + right_jump];
  var left2 = vec4<f32>();
  var left3 = vec4<f32>();
  var right2 = vec4<f32>();
  var right3 = vec4<f32>();
  if (SIDE == 8u) {
    left2 = panels[at_left + 2u * left_jump] * terms[at_term + 2u * jump].weight;
    left3 = panels[at_left + 3u * left_jump] * terms[at_term + 3u * jump].weight;
    right2 = panels[at_right + 2u * right_jump];
    right3 = panels[at_right + 3u * right_jump];
  }
  for (var run = block.begin; run < block.end; run += RUN) {
    let end = min(run + RUN, block.end);
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
    for (var at = run; at < end; at += 16u) {
      workgroupBarrier();
      left[row][word] = left0;
      left[row + jump][word] = left1;
      right[row][word] = right0;
      right[row + jump][word] = right1;
      if (SIDE == 8u) {
        left[row + 2u * jump][word] = left2;
        left[row + 3u * jump][word] = left3;
        right[row + 2u * jump][word] = right2;
        right[row + 3u * jump][word] = right3;
      }
      workgroupBarrier();
      at_term += 16u;
      at_left += 16u * left_width;
      at_right += 16u * right_width;
      if (at + 16u < block.end) {
        left0 = panels[at_left] * terms[at_term].weight;
        left1 = panels[at_left + left_jump] * terms[at_term + jump].weight;
        right0 = panels[at_right];
        right1 = panels[at_right + right_jump];
        if (SIDE == 8u) {
          left2 = panels[at_left + 2u * left_jump] * terms[at_term + 2u * jump].weight;
          left3 = panels[at_left + 3u * left_jump] * terms[at_term + 3u * jump].weight;
          right2 = panels[at_right + 2u * right_jump];
          right3 = panels[at_right + 3u * right_jump];
        }
      }
      for (var k = 0u; k < 16u; k++) { // unroll
        let a0 = left[k][ty];
        let a1 = left[k][SIDE + ty];
        let b0 = right[k][tx];
        let b1 = right[k][SIDE + tx];
        s0 = fma(vec4(a0.x), b0, s0);
        s1 = fma(vec4(a0.x), b1, s1);
        s2 = fma(vec4(a0.y), b0, s2);
        s3 = fma(vec4(a0.y), b1, s3);
        s4 = fma(vec4(a0.z), b0, s4);
        s5 = fma(vec4(a0.z), b1, s5);
        s6 = fma(vec4(a0.w), b0, s6);
        s7 = fma(vec4(a0.w), b1, s7);
        s8 = fma(vec4(a1.x), b0, s8);
        s9 = fma(vec4(a1.x), b1, s9);
        s10 = fma(vec4(a1.y), b0, s10);
        s11 = fma(vec4(a1.y), b1, s11);
        s12 = fma(vec4(a1.z), b0, s12);
        s13 = fma(vec4(a1.z), b1, s13);
        s14 = fma(vec4(a1.w), b0, s14);
        s15 = fma(vec4(a1.w), b1, s15);
      }
    }
    add(block, top, places, s0, s1, s2, s3);
    add(block, top + 2u, places, s4, s5, s6, s7);
    add(block, low, places, s8, s9, s10, s11);
    add(block, low + 2u, places, s12, s13, s14, s15);
  }
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
    whole[at] = whole[column * p.entries + row];
  }
}
