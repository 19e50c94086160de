// Statistics of the channels of each feature map, normalization, and its gradients.
//
// A reduction over the pixels runs in two stages, in an order that is always the same: each block reduces a tile of
// pixels to one partial result per channel, `(N, tiles, C)`, and a second kernel reduces the tiles.
//
// A block works on `columns` words of VEC channels and as many rows of pixels as its threads give.

struct Lane {
  int column, row, rows;  // of this thread: its word among the block's, its first pixel, the step to the next
  int c;                  // its first channel
  bool works;
  METHOD Lane(int C, int columns) {
    column = threadIdx.x % columns;
    row = threadIdx.x / columns;
    rows = THREADS / columns;
    c = (blockIdx.y * columns + column) * VEC;
    works = row < rows && c < C;
  }
};

// Mean and sum of squared deviations of `count` numbers, joined from those of two sets (Chan 1979).
struct Statistics {
  float count, mean, m2;
  METHOD void join(float n, float other_mean, float other_m2) {
    if (n == 0.f) return;
    const float total = count + n, d = other_mean - mean;
    mean += d * (n / total);
    m2 += other_m2 + d * d * (count * n / total);
    count = total;
  }
};

// partial[n][tile][c] = (mean, sum of squared deviations) over the tile's pixels, by Welford's update: stable
// whatever the mean is. Grid: tiles, groups of columns, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) statistics(
    const real* __restrict__ x, float2* __restrict__ partial, int P, int C, int tile, int columns) {
  __shared__ float2 found[THREADS][VEC];
  const Lane s(C, columns);
  const int begin = blockIdx.x * tile, count = min(tile, P - begin);
  const real* from = x + (static_cast<size_t>(blockIdx.z) * P + begin) * C + s.c;
  if (s.works) {
    float mean[VEC] = {}, m2[VEC] = {};
    int seen = 0;
    for (int p = s.row; p < count; p += s.rows) {
      float v[VEC];
      load(v, from + static_cast<size_t>(p) * C);
      const float share = 1.f / ++seen;
#pragma unroll
      for (int i = 0; i < VEC; i++) {
        const float d = v[i] - mean[i];
        mean[i] += d * share;
        m2[i] += d * (v[i] - mean[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < VEC; i++) found[threadIdx.x][i] = make_float2(mean[i], m2[i]);
  }
  __syncthreads();
  for (int k = threadIdx.x; k < columns * VEC; k += THREADS) {
    const int c = blockIdx.y * columns * VEC + k;
    if (c >= C) break;
    Statistics all = {0.f, 0.f, 0.f};
    for (int row = 0; row < min(s.rows, count); row++) {
      const float2 part = found[row * columns + k / VEC][k % VEC];
      all.join(ceil_div(count - row, s.rows), part.x, part.y);
    }
    partial[(static_cast<size_t>(blockIdx.z) * gridDim.x + blockIdx.x) * C + c] = make_float2(all.mean, all.m2);
  }
}

// Scale and shift of number i of (N, C). Gamma and beta are those of its feature map, or with `rows` = 1 of all.
struct Affine {
  float rstd, scale, shift;
  METHOD Affine(const float* gamma, const float* beta, int i, int C, int rows, float mean, float variance, float eps) {
    const int row = rows == 1 ? i % C : i;
    rstd = rsqrtf(variance + eps);
    scale = gamma[row] * rstd;
    shift = beta[row] - scale * mean;
  }
};

constexpr int JOINING = THREADS / CHANNELS;  // threads that join the tiles of a channel

// Join the tiles of `statistics` (or of a convolution), TH x TW pixels each of H x W: mean (N, C), and the biased
// variance, or, with gamma and beta, what `scale_and_shift` makes of it. Of a feature map there are `phases` of H x W
// pixels, one after the other. CHANNELS channels to a block, JOINING threads to a channel. Grid: groups of CHANNELS
// channels, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) join_statistics(
    const float2* __restrict__ partial, const float* __restrict__ gamma, const float* __restrict__ beta,
    float* __restrict__ mean, float* __restrict__ variance, float* __restrict__ rstd, float* __restrict__ scale,
    float* __restrict__ shift, int H, int W, int C, int TH, int TW, int phases, int rows, float eps) {
  __shared__ Statistics found[JOINING][CHANNELS + 1];
  const int c = blockIdx.x * CHANNELS + threadIdx.x % CHANNELS, lane = threadIdx.x / CHANNELS;
  const int across = ceil_div(W, TW), tiles = ceil_div(H, TH) * across;
  const float2* from = partial + static_cast<size_t>(blockIdx.y) * phases * tiles * C + c;
  Statistics mine = {0.f, 0.f, 0.f};
  if (c < C)
    for (int i = lane; i < phases * tiles; i += JOINING) {
      const float2 part = from[static_cast<size_t>(i) * C];
      const int t = i % tiles;
      mine.join(min(TH, H - t / across * TH) * min(TW, W - t % across * TW), part.x, part.y);
    }
  for (int by = JOINING / 2; by; by /= 2) {
    found[lane][threadIdx.x % CHANNELS] = mine;
    __syncthreads();
    if (lane < by) {
      const Statistics part = found[lane + by][threadIdx.x % CHANNELS];
      mine.join(part.count, part.mean, part.m2);
    }
    __syncthreads();
  }
  if (lane != 0 || c >= C) return;
  const int i = blockIdx.y * C + c;
  const float spread = mine.m2 / mine.count;
  mean[i] = mine.mean;
  if (variance) variance[i] = spread;
  if (!gamma) return;
  const Affine affine(gamma, beta, i, C, rows, mine.mean, spread, eps);
  rstd[i] = affine.rstd;
  scale[i] = affine.scale;
  shift[i] = affine.shift;
}

// rstd = 1/sqrt(variance + eps), scale and shift (N, C) for `normalize`, from gamma and beta (N, C), or (1, C) with
// `rows` = 1. Grid: numbers of a result.
extern "C" __global__ void __launch_bounds__(THREADS) scale_and_shift(
    const float* __restrict__ mean, const float* __restrict__ variance, const float* __restrict__ gamma,
    const float* __restrict__ beta, float* __restrict__ rstd, float* __restrict__ scale, float* __restrict__ shift,
    int C, int rows, float eps, int count) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const Affine affine(gamma, beta, i, C, rows, mean[i], variance[i], eps);
  rstd[i] = affine.rstd;
  scale[i] = affine.scale;
  shift[i] = affine.shift;
}

// y = x·scale + shift + residual, then ReLU if asked for. Grid: words of a feature map, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) normalize(
    const real* __restrict__ x, const float* __restrict__ scale, const float* __restrict__ shift,
    const real* __restrict__ residual, real* __restrict__ y, int P, int C, int relu) {
  const int words = P * (C / VEC), i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= words) return;
  const int row = blockIdx.y * C + i % (C / VEC) * VEC;
  const size_t at = (static_cast<size_t>(blockIdx.y) * words + i) * VEC;
  float v[VEC], r[VEC] = {};
  load(v, x + at);
  if (residual) load(r, residual + at);
