// Probe: the two products of a pass over the design X (samples x neurons, standardised), for all columns of a batch.
//
//   forward:  Z = X W      Z samples x columns, W neurons x columns
//   backward: G = X^T R    R samples x columns, G neurons x columns, one partial G for each slice of samples
//
// A thread computes 8 x 4 values (QUADS 1) or 8 x 8 (2) as quads of 4 x 4, the quads half a tile apart; 8 x 8 threads or
// 16 x 16 a tile: 64 x 32, 64 x 64 or 128 x 128 of the result. The inner dimension goes in panels of 16 through workgroup
// memory, the next one fetched into registers meanwhile. Four columns or fewer, which take no time but that of reading X, have
// kernels of their own: 64 x 4 values a workgroup (forward) or 256 x 4 (backward). Whatever the kernel, a value is summed in
// the same order. Every dimension is padded with zeros by the host: samples to 128, neurons to 64 or 128, columns to those of a
// tile, slices to 1,024 samples. The backward pass adds at most 1,024 samples in one f32 sum before it goes to the slice's
// total, and the host adds the slices in f64.

struct Params {
  // Row length of X in vec4: padded neurons / 4.
  neurons4: u32,
  // Row length of W, R, Z and G in vec4: padded columns / 4.
  columns4: u32,
  // Length of the inner dimension: padded neurons (forward) or the padded samples of a block (backward).
  inner: u32,
  // Tiles across: padded columns / the columns of a tile.
  tiles_across: u32,
  // Tiles down: padded samples (forward) or padded neurons (backward) / the rows of a tile, rounded up.
  tiles_down: u32,
  // Samples of one slice (backward).
  slice: u32,
  // Where the workgroups of this dispatch end, and the first of them.
  groups: u32,
  first: u32,
}

// Threads along a side of a tile, 8 or 16, and all of them; quads of columns a thread.
const SIDE: u32 = 8u;
const THREADS: u32 = 64u;
const QUADS: u32 = 1u;
// Words of four values in a row of a tile: of the left factor and of the right one.
const LEFT: u32 = 16u;
const RIGHT: u32 = 8u;

// 1: the backward pass takes the squares of X.
const SQUARE: u32 = 0u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>; // samples x neurons
@group(0) @binding(1) var<storage, read> right: array<vec4<f32>>; // W neurons x columns, or R samples x columns
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // Z, or slices x neurons x columns
var<immediate> p: Params;

// One panel: 16 steps of the inner dimension.
var<workgroup> left_panel: array<array<vec4<f32>, LEFT>, 16>;
var<workgroup> right_panel: array<array<vec4<f32>, RIGHT>, 16>;

