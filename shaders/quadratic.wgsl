// Quadratic: elastic-net quadratic programmes, min_u g.(u - w) + 1/2 (u - w).H (u - w) + sum_j l1_j |u_j| + 1/2 mu_j u_j^2,
// many at once, each with a phase of its own. One tick is three dispatches over all programmes of a shelf:
//
//   blocks:  writes a direction d, one workgroup a (programme, class block)
//   product: y = H d, one workgroup a (programme, 8 rows)
//   advance: takes the step and chooses the next phase, one workgroup a programme
//
// A programme's work depends on itself alone: fixed rows, fixed trees of sums, no atomics. Vectors are planes of
// `params.plane` values, in each of which a programme has its range; H has rows of `stride` values, a multiple of 4, zeros at
// their ends.

struct Params {
  // Values of a plane: the padded entries of all programmes.
  plane: u32,
  // Workgroups in all.
  groups: u32,
  // Padding to 16 bytes.
  unused0: u32,
  unused1: u32,
}

struct Programme {
  // Entries.
  n: u32,
  // Values from one row of H to the next.
  stride: u32,
  // Where H starts.
  matrix: u32,
  // Where its range of every plane starts.
  first: u32,
  // Ticks that it may take.
  steps: u32,
  // KKT residual at which it is done.
  tolerance: f32,
  // Padding to 32 bytes.
  unused0: u32,
  unused1: u32,
}

struct State {
  // What the next tick does.
  phase: u32,
  // Ticks so far.
  steps: u32,
  // Descents or iterations of this phase so far.
  round: u32,
  // Ticks that swept the class blocks: descents.
  swept: u32,
  // r.z of the iteration before.
  rz: f32,
  // Residual of the face at which the conjugate gradients stop.
  goal: f32,
  // Step length that the projection tries.
  t: f32,
  // KKT residual.
  residual: f32,
}

// Coordinate descent on every class block, then an exact step along what came of it.
const DESCEND: u32 = 0u;
// H (u - w) afresh, and the KKT residual.
const REFRESH: u32 = 1u;
// Conjugate gradients on the entries that are not zero, preconditioned by the diagonal.
const FACE: u32 = 2u;
// The step to where they led, entries that would change sign stopping at zero.
const PROJECT: u32 = 3u;
const DONE: u32 = 4u;

// Descents of one phase, iterations of one phase, the share of the face's residual that ends them.
const DESCENTS: u32 = 2u;
const ITERATIONS: u32 = 60u;
const REDUCTION: f32 = 0.3;

// Planes.
const U: u32 = 0u; // the point
const W: u32 = 1u; // where it started
const HD: u32 = 2u; // H (u - w)
const D: u32 = 3u; // direction
const Y: u32 = 4u; // H d
const Q: u32 = 5u; // gradient inside a block as its sweep goes on
const R: u32 = 6u; // residual on the face
const X: u32 = 7u; // step on the face
const P: u32 = 8u; // conjugate direction
const HP: u32 = 9u; // H p

@group(0) @binding(0) var<storage, read> h: array<f32>;
@group(0) @binding(0) var<storage, read> h4: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> programmes: array<Programme>;
@group(0) @binding(2) var<storage, read> entries: array<vec4<f32>>; // g, l1, mu, scale
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> v4: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> now: array<State>;
@group(0) @binding(4) var<storage, read_write> state: array<State>;
@group(0) @binding(5) var<storage, read> work: array<vec4<u32>>; // programme, start, to
var<immediate> params: Params;

// ---- blocks ----

// One diagonal tile of 32 x 32, and 32 entries of what its sweep reads and writes.
var<workgroup> tile: array<vec4<f32>, 256>;
var<workgroup> tile_q: array<vec4<f32>, 8>;
var<workgroup> tile_start: array<f32, 32>;
var<workgroup> tile_delta: array<f32, 32>;
var<workgroup> tile_limit: array<f32, 32>;
var<workgroup> tile_mu: array<f32, 32>;
var<workgroup> tile_moved: array<f32, 32>;
var<workgroup> any_moved: u32;

fn is_on_face(u: f32, l1: f32) -> bool {
  return u != 0.0 || l1 == 0.0;
}

