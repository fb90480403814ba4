// The two operations of a generator that need speed, for WebAssembly with 128-bit vectors.
// Compiled to kernel.wasm by: clang --target=wasm32 -O3 -msimd128 -mbulk-memory -nostdlib -Wl,--no-entry -Wl,--strip-all
//     -Wl,--export=convolve -Wl,--export=multiply -Wl,--export=__heap_base -o kernel.wasm kernel.c

#include <wasm_simd128.h>

#define ROWS 4     // output channels of a block
#define COLUMNS 8  // pixels of a block

// Adds a block of weights, [depth][ROWS], times a block of patches, [depth][COLUMNS], to a block of sums.
static inline void multiply_block(int depth, const float *weights, const float *patches, v128_t sums[ROWS][2]) {
  v128_t a0 = sums[0][0], a1 = sums[0][1], b0 = sums[1][0], b1 = sums[1][1];
  v128_t c0 = sums[2][0], c1 = sums[2][1], d0 = sums[3][0], d1 = sums[3][1];
  for (int k = 0; k < depth; k++, weights += ROWS, patches += COLUMNS) {
    v128_t left = wasm_v128_load(patches), right = wasm_v128_load(patches + 4), weight;
    weight = wasm_v128_load32_splat(weights);
    a0 = wasm_f32x4_add(a0, wasm_f32x4_mul(weight, left)), a1 = wasm_f32x4_add(a1, wasm_f32x4_mul(weight, right));
    weight = wasm_v128_load32_splat(weights + 1);
    b0 = wasm_f32x4_add(b0, wasm_f32x4_mul(weight, left)), b1 = wasm_f32x4_add(b1, wasm_f32x4_mul(weight, right));
    weight = wasm_v128_load32_splat(weights + 2);
    c0 = wasm_f32x4_add(c0, wasm_f32x4_mul(weight, left)), c1 = wasm_f32x4_add(c1, wasm_f32x4_mul(weight, right));
    weight = wasm_v128_load32_splat(weights + 3);
    d0 = wasm_f32x4_add(d0, wasm_f32x4_mul(weight, left)), d1 = wasm_f32x4_add(d1, wasm_f32x4_mul(weight, right));
  }
  sums[0][0] = a0, sums[0][1] = a1, sums[1][0] = b0, sums[1][1] = b1;
  sums[2][0] = c0, sums[2][1] = c1, sums[3][0] = d0, sums[3][1] = d1;
}

// Copies the pixels under the kernel for COLUMNS output pixels from number `first` on, [depth][COLUMNS].
static void gather(const float *x, int channels, int height, int width, int rows, int columns, int stride, int top,
                   int left, int out_width, int first, int count, float *patches) {
  int y[COLUMNS], z[COLUMNS];
  for (int i = 0; i < COLUMNS; i++) {
    int pixel = first + (i < count ? i : 0);
    y[i] = pixel / out_width * stride - top, z[i] = pixel % out_width * stride - left;
  }
  for (int c = 0; c < channels; c++, x += height * width)
    for (int k = 0; k < rows; k++)
      for (int l = 0; l < columns; l++)
        for (int i = 0; i < COLUMNS; i++) {
          int row = y[i] + k, column = z[i] + l;
          int inside = (unsigned)row < (unsigned)height && (unsigned)column < (unsigned)width;
          *patches++ = inside ? x[row * width + column] : 0;
        }
}

// Computes a convolution of one image, [channels height width] to [outputs out_height out_width].
// weights: for each group, blocks of ROWS output channels, [depth][ROWS], the last block filled up with zeros.
void convolve(const float *x, const float *weights, const float *bias, float *out, float *patches, int channels,
              int height, int width, int outputs, int out_height, int out_width, int rows, int columns, int stride,
              int top, int left, int groups) {
  int inputs = channels / groups, outs = outputs / groups, depth = inputs * rows * columns;
  int pixels = out_height * out_width, blocks = (outs + ROWS - 1) / ROWS;
  for (int group = 0; group < groups; group++) {
    const float *maps = x + group * inputs * height * width;
    const float *mine = weights + group * blocks * depth * ROWS;
    for (int first = 0; first < pixels; first += COLUMNS) {
      int count = pixels - first < COLUMNS ? pixels - first : COLUMNS;
      gather(maps, inputs, height, width, rows, columns, stride, top, left, out_width, first, count, patches);
      for (int block = 0; block < blocks; block++) {
        v128_t sums[ROWS][2];
        for (int r = 0; r < ROWS; r++) {
          int channel = block * ROWS + r;
          sums[r][0] = sums[r][1] = wasm_f32x4_splat(bias && channel < outs ? bias[group * outs + channel] : 0);
        }
        multiply_block(depth, mine + block * depth * ROWS, patches, sums);
        for (int r = 0; r < ROWS && block * ROWS + r < outs; r++) {
          float *target = out + (group * outs + block * ROWS + r) * pixels + first;
          const float *source = (const float *)sums[r];
          for (int i = 0; i < count; i++) target[i] = source[i];
        }
      }
    }
  }
}

// Computes out = bias + weights x, with weights [outputs inputs].
void multiply(const float *x, const float *weights, const float *bias, float *out, int inputs, int outputs) {
  for (int r = 0; r < outputs; r++, weights += inputs) {
    v128_t sums = wasm_f32x4_splat(0);
    int k = 0;
    for (; k + 4 <= inputs; k += 4)
      sums = wasm_f32x4_add(sums, wasm_f32x4_mul(wasm_v128_load(weights + k), wasm_v128_load(x + k)));
    float total = wasm_f32x4_extract_lane(sums, 0) + wasm_f32x4_extract_lane(sums, 1) +
                  wasm_f32x4_extract_lane(sums, 2) + wasm_f32x4_extract_lane(sums, 3);
    for (; k < inputs; k++) total += weights[k] * x[k];
    out[r] = total + (bias ? bias[r] : 0);
  }
}
