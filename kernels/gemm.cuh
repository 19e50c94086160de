// Products of matrices in tiles, for conv.cu and wgrad.cu: (BM, BN) += (BM, k)·(k, BN), by a block of eight warps.
//
// BM and BN come as macros. K_BYTES of k are worked on at a time (BK numbers); some such slices lie in shared memory,
// and the next ones are copied while one is multiplied. Tensor cores multiply float16 (HALF) and float32
// rounded to TF32 (TF32, from sm_80 on); otherwise float32 is multiplied as it is. All three keep the sums where
// mma.m16n8 puts them: number q of fragment (i, j) of a lane is row i·16 + q/2·8 + lane/4, column
// j·8 + lane%4·2 + q%2.
#ifdef BN

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800  // Turing multiplies float16 alone, and copies through registers
constexpr bool OLD = true;
#undef TF32
#define TF32 0
#else
constexpr bool OLD = false;
#endif

constexpr int PER_WORD = WORD / sizeof(real);  // numbers in 16 bytes, the unit of copies
constexpr int BK = K_BYTES / sizeof(real);
static_assert(K_BYTES == 4 * WORD, "a row of k is four words");
constexpr int WARPS_N = BN >= 128 && BM <= 128 ? 4 : BN >= 64 ? 2 : 1, WARPS_M = THREADS / 32 / WARPS_N;
constexpr int WM = BM / WARPS_M, WN = BN / WARPS_N;  // of a warp
constexpr int NI = WM / 16, NJ = WN / 8;

typedef float Sums[NI][NJ][4];

#if HALF
DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_f16(d, a, b); }
DEVICE uint32_t operand(uint32_t bits) { return bits; }
#elif TF32
DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_tf32(d, a, b); }
DEVICE uint32_t operand(float f) { return round_tf32(f); }
DEVICE uint32_t operand(uint32_t bits) { return round_tf32(__uint_as_float(bits)); }
#endif

// The place of 16 bytes in a tile of four to a row: turned by the row, so that eight reads which belong together (of
// ldmatrix, or of the lanes of a warp) meet in no bank.
DEVICE int place(int row, int word) { return (row * 4 + (word ^ (row / 2 % 4))) * WORD; }

// --- k along the rows, four words to a row: A with rows K_PITCH bytes apart, B (BN, BK) as `place` says ---
//
// K_PITCH has a word to spare: eight rows at the same word meet in no bank, and all places are a fixed distance apart.
static_assert(K_PITCH == K_BYTES + WORD, "a word to spare");

// A from the warp's first row on, those of the next fragments APART bytes further; B from its first row on, which is a
// multiple of eight. B is rounded to TF32 already.
template <int APART> DEVICE void multiply_rows(Sums& sums, const char* A, const char* B) {
  const int lane = threadIdx.x % 32;
#if HALF || TF32
  uint32_t b[NJ][4];  // for both steps
#pragma unroll
  for (int j = 0; j < NJ; j++) ldmatrix_x4(b[j], B + place(j * 8 + lane % 8, lane / 8));
  const char* const from = A + lane % 16 * K_PITCH + lane / 16 * 16;
#pragma unroll
  for (int step = 0; step < 2; step++) {
#pragma unroll
    for (int i = 0; i < NI; i++) {
      uint32_t a[4];
      ldmatrix_x4(a, from + i * APART + step * 32);
#pragma unroll
      for (int q = 0; q < 4; q++) a[q] = operand(a[q]);
#pragma unroll
      for (int j = 0; j < NJ; j++) {
        const uint32_t bs[2] = {b[j][2 * step], b[j][2 * step + 1]};
        multiply(sums[i][j], a, bs);
      }
    }
  }
#else
#pragma unroll 2  // of all, the operands would not fit into registers
  for (int word = 0; word < 4; word++) {
    float4 a[NI][2];
#pragma unroll
    for (int i = 0; i < NI; i++)
#pragma unroll
      for (int h = 0; h < 2; h++)
        a[i][h] = *reinterpret_cast<const float4*>(A + (h * 8 + lane / 4) * K_PITCH + word * 16 + i * APART);
#pragma unroll
    for (int j = 0; j < NJ; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const float4 b = *reinterpret_cast<const float4*>(B + place(j * 8 + lane % 4 * 2 + e, word));
#pragma unroll
        for (int i = 0; i < NI; i++)
#pragma unroll
          for (int h = 0; h < 2; h++) {
            float& sum = sums[i][j][2 * h + e];
            sum += a[i][h].x * b.x;
            sum += a[i][h].y * b.y;
            sum += a[i][h].z * b.z;
            sum += a[i][h].w * b.w;
          }
      }
  }
#endif
}

