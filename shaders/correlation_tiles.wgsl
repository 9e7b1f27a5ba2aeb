// Correlation, second part: what is kept of finished tiles, so that they need not come to the host.
//
//   r_ij = (g_ij / N - m_i m_j) * n_i * n_j, within [-1, 1]
//   pairs: those whose |r| reaches the cut of either neuron or of all, as their place in g with the value there;
//   how many r fall into each of 200 bins, and by tile the sums of r, r^2, r^3, r^4 and |r|          reduce
//   by rectangle of a tile, which holds the pairs of two layers: the sums of |r| and (r s_i s_j)^2, and the largest |r|
//                                                                                                    layers
//
// The host takes r of the pairs from g itself, so what it keeps has the digits that it would have found. One workgroup of
// SIDE x SIDE threads a tile or a rectangle, 64 values a thread in runs of eight: the order of all sums is fixed. Counts are
// integers, so the order in which they are added does not matter; neither does that of the pairs, which varies.

struct Tile {
  // In tiles.
  left: u32,
  right: u32,
  // Neurons in it; the rest is padding.
  rows: u32,
  columns: u32,
}

struct Column {
  // What the rounding of the shift leaves of the mean.
  residual: f32,
  // 1/sd; 0 of a constant neuron.
  norm: f32,
  // |r| from which on a pair is worth telling.
  cut: f32,
  // Standard deviation as a share of the largest of its layer.
  size: f32,
}

// Rows from top to bottom and columns from first to last, the ends left out.
struct Rectangle {
  tile: u32,
  top: u32,
  bottom: u32,
  first: u32,
  last: u32,
}

struct Reduction {
  // 1/N.
  share: f32,
  // |r| from which on a pair is worth telling, whatever its neurons.
  least: f32,
  // The first tile or rectangle of this dispatch, and how many there are.
  first: u32,
  count: u32,
  // Pairs that there is room for.
  capacity: u32,
  padding0: u32,
  padding1: u32,
  padding2: u32,
}

// Threads along a side of a workgroup, all of them, and values along a side of a tile.
override SIDE: u32 = 8u;
override THREADS: u32 = 64u;
override EDGE: u32 = 64u;

@group(0) @binding(0) var<storage, read> g: array<f32>; // tiles, each row by row
@group(0) @binding(1) var<storage, read> tiles: array<Tile>;
@group(0) @binding(2) var<storage, read> columns: array<Column>; // with the padding
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>; // pairs told, then the bins
@group(0) @binding(4) var<storage, read_write> pairs: array<vec2<u32>>; // place in g, bits of the value there
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // five a tile
var<immediate> p: Reduction;

@group(0) @binding(3) var<storage, read> rectangles: array<Rectangle>;
@group(0) @binding(4) var<storage, read_write> of_layers: array<f32>; // three a rectangle
var<immediate> q: Reduction;

var<workgroup> bins: array<atomic<u32>, 200>;
var<workgroup> powers: array<vec4<f32>, THREADS>;
var<workgroup> sizes: array<f32, THREADS>;

fn correlation(value: f32, share: f32, left: Column, right: Column) -> f32 {
  let covariance = value * share - left.residual * right.residual;
  return clamp(covariance * left.norm * right.norm, -1.0, 1.0);
}

@compute @workgroup_size(THREADS)
fn reduce(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  if (group >= p.count) {
    return;
  }
  let slot = p.first + group;
  let tile = tiles[slot];
  for (var bin = thread; bin < 200u; bin += THREADS) {
    atomicStore(&bins[bin], 0u);
  }
  workgroupBarrier();
  var power = vec4<f32>();
  var size = 0.0;
  for (var run = 0u; run < 8u; run++) {
    var power_of_run = vec4<f32>();
    var size_of_run = 0.0;
    for (var step = 0u; step < 8u; step++) {
      let at = (run * 8u + step) * THREADS + thread;
      let row = at / EDGE;
      let column = at % EDGE;
      if (row < tile.rows && column < tile.columns) {
        let left = columns[tile.left * EDGE + row];
        let right = columns[tile.right * EDGE + column];
        let place = slot * EDGE * EDGE + at;
        let value = g[place];
        let r = correlation(value, p.share, left, right);
        if (abs(r) >= min(p.least, min(left.cut, right.cut))) {
          let number = atomicAdd(&counts[0], 1u);
          if (number < p.capacity) {
            pairs[number] = vec2(place, bitcast<u32>(value));
          }
        }
        atomicAdd(&bins[min(u32((r + 1.0) * 100.0), 199u)], 1u);
        let square = r * r;
        power_of_run += vec4(r, square, square * r, square * square);
        size_of_run += abs(r);
      }
    }
    power += power_of_run;
    size += size_of_run;
  }
  powers[thread] = power;
  sizes[thread] = size;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      powers[thread] += powers[thread + half];
      sizes[thread] += sizes[thread + half];
    }
  }
  workgroupBarrier();
  if (thread == 0u) {
    sums[slot * 5u] = powers[0].x;
    sums[slot * 5u + 1u] = powers[0].y;
    sums[slot * 5u + 2u] = powers[0].z;
    sums[slot * 5u + 3u] = powers[0].w;
    sums[slot * 5u + 4u] = sizes[0];
  }
  for (var bin = thread; bin < 200u; bin += THREADS) {
    let count = atomicLoad(&bins[bin]);
    if (count > 0u) {
      atomicAdd(&counts[1u + bin], count);
    }
  }
}

@compute @workgroup_size(THREADS)
fn layers(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.y * groups.x + id.x;
  if (group >= q.count) {
    return;
  }
  let number = q.first + group;
  let rectangle = rectangles[number];
  let tile = tiles[rectangle.tile];
  let width = rectangle.last - rectangle.first;
  let values = (rectangle.bottom - rectangle.top) * width;
  var size = 0.0;
  var largest = 0.0;
  var squares = 0.0;
  for (var start = thread; start < values; start += 8u * THREADS) {
    var size_of_run = 0.0;
    var squares_of_run = 0.0;
    for (var at = start; at < min(start + 8u * THREADS, values); at += THREADS) {
      let row = rectangle.top + at / width;
      let column = rectangle.first + at % width;
      let left = columns[tile.left * EDGE + row];
      let right = columns[tile.right * EDGE + column];
      let r = correlation(g[(rectangle.tile * EDGE + row) * EDGE + column], q.share, left, right);
      let covariance = r * left.size * right.size;
      size_of_run += abs(r);
      squares_of_run += covariance * covariance;
      largest = max(largest, abs(r));
    }
    size += size_of_run;
    squares += squares_of_run;
  }
  powers[thread] = vec4(size, squares, largest, 0.0);
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      let other = powers[thread + half];
      let mine = powers[thread];
      powers[thread] = vec4(mine.xy + other.xy, max(mine.z, other.z), 0.0);
    }
  }
  workgroupBarrier();
  if (thread == 0u) {
    of_layers[number * 3u] = powers[0].x;
    of_layers[number * 3u + 1u] = powers[0].y;
    of_layers[number * 3u + 2u] = powers[0].z;
  }
}