#pragma unroll
  for (int k = 0; k < VEC; k++) {
    v[k] = v[k] * scale[row + k] + shift[row + k] + r[k];
    if (relu) v[k] = max(v[k], 0.f);
  }
  store(y + at, v);
}

// The gradient at a word of pixels: g, or 0 where the ReLU's output y is 0.
DEVICE void load_gradient(float (&g)[VEC], const real* from, const real* y, size_t at) {
  load(g, from + at);
  if (!y) return;
  float out[VEC];
  load(out, y + at);
#pragma unroll
  for (int k = 0; k < VEC; k++) g[k] = out[k] > 0.f ? g[k] : 0.f;
}

// partial[n][tile][c] = (Σ g, Σ g·x̂) over the tile's pixels, x̂ = (x - mean)·rstd. Without x: (Σ g, 0).
// Grid: tiles, groups of columns, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) gradient_sums(
    const real* __restrict__ g, const real* __restrict__ x, const real* __restrict__ y, const float* __restrict__ mean,
    const float* __restrict__ rstd, float2* __restrict__ partial, int P, int C, int tile, int columns) {
  __shared__ float2 found[THREADS][VEC];
  const Lane s(C, columns);
  const int begin = blockIdx.x * tile, count = min(tile, P - begin), n = blockIdx.z;
  if (s.works) {
    float sum[VEC] = {}, dot[VEC] = {}, mu[VEC] = {}, r[VEC] = {};
#pragma unroll
    for (int k = 0; k < VEC; k++)
      if (x) mu[k] = mean[n * C + s.c + k], r[k] = rstd[n * C + s.c + k];
    for (int p = s.row; p < count; p += s.rows) {
      const size_t at = (static_cast<size_t>(n) * P + begin + p) * C + s.c;
      float d[VEC], v[VEC] = {};
      load_gradient(d, g, y, at);
      if (x) load(v, x + at);
#pragma unroll
      for (int k = 0; k < VEC; k++) {
        sum[k] += d[k];
        dot[k] += d[k] * ((v[k] - mu[k]) * r[k]);
      }
    }
#pragma unroll
    for (int k = 0; k < VEC; k++) found[threadIdx.x][k] = make_float2(sum[k], dot[k]);
  }
  __syncthreads();
  for (int k = threadIdx.x; k < columns * VEC; k += THREADS) {
    const int c = blockIdx.y * columns * VEC + k;
    if (c >= C) break;
    float2 all = make_float2(0.f, 0.f);
    for (int row = 0; row < s.rows; row++) {
      const float2 part = found[row * columns + k / VEC][k % VEC];
      all.x += part.x;
      all.y += part.y;
    }
    partial[(static_cast<size_t>(n) * gridDim.x + blockIdx.x) * C + c] = all;
  }
}