// --- k down the columns: A (BK, BM) and B (BK, BN), with rows A_PITCH and B_PITCH bytes apart (macros) ---

#ifdef A_PITCH
constexpr int A_WORDS = BM / PER_WORD, B_WORDS = BN / PER_WORD;  // in a row

#if !HALF
template <int ROW> DEVICE float number(const char* tile, int row, int column) {
  return *reinterpret_cast<const float*>(tile + row * ROW + column * 4);
}
#endif

DEVICE void multiply_columns(Sums& sums, const char* A, const char* B) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = warp / WARPS_N * WM, column = warp % WARPS_N * WN;
#if HALF
  uint32_t b[NJ][4];
#pragma unroll
  for (int j = 0; j < NJ; j++) ldmatrix_x4_trans(b[j], B + lane * B_PITCH + (column / PER_WORD + j) * 16);
#pragma unroll
  for (int step = 0; step < 2; step++)
#pragma unroll
    for (int i = 0; i < NI; i++) {
      uint32_t a[4];
      const int k = step * 16 + lane % 8 + lane / 16 * 8;
      ldmatrix_x4_trans(a, A + k * A_PITCH + (row / PER_WORD + i * 2 + lane / 8 % 2) * 16);
#pragma unroll
      for (int j = 0; j < NJ; j++) {
        const uint32_t bs[2] = {b[j][2 * step], b[j][2 * step + 1]};
        multiply(sums[i][j], a, bs);
      }
    }
#elif TF32
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int k = 0; k < BK; k += 8) {
    uint32_t b[NJ][2];
#pragma unroll
    for (int j = 0; j < NJ; j++)
#pragma unroll
      for (int q = 0; q < 2; q++) b[j][q] = operand(number<B_PITCH>(B, k + t + q * 4, column + j * 8 + g));
#pragma unroll
    for (int i = 0; i < NI; i++) {
      uint32_t a[4];
#pragma unroll
      for (int q = 0; q < 4; q++)
        a[q] = operand(number<A_PITCH>(A, k + t + q / 2 * 4, row + i * 16 + q % 2 * 8 + g));
#pragma unroll
      for (int j = 0; j < NJ; j++) multiply(sums[i][j], a, b[j]);
    }
  }
#else
#pragma unroll 4
  for (int k = 0; k < BK; k++) {
    float a[NI][2], b[NJ][2];
#pragma unroll
    for (int i = 0; i < NI; i++)
#pragma unroll
      for (int h = 0; h < 2; h++) a[i][h] = number<A_PITCH>(A, k, row + i * 16 + h * 8 + lane / 4);
#pragma unroll
    for (int j = 0; j < NJ; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) b[j][e] = number<B_PITCH>(B, k, column + j * 8 + lane % 4 * 2 + e);
#pragma unroll
    for (int i = 0; i < NI; i++)
#pragma unroll
      for (int j = 0; j < NJ; j++)
#pragma unroll
        for (int q = 0; q < 4; q++) sums[i][j][q] += a[i][q / 2] * b[j][q % 2];
  }
#endif
}
#endif  // A_PITCH

#endif  // BN