// Four values of X, or their squares, as the backward pass takes them.
fn left_value(at: u32) -> vec4<f32> {
  let values = x[at];
  if (SQUARE == 1u) {
    return values * values;
  }
  return values;
}

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  // Of 32 threads that run in step, 8 are next to one another and 4 below.
  let tx = t % 8u + t / 32u % (SIDE / 8u) * 8u;
  let ty = t / 8u % 4u + t / (SIDE * 4u) * 4u;
  let row = group / p.tiles_across * LEFT * 4u;
  let column4 = group % p.tiles_across * RIGHT;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  var d0 = vec4<f32>();
  var d1 = vec4<f32>();
  var d2 = vec4<f32>();
  var d3 = vec4<f32>();
  var d4 = vec4<f32>();
  var d5 = vec4<f32>();
  var d6 = vec4<f32>();
  var d7 = vec4<f32>();
  // X is row-major: a thread reads four values of each of four rows, and lays them down by inner index, four rows a word. It
  // writes whole words, as parts of one word by different threads would be a race, and eight threads next to one another write
  // words next to one another. Of 256 threads half read X and half the right factor: so both take 16 registers, not 32.
  let lefts = t < LEFT * 4u;
  let left_row = t % 8u + t / 32u * 8u;
  let left_word = t / 8u % 4u;
  let reader = select(t, t - LEFT * 4u, SIDE == 16u && !lefts);
  let right_row = reader / RIGHT;
  let right_word = reader % RIGHT;
  let step = select(64u, 128u, SIDE == 16u) / RIGHT;
  var at_left = (row + left_row * 4u) * p.neurons4 + left_word;
  var at_right = right_row * p.columns4 + column4 + right_word;
  var next0 = vec4<f32>();
  var next1 = vec4<f32>();
  var next2 = vec4<f32>();
  var next3 = vec4<f32>();
  var next_right0 = vec4<f32>();
  var next_right1 = vec4<f32>();
  var next_right2 = vec4<f32>();
  var next_right3 = vec4<f32>();
  if (lefts) {
    next0 = x[at_left];
    next1 = x[at_left + p.neurons4];
    next2 = x[at_left + 2u * p.neurons4];
    next3 = x[at_left + 3u * p.neurons4];
  } else if (SIDE == 16u) {
    next0 = right[at_right];
    next1 = right[at_right + step * p.columns4];
    next2 = right[at_right + 2u * step * p.columns4];
    next3 = right[at_right + 3u * step * p.columns4];
  }
  if (SIDE == 8u) {
    next_right0 = right[at_right];
    next_right1 = right[at_right + step * p.columns4];
    if (QUADS == 2u) {
      next_right2 = right[at_right + 2u * step * p.columns4];
      next_right3 = right[at_right + 3u * step * p.columns4];
    }
  }
  for (var k0 = 0u; k0 < p.inner; k0 += 16u) {
    workgroupBarrier();
    if (lefts) {
      let k = left_word * 4u;
      left_panel[k][left_row] = vec4(next0.x, next1.x, next2.x, next3.x);
      left_panel[k + 1u][left_row] = vec4(next0.y, next1.y, next2.y, next3.y);
      left_panel[k + 2u][left_row] = vec4(next0.z, next1.z, next2.z, next3.z);
      left_panel[k + 3u][left_row] = vec4(next0.w, next1.w, next2.w, next3.w);
    } else if (SIDE == 16u) {
      right_panel[right_row][right_word] = next0;
      right_panel[right_row + step][right_word] = next1;
      right_panel[right_row + 2u * step][right_word] = next2;
      right_panel[right_row + 3u * step][right_word] = next3;
    }
    if (SIDE == 8u) {
      right_panel[right_row][right_word] = next_right0;
      right_panel[right_row + step][right_word] = next_right1;
      if (QUADS == 2u) {
        right_panel[right_row + 2u * step][right_word] = next_right2;
        right_panel[right_row + 3u * step][right_word] = next_right3;
      }
    }
    workgroupBarrier();
    at_left += 4u;
    at_right += 16u * p.columns4;
    if (k0 + 16u < p.inner) {
      if (lefts) {
        next0 = x[at_left];
        next1 = x[at_left + p.neurons4];
        next2 = x[at_left + 2u * p.neurons4];
        next3 = x[at_left + 3u * p.neurons4];
      } else if (SIDE == 16u) {
        next0 = right[at_right];
        next1 = right[at_right + step * p.columns4];
        next2 = right[at_right + 2u * step * p.columns4];
        next3 = right[at_right + 3u * step * p.columns4];
      }
      if (SIDE == 8u) {
        next_right0 = right[at_right];
        next_right1 = right[at_right + step * p.columns4];
        if (QUADS == 2u) {
          next_right2 = right[at_right + 2u * step * p.columns4];
          next_right3 = right[at_right + 3u * step * p.columns4];
        }
      }
    }
    for (var k = 0u; k < 16u; k++) { // unroll
      let a0 = left_panel[k][ty];
      let a1 = left_panel[k][SIDE + ty];
      let b0 = right_panel[k][tx];
      c0 = fma(vec4(a0.x), b0, c0);
      c1 = fma(vec4(a0.y), b0, c1);
      c2 = fma(vec4(a0.z), b0, c2);
      c3 = fma(vec4(a0.w), b0, c3);
      c4 = fma(vec4(a1.x), b0, c4);
      c5 = fma(vec4(a1.y), b0, c5);
      c6 = fma(vec4(a1.z), b0, c6);
      c7 = fma(vec4(a1.w), b0, c7);
      if (QUADS == 2u) {
        let b1 = right_panel[k][SIDE + tx];
        d0 = fma(vec4(a0.x), b1, d0);
        d1 = fma(vec4(a0.y), b1, d1);
        d2 = fma(vec4(a0.z), b1, d2);
        d3 = fma(vec4(a0.w), b1, d3);
        d4 = fma(vec4(a1.x), b1, d4);
        d5 = fma(vec4(a1.y), b1, d5);
        d6 = fma(vec4(a1.z), b1, d6);
        d7 = fma(vec4(a1.w), b1, d7);
      }
    }
  }
  let to = (row + ty * 4u) * p.columns4 + column4 + tx;
  let low = to + 4u * SIDE * p.columns4;
  result[to + 0u * p.columns4] = c0;
  result[to + 1u * p.columns4] = c1;
  result[to + 2u * p.columns4] = c2;
  result[to + 3u * p.columns4] = c3;
  result[low + 0u * p.columns4] = c4;
  result[low + 1u * p.columns4] = c5;
  result[low + 2u * p.columns4] = c6;
  result[low + 3u * p.columns4] = c7;
  if (QUADS == 2u) {
    result[to + 0u * p.columns4 + SIDE] = d0;
    result[to + 1u * p.columns4 + SIDE] = d1;
    result[to + 2u * p.columns4 + SIDE] = d2;
    result[to + 3u * p.columns4 + SIDE] = d3;
    result[low + 0u * p.columns4 + SIDE] = d4;
    result[low + 1u * p.columns4 + SIDE] = d5;
    result[low + 2u * p.columns4 + SIDE] = d6;
    result[low + 3u * p.columns4 + SIDE] = d7;
  }
}