// Coordinate descent over the tile, one entry after the other: too short a chain to share between threads.
fn sweep_tile(size: u32, forward: bool) {
  any_moved = 0u;
  for (var step = 0u; step < size; step += 1u) {
    let a = select(size - 1u - step, step, forward);
    let curvature = tile[a * 8u + a / 4u][a % 4u];
    let value = tile_start[a] + tile_delta[a];
    let pull = curvature * value - tile_q[a / 4u][a % 4u];
    let stiffness = curvature + tile_mu[a];
    let next = sign(pull) * max(abs(pull) - tile_limit[a], 0.0) / stiffness;
    let delta = next - tile_start[a];
    let change = delta - tile_delta[a];
    if (change != 0.0 && stiffness > 0.0) {
      for (var b = 0u; b < 8u; b += 1u) {
        tile_q[b] += change * tile[a * 8u + b];
      }
      tile_delta[a] = delta;
      tile_moved[a] = change;
      any_moved = 1u;
    }
  }
}

@compute @workgroup_size(128)
fn blocks(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = id.y * count.x + id.x;
  if (group >= params.groups) {
    return;
  }
  let item = work[group];
  let programme = programmes[item.x];
  let s = now[item.x];
  if (s.phase == DONE) {
    return;
  }
  let start = programme.first + item.y;
  let size = item.z - item.y;
  let plane = params.plane;
  if (s.phase != DESCEND) {
    for (var k = start + t; k < start + size; k += 128u) {
      let u = v[U * plane + k];
      if (s.phase == REFRESH) {
        v[D * plane + k] = u - v[W * plane + k];
      } else if (s.phase == FACE) {
        let own = k - programme.first;
        let stiffness = h[programme.matrix + own * programme.stride + own] + entries[k].z;
        // The residual of an entry that is not on the face is zero.
        v[D * plane + k] = select(0.0, v[R * plane + k] / stiffness, stiffness > 0.0);
      } else {
        let to = u + s.t * v[X * plane + k];
        v[D * plane + k] = select(to, 0.0, entries[k].y > 0.0 && to * u < 0.0) - u;
      }
    }
    return;
  }
  for (var k = start + t; k < start + size; k += 128u) {
    v[D * plane + k] = 0.0;
    v[Q * plane + k] = entries[k].x + v[HD * plane + k];
  }
  let tiles = (size + 31u) / 32u;
  // There and back: two sweeps for one product with H.
  for (var turn = 0u; turn < 2u * tiles; turn += 1u) {
    let forward = turn < tiles;
    let tile_from = select(2u * tiles - 1u - turn, turn, forward) * 32u;
    let tile_size = min(32u, size - tile_from);
    let corner = programme.matrix + (item.y + tile_from) * programme.stride + item.y;
    storageBarrier();
    workgroupBarrier();
    for (var i = t; i < 256u; i += 128u) {
      let row = i / 8u;
      let column = (i % 8u) * 4u;
      var values = vec4<f32>();
      for (var part = 0u; part < 4u; part += 1u) {
        if (row < tile_size && column + part < tile_size) {
          values[part] = h[corner + row * programme.stride + tile_from + column + part];
        }
      }
      tile[i] = values;
    }
    if (t < 8u) {
      // Whole vectors: two threads may not write components of the same one.
      var values = vec4<f32>();
      for (var part = 0u; part < 4u; part += 1u) {
        if (t * 4u + part < tile_size) {
          values[part] = v[Q * plane + start + tile_from + t * 4u + part];
        }
      }
      tile_q[t] = values;
    }
    if (t < tile_size) {
      let k = start + tile_from + t;
      let entry = entries[k];
      tile_start[t] = v[U * plane + k];
      tile_delta[t] = v[D * plane + k];
      tile_limit[t] = entry.y;
      tile_mu[t] = entry.z;
      tile_moved[t] = 0.0;
    }
    workgroupBarrier();
    if (t == 0u) {
      sweep_tile(tile_size, forward);
    }
    workgroupBarrier();
    if (any_moved == 1u) {
      for (var k = t; k < size; k += 128u) {
        if (k >= tile_from && k < tile_from + tile_size) {
          let inside = k - tile_from;
          v[Q * plane + start + k] = tile_q[inside / 4u][inside % 4u];
          v[D * plane + start + k] = tile_delta[inside];
        } else {
          var sum = 0.0;
          for (var a = 0u; a < tile_size; a += 1u) {
            let moved = tile_moved[a];
            if (moved != 0.0) {
              sum = fma(moved, h[corner + a * programme.stride + k], sum);
            }
          }
          v[Q * plane + start + k] += sum;
        }
      }
    }
  }
}