// Join the tiles of `gradient_sums`, two sums per channel; `dot` may be null. Grid: groups of CHANNELS channels, rows.
extern "C" __global__ void __launch_bounds__(THREADS) join_gradient_sums(
    const float2* __restrict__ partial, float* __restrict__ sum, float* __restrict__ dot, int tiles, int C) {
  __shared__ float2 found[JOINING][CHANNELS + 1];
  const int c = blockIdx.x * CHANNELS + threadIdx.x % CHANNELS, lane = threadIdx.x / CHANNELS;
  const float2* from = partial + static_cast<size_t>(blockIdx.y) * tiles * C + c;
  float2 mine = make_float2(0.f, 0.f);
  if (c < C)
    for (int t = lane; t < tiles; t += JOINING) {
      const float2 part = from[static_cast<size_t>(t) * C];
      mine.x += part.x;
      mine.y += part.y;
    }
  found[lane][threadIdx.x % CHANNELS] = mine;
  __syncthreads();
  if (lane != 0 || c >= C) return;
  for (int i = 1; i < JOINING; i++) {
    mine.x += found[i][threadIdx.x].x;
    mine.y += found[i][threadIdx.x].y;
  }
  sum[blockIdx.y * C + c] = mine.x;
  if (dot) dot[blockIdx.y * C + c] = mine.y;
}

// dx = gamma·rstd·(g - dbeta/P - x̂·dgamma/P): each pixel moves the mean and the deviation too. `masked`, where it is
// wanted, is g after the ReLU. Grid: words of a feature map, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) normalize_dx(
    const real* __restrict__ g, const real* __restrict__ x, const real* __restrict__ y, const float* __restrict__ mean,
    const float* __restrict__ rstd, const float* __restrict__ gamma, const float* __restrict__ dgamma,
    const float* __restrict__ dbeta, real* __restrict__ dx, real* __restrict__ masked, int P, int C) {
  const int words = P * (C / VEC), i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= words) return;
  const int row = blockIdx.y * C + i % (C / VEC) * VEC;
  const size_t at = (static_cast<size_t>(blockIdx.y) * words + i) * VEC;
  const float share = 1.f / P;
  float d[VEC], v[VEC];
  load_gradient(d, g, y, at);
  if (masked) store(masked + at, d);
  load(v, x + at);
#pragma unroll
  for (int k = 0; k < VEC; k++) {
    const float normalized = (v[k] - mean[row + k]) * rstd[row + k];
    v[k] = gamma[row + k] * rstd[row + k] * (d[k] - dbeta[row + k] * share - normalized * dgamma[row + k] * share);
  }
  store(dx + at, v);
}