@compute @workgroup_size(THREADS)
fn backward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  // Of 32 threads that run in step, 8 are next to one another and 4 below.
  let tx = t % 8u + t / 32u % (SIDE / 8u) * 8u;
  let ty = t / 8u % 4u + t / (SIDE * 4u) * 4u;
  let tile = group % (p.tiles_across * p.tiles_down);
  let slice = group / (p.tiles_across * p.tiles_down);
  let row4 = tile / p.tiles_across * LEFT;
  let column4 = tile % p.tiles_across * RIGHT;
  let begin = slice * p.slice;
  let end = min(begin + p.slice, p.inner);
  // X is already laid out by inner index.
  let left_row = t / LEFT;
  let left_word = t % LEFT;
  let right_row = t / RIGHT;
  let right_word = t % RIGHT;
  var at_left = (begin + left_row) * p.neurons4 + row4 + left_word;
  var at_right = (begin + right_row) * p.columns4 + column4 + right_word;
  let jump = THREADS / LEFT * p.neurons4;
  var next_left0 = vec4<f32>();
  var next_left1 = vec4<f32>();
  var next_left2 = vec4<f32>();
  var next_left3 = vec4<f32>();
  var next_right0 = vec4<f32>();
  var next_right1 = vec4<f32>();
  var next_right2 = vec4<f32>();
  var next_right3 = vec4<f32>();
  next_left0 = left_value(at_left);
  next_left1 = left_value(at_left + jump);
  if (SIDE == 8u) {
    next_left2 = left_value(at_left + 2u * jump);
    next_left3 = left_value(at_left + 3u * jump);
  }
  next_right0 = right[at_right];
  next_right1 = right[at_right + THREADS / RIGHT * p.columns4];
  if (SIDE * QUADS == 16u) {
    next_right2 = right[at_right + 2u * (THREADS / RIGHT) * p.columns4];
    next_right3 = right[at_right + 3u * (THREADS / RIGHT) * p.columns4];
  }
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  var s4 = vec4<f32>();
  var s5 = vec4<f32>();
  var s6 = vec4<f32>();
  var s7 = vec4<f32>();
  var u0 = vec4<f32>();
  var u1 = vec4<f32>();
  var u2 = vec4<f32>();
  var u3 = vec4<f32>();
  var u4 = vec4<f32>();
  var u5 = vec4<f32>();
  var u6 = vec4<f32>();
  var u7 = vec4<f32>();
  for (var chunk = begin; chunk < end; chunk += 1024u) {
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    var c4 = vec4<f32>();
    var c5 = vec4<f32>();
    var c6 = vec4<f32>();
    var c7 = vec4<f32>();
    var d0 = vec4<f32>();
    var d1 = vec4<f32>();
    var d2 = vec4<f32>();
    var d3 = vec4<f32>();
    var d4 = vec4<f32>();
    var d5 = vec4<f32>();
    var d6 = vec4<f32>();
    var d7 = vec4<f32>();
    for (var k0 = chunk; k0 < min(chunk + 1024u, end); k0 += 16u) {
      workgroupBarrier();
      left_panel[left_row][left_word] = next_left0;
      left_panel[left_row + THREADS / LEFT][left_word] = next_left1;
      if (SIDE == 8u) {
        left_panel[left_row + 2u * (THREADS / LEFT)][left_word] = next_left2;
        left_panel[left_row + 3u * (THREADS / LEFT)][left_word] = next_left3;
      }
      right_panel[right_row][right_word] = next_right0;
      right_panel[right_row + THREADS / RIGHT][right_word] = next_right1;
      if (SIDE * QUADS == 16u) {
        right_panel[right_row + 2u * (THREADS / RIGHT)][right_word] = next_right2;
        right_panel[right_row + 3u * (THREADS / RIGHT)][right_word] = next_right3;
      }
      workgroupBarrier();
      at_left += 16u * p.neurons4;
      at_right += 16u * p.columns4;
      if (k0 + 16u < end) {
        next_left0 = left_value(at_left);
        next_left1 = left_value(at_left + jump);
        if (SIDE == 8u) {
          next_left2 = left_value(at_left + 2u * jump);
          next_left3 = left_value(at_left + 3u * jump);
        }
        next_right0 = right[at_right];
        next_right1 = right[at_right + THREADS / RIGHT * p.columns4];
        if (SIDE * QUADS == 16u) {
          next_right2 = right[at_right + 2u * (THREADS / RIGHT) * p.columns4];
          next_right3 = right[at_right + 3u * (THREADS / RIGHT) * p.columns4];
        }
      }
      for (var k = 0u; k < 16u; k++) { // unroll
        let a0 = left_panel[k][ty];
        let a1 = left_panel[k][SIDE + ty];
        let b0 = right_panel[k][tx];
        c0 = fma(vec4(a0.x), b0, c0);
        c1 = fma(vec4(a0.y), b0, c1);
        c2 = fma(vec4(a0.z), b0, c2);
        c3 = fma(vec4(a0.w), b0, c3);
        c4 = fma(vec4(a1.x), b0, c4);
        c5 = fma(vec4(a1.y), b0, c5);
        c6 = fma(vec4(a1.z), b0, c6);
        c7 = fma(vec4(a1.w), b0, c7);
        if (QUADS == 2u) {
          let b1 = right_panel[k][SIDE + tx];
          d0 = fma(vec4(a0.x), b1, d0);
          d1 = fma(vec4(a0.y), b1, d1);
          d2 = fma(vec4(a0.z), b1, d2);
          d3 = fma(vec4(a0.w), b1, d3);
          d4 = fma(vec4(a1.x), b1, d4);
          d5 = fma(vec4(a1.y), b1, d5);
          d6 = fma(vec4(a1.z), b1, d6);
          d7 = fma(vec4(a1.w), b1, d7);
        }
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
    if (QUADS == 2u) {
      u0 += d0;
      u1 += d1;
      u2 += d2;
      u3 += d3;
      u4 += d4;
      u5 += d5;
      u6 += d6;
      u7 += d7;
    }
  }
  let to = (slice * p.tiles_down * LEFT * 4u + row4 * 4u + ty * 4u) * p.columns4 + column4 + tx;
  let low = to + 4u * SIDE * p.columns4;
  result[to + 0u * p.columns4] = s0;
  result[to + 1u * p.columns4] = s1;
  result[to + 2u * p.columns4] = s2;
  result[to + 3u * p.columns4] = s3;
  result[low + 0u * p.columns4] = s4;
  result[low + 1u * p.columns4] = s5;
  result[low + 2u * p.columns4] = s6;
  result[low + 3u * p.columns4] = s7;
  if (QUADS == 2u) {
    result[to + 0u * p.columns4 + SIDE] = u0;
    result[to + 1u * p.columns4 + SIDE] = u1;
    result[to + 2u * p.columns4 + SIDE] = u2;
    result[to + 3u * p.columns4 + SIDE] = u3;
    result[low + 0u * p.columns4 + SIDE] = u4;
    result[low + 1u * p.columns4 + SIDE] = u5;
    result[low + 2u * p.columns4 + SIDE] = u6;
    result[low + 3u * p.columns4 + SIDE] = u7;
  }
}

// 64 samples, one a thread; 32 neurons of each at a time. A word more a sample than there is: threads next to one another read
// from other banks.
const FEW_WORDS: u32 = 8u;
const FEW_STRIDE: u32 = 9u;
var<workgroup> few_left: array<vec4<f32>, 576>;
var<workgroup> few_right: array<vec4<f32>, 32>;

@compute @workgroup_size(64)
fn forward_few(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = p.first + id.y * count.x + id.x;
  if (group >= p.groups) {
    return;
  }
  let row = group / p.tiles_across * 64u;
  let column4 = group % p.tiles_across;
  // Eight threads read the words of a sample, so each reads from eight samples.
  let word = t % FEW_WORDS;
  let at = t / FEW_WORDS;
  var from_left = (row + at) * p.neurons4 + word;
  let jump = 8u * p.neurons4;
  var sum = vec4<f32>();
  for (var k4 = 0u; k4 < p.neurons4; k4 += FEW_WORDS) {
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) { // unroll
      few_left[(at + i * 8u) * FEW_STRIDE + word] = x[from_left + i * jump];
    }
    if (t < 4u * FEW_WORDS) {
      few_right[t] = right[(k4 * 4u + t) * p.columns4 + column4];
    }
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) { // unroll
      let a = few_left[t * FEW_STRIDE + i];
      sum = fma(vec4(a.x), few_right[i * 4u], sum);
      sum = fma(vec4(a.y), few_right[i * 4u + 1u], sum);
      sum = fma(vec4(a.z), few_right[i * 4u + 2u], sum);
      sum = fma(vec4(a.w), few_right[i * 4u + 3u], sum);
    }
    from_left += FEW_WORDS;
  }
  result[(row + t) * p.columns4 + column4] = sum;
}

