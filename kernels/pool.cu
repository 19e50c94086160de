// Max and average pooling over windows of `size` x `size`, `stride` apart. A thread works on one word of channels.
// Two blocks on a multiprocessor: for more of them nvcc would keep registers in memory.

// The word of thread i in feature maps of `width` pixels a row: pixel (h, w) and first channel.
struct Place {
  int h, w, c;
  METHOD Place(int i, int width, int C) {
    c = i % (C / VEC) * VEC;
    w = i / (C / VEC) % width;
    h = i / (C / VEC) / width;
  }
};

DEVICE size_t at(int n, int h, int w, int H, int W, int C) { return ((static_cast<size_t>(n) * H + h) * W + w) * C; }

// Grid: words of a result, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 2) max_pool(
    const real* __restrict__ x, real* __restrict__ y, int H, int W, int C, int OH, int OW, int size, int stride) {
  const int i = blockIdx.x * THREADS + threadIdx.x, n = blockIdx.y;
  if (i >= OH * OW * (C / VEC)) return;
  const Place to(i, OW, C);
  float best[VEC];
  for (int k = 0; k < size; k++)
    for (int j = 0; j < size; j++) {
      float v[VEC];
      load(v, x + at(n, to.h * stride + k, to.w * stride + j, H, W, C) + to.c);
#pragma unroll
      for (int q = 0; q < VEC; q++) best[q] = k + j == 0 ? v[q] : max(best[q], v[q]);
    }
  store(y + at(n, to.h, to.w, OH, OW, C) + to.c, best);
}

// The same gradient where windows do not overlap (size <= stride): each goes to the first of the window's largest, and
// the rest, also what no window covers, is 0. Grid: words of a feature map of all windows, whole or not, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 2) max_pool_dx_apart(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ dx, int H, int W, int C, int OH, int OW,
    int size, int stride) {
  const int i = blockIdx.x * THREADS + threadIdx.x, n = blockIdx.y, across = ceil_div(W, stride);
  if (i >= ceil_div(H, stride) * across * (C / VEC)) return;
  const Place to(i, across, C);
  const int top = to.h * stride, left = to.w * stride;
  float best[VEC], d[VEC] = {};
  int first[VEC] = {};
  if (to.h < OH && to.w < OW) {
    load(d, g + at(n, to.h, to.w, OH, OW, C) + to.c);
    for (int k = 0; k < size; k++)
      for (int j = 0; j < size; j++) {
        float v[VEC];
        load(v, x + at(n, top + k, left + j, H, W, C) + to.c);
#pragma unroll
        for (int q = 0; q < VEC; q++)
          if (k + j == 0 || v[q] > best[q]) best[q] = v[q], first[q] = k * stride + j;
      }
  }
  for (int k = 0; k < min(stride, H - top); k++)
    for (int j = 0; j < min(stride, W - left); j++) {
      float v[VEC];
#pragma unroll
      for (int q = 0; q < VEC; q++) v[q] = first[q] == k * stride + j ? d[q] : 0.f;
      store(dx + at(n, top + k, left + j, H, W, C) + to.c, v);
    }
}

// The same where windows overlap: each pixel gathers from the windows in which it is the first of the largest, so no
// two threads add to one place.
// Grid: words of a feature map, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 2) max_pool_dx(
    const real* __restrict__ g, const real* __restrict__ x, const real* __restrict__ y, real* __restrict__ dx, int H,
    int W, int C, int OH, int OW, int size, int stride) {
  const int i = blockIdx.x * THREADS + threadIdx.x, n = blockIdx.y;
  if (i >= H * W * (C / VEC)) return;
  const Place to(i, W, C);
  const size_t here = at(n, to.h, to.w, H, W, C) + to.c;
  float own[VEC], sum[VEC] = {};
  load(own, x + here);
  for (int oh = max(0, ceil_div(to.h - size + 1, stride)); oh <= min(to.h / stride, OH - 1); oh++)
    for (int ow = max(0, ceil_div(to.w - size + 1, stride)); ow <= min(to.w / stride, OW - 1); ow++) {
      const size_t window = at(n, oh, ow, OH, OW, C) + to.c;
      float top[VEC], d[VEC];
      load(top, y + window);
      load(d, g + window);
#pragma unroll
      for (int q = 0; q < VEC; q++) d[q] = own[q] == top[q] ? d[q] : 0.f;
      const int mine = (to.h - oh * stride) * size + to.w - ow * stride;
      for (int t = 0; t < mine; t++) {
        float v[VEC];
        load(v, x + at(n, oh * stride + t / size, ow * stride + t % size, H, W, C) + to.c);
#pragma unroll
        for (int q = 0; q < VEC; q++) d[q] = v[q] == top[q] ? 0.f : d[q];
      }
#pragma unroll
      for (int q = 0; q < VEC; q++) sum[q] += d[q];
    }
  store(dx + here, sum);
}

// Grid: words of a result, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 2) avg_pool(
    const real* __restrict__ x, real* __restrict__ y, int H, int W, int C, int OH, int OW, int size, int stride) {
  const int i = blockIdx.x * THREADS + threadIdx.x, n = blockIdx.y;
  if (i >= OH * OW * (C / VEC)) return;
  const Place to(i, OW, C);
  float sum[VEC] = {};
  for (int k = 0; k < size; k++)
    for (int j = 0; j < size; j++) {
      float v[VEC];
      load(v, x + at(n, to.h * stride + k, to.w * stride + j, H, W, C) + to.c);
#pragma unroll
      for (int q = 0; q < VEC; q++) sum[q] += v[q];
    }
#pragma unroll
  for (int q = 0; q < VEC; q++) sum[q] *= 1.f / (size * size);
  store(y + at(n, to.h, to.w, OH, OW, C) + to.c, sum);
}

// Grid: words of a feature map, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 2) avg_pool_dx(
    const real* __restrict__ g, real* __restrict__ dx, int H, int W, int C, int OH, int OW, int size, int stride) {
  const int i = blockIdx.x * THREADS + threadIdx.x, n = blockIdx.y;
  if (i >= H * W * (C / VEC)) return;
  const Place to(i, W, C);
  float sum[VEC] = {};
  for (int oh = max(0, ceil_div(to.h - size + 1, stride)); oh <= min(to.h / stride, OH - 1); oh++)
    for (int ow = max(0, ceil_div(to.w - size + 1, stride)); ow <= min(to.w / stride, OW - 1); ow++) {
      float d[VEC];
      load(d, g + at(n, oh, ow, OH, OW, C) + to.c);
#pragma unroll
      for (int q = 0; q < VEC; q++) sum[q] += d[q];
    }
#pragma unroll
  for (int q = 0; q < VEC; q++) sum[q] *= 1.f / (size * size);
  store(dx + at(n, to.h, to.w, H, W, C) + to.c, sum);
}