// ---- product ----

// Partial sums of 8 rows, 16 threads a row.
var<workgroup> slices: array<f32, 128>;

@compute @workgroup_size(128)
fn product(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = id.y * count.x + id.x;
  if (group >= params.groups) {
    return;
  }
  let item = work[group];
  let programme = programmes[item.x];
  if (now[item.x].phase == DONE) {
    return;
  }
  let row = item.y + t / 16u;
  let stride4 = programme.stride / 4u;
  let d4 = (D * params.plane + programme.first) / 4u;
  var sums = vec4<f32>();
  if (row < programme.n) {
    let row4 = programme.matrix / 4u + row * stride4;
    for (var k = t % 16u; k < stride4; k += 16u) {
      sums = fma(h4[row4 + k], v4[d4 + k], sums);
    }
  }
  slices[t] = (sums.x + sums.y) + (sums.z + sums.w);
  workgroupBarrier();
  // Whole vectors: two threads may not write components of the same one. Rows below the last are zero.
  let own = item.y + t * 4u;
  if (t < 2u && own < programme.stride) {
    var sum = vec4<f32>();
    for (var part = 0u; part < 4u; part += 1u) {
      for (var k = 0u; k < 16u; k += 1u) {
        sum[part] += slices[t * 64u + part * 16u + k];
      }
    }
    v4[(Y * params.plane + programme.first + own) / 4u] = sum;
  }
}

// ---- advance ----

var<workgroup> totals: array<vec2<f32>, 256>;
var<workgroup> shared_state: State;

// The sums of both components over all threads.
fn total(t: u32, value: vec2<f32>) -> vec2<f32> {
  totals[t] = value;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (t < half) {
      totals[t] += totals[t + half];
    }
  }
  return workgroupUniformLoad(&totals[0]);
}

// The largest of both components over all threads.
fn largest(t: u32, value: vec2<f32>) -> vec2<f32> {
  totals[t] = value;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (t < half) {
      totals[t] = max(totals[t], totals[t + half]);
    }
  }
  return workgroupUniformLoad(&totals[0]);
}

// The minimum-norm subgradient where the smooth part's gradient is q (mu u included).
fn subgradient(u: f32, q: f32, l1: f32) -> f32 {
  return select(q + l1 * sign(u), sign(q) * max(abs(q) - l1, 0.0), u == 0.0);
}

// u += t d and H (u - w) += t H d.
fn take(first: u32, n: u32, t: u32, length: f32) {
  for (var k = first + t; k < first + n; k += 256u) {
    v[U * params.plane + k] += length * v[D * params.plane + k];
    v[HD * params.plane + k] += length * v[Y * params.plane + k];
  }
}

// What the objective changes by along d: its slope at u, with |u| followed to where it goes, and d.(H + mu) d.
fn change_along(first: u32, n: u32, t: u32) -> vec2<f32> {
  var sums = vec2<f32>();
  for (var k = first + t; k < first + n; k += 256u) {
    let d = v[D * params.plane + k];
    if (d != 0.0) {
      let entry = entries[k];
      let u = v[U * params.plane + k];
      let q = entry.x + v[HD * params.plane + k] + entry.z * u;
      // Where the sign stays, the two large terms cancel before they are multiplied.
      let steep = select(d * q + entry.y * (abs(u + d) - abs(u)), d * (q + entry.y * sign(u)), u != 0.0 && u * (u + d) >= 0.0);
      sums += vec2<f32>(steep, d * (v[Y * params.plane + k] + entry.z * d));
    }
  }
  return total(t, sums);
}

fn descended(programme: Programme, before: State, t: u32) -> State {
  var s = before;
  let change = change_along(programme.first, programme.n, t);
  s.round += 1u;
  s.swept += 1u;
  if (change.x < 0.0 && change.y > 0.0) {
    take(programme.first, programme.n, t, min(1.0, -change.x / change.y));
  } else {
    s.round = DESCENTS;
  }
  if (s.round >= DESCENTS || s.steps >= programme.steps) {
    s.phase = REFRESH;
  }
  return s;
}