@compute @workgroup_size(64)
fn backward_few(
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
  let column4 = tile % p.tiles_across;
  // Four neurons a thread.
  let row4 = tile / p.tiles_across * 64u + t;
  if (row4 >= p.neurons4) {
    return;
  }
  let begin = slice * p.slice;
  let end = min(begin + p.slice, p.inner);
  var s0 = vec4<f32>();
  var s1 = vec4<f32>();
  var s2 = vec4<f32>();
  var s3 = vec4<f32>();
  for (var chunk = begin; chunk < end; chunk += 1024u) {
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    for (var i0 = chunk; i0 < min(chunk + 1024u, end); i0 += 8u) {
      for (var i = 0u; i < 8u; i++) { // unroll
        let a = left_value((i0 + i) * p.neurons4 + row4);
        let b = right[(i0 + i) * p.columns4 + column4];
        c0 = fma(vec4(a.x), b, c0);
        c1 = fma(vec4(a.y), b, c1);
        c2 = fma(vec4(a.z), b, c2);
        c3 = fma(vec4(a.w), b, c3);
      }
    }
    s0 += c0;
    s1 += c1;
    s2 += c2;
    s3 += c3;
  }
  let to = (slice * p.neurons4 + row4) * 4u * p.columns4 + column4;
  result[to] = s0;
  result[to + p.columns4] = s1;
  result[to + 2u * p.columns4] = s2;
  result[to + 3u * p.columns4] = s3;
}