fn refreshed(programme: Programme, before: State, t: u32) -> State {
  var s = before;
  let plane = params.plane;
  // Over all entries, and over those of the face.
  var worst = vec2<f32>();
  for (var k = programme.first + t; k < programme.first + programme.n; k += 256u) {
    let entry = entries[k];
    let u = v[U * plane + k];
    let hd = v[Y * plane + k];
    v[HD * plane + k] = hd;
    let sub = subgradient(u, entry.x + hd + entry.z * u, entry.y);
    let on = is_on_face(u, entry.y);
    v[R * plane + k] = select(0.0, -sub, on);
    v[X * plane + k] = 0.0;
    v[P * plane + k] = 0.0;
    v[HP * plane + k] = 0.0;
    worst = max(worst, vec2<f32>(abs(sub), select(0.0, abs(sub), on)) / entry.w);
  }
  worst = largest(t, worst);
  s.residual = worst.x;
  s.round = 0u;
  s.rz = 0.0;
  s.goal = max(REDUCTION * worst.y, 0.5 * programme.tolerance);
  if (worst.x <= programme.tolerance || s.steps >= programme.steps) {
    s.phase = DONE;
  } else if (worst.y > s.goal) {
    s.phase = FACE;
  } else {
    s.phase = DESCEND;
  }
  return s;
}

fn iterated(programme: Programme, before: State, t: u32) -> State {
  var s = before;
  let plane = params.plane;
  let end = programme.first + programme.n;
  s.phase = PROJECT; // unless there is more to do
  s.t = 1.0;
  s.round += 1u;
  var sum = 0.0;
  for (var k = programme.first + t; k < end; k += 256u) {
    sum = fma(v[R * plane + k], v[D * plane + k], sum);
  }
  let rz = total(t, vec2<f32>(sum, 0.0)).x;
  if (!(rz > 0.0)) {
    return s;
  }
  let beta = select(0.0, rz / s.rz, s.rz > 0.0);
  s.rz = rz;
  // H p follows from H z by the recurrence of p.
  sum = 0.0;
  for (var k = programme.first + t; k < end; k += 256u) {
    let p = fma(beta, v[P * plane + k], v[D * plane + k]);
    let hp = fma(beta, v[HP * plane + k], v[Y * plane + k]);
    v[P * plane + k] = p;
    v[HP * plane + k] = hp;
    sum = fma(p, fma(entries[k].z, p, hp), sum);
  }
  let pap = total(t, vec2<f32>(sum, 0.0)).x;
  if (!(pap > 0.0)) {
    return s;
  }
  let alpha = rz / pap;
  var worst = 0.0;
  for (var k = programme.first + t; k < end; k += 256u) {
    let entry = entries[k];
    if (is_on_face(v[U * plane + k], entry.y)) {
      let p = v[P * plane + k];
      let r = fma(-alpha, fma(entry.z, p, v[HP * plane + k]), v[R * plane + k]);
      v[X * plane + k] += alpha * p;
      v[R * plane + k] = r;
      worst = max(worst, abs(r) / entry.w);
    }
  }
  worst = largest(t, vec2<f32>(worst, 0.0)).x;
  if (worst > s.goal && s.round < ITERATIONS && s.steps < programme.steps) {
    s.phase = FACE;
  }
  return s;
}

fn projected(programme: Programme, before: State, t: u32) -> State {
  var s = before;
  let change = change_along(programme.first, programme.n, t);
  if (change.x + 0.5 * change.y <= 0.0) {
    take(programme.first, programme.n, t, 1.0);
    s.phase = DESCEND;
  } else {
    s.t *= REDUCTION;
    if (s.t <= 1e-3) {
      s.phase = DESCEND;
    }
  }
  s.round = 0u;
  return s;
}

@compute @workgroup_size(256)
fn advance(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) t: u32,
) {
  let group = id.y * count.x + id.x;
  if (group >= params.groups) {
    return;
  }
  let place = work[group].x;
  let programme = programmes[place];
  if (t == 0u) {
    shared_state = state[place];
  }
  var s = workgroupUniformLoad(&shared_state);
  let phase = s.phase;
  if (phase == DONE) {
    return;
  }
  s.steps += 1u;
  if (phase == DESCEND) {
    s = descended(programme, s, t);
  } else if (phase == REFRESH) {
    s = refreshed(programme, s, t);
  } else if (phase == FACE) {
    s = iterated(programme, s, t);
  } else {
    s = projected(programme, s, t);
  }
  if (t == 0u) {
    state[place] = s;
  }
}
