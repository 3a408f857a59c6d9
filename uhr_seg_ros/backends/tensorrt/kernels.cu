// Copyright 2026 uhr_seg_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// What runs on the GPU around the engines: camera bytes to network inputs (prepare), tiles to
// maps (accumulate), NaN and infinity in maps (check), logits to a mask (finish), a mask to
// pictures (paint). kernels.py launches them with one thread per column and row of what each
// kernel names, and one layer per channel.
//
// No header and nothing newer than C++14, so that nvcc and NVRTC compile it from CUDA 11.4 on,
// and g++ with test/support/host_shim.h.

using uint8 = unsigned char;
using uint16 = unsigned short;

// ---------------------------------------------------------------------------------------------
// Numbers and memory
// ---------------------------------------------------------------------------------------------

#ifdef __CUDACC__
__device__ float half_to_float(uint16 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

__device__ uint16 float_to_half(float value) {
  uint16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
#endif

struct Half {
  uint16 bits;
};

__device__ float to_float(float value) { return value; }
__device__ float to_float(Half value) { return half_to_float(value.bits); }

__device__ void assign(float& target, float value) { target = value; }
__device__ void assign(Half& target, float value) { target.bits = float_to_half(value); }

__device__ int clamp(int value, int least, int most) { return min(max(value, least), most); }

__device__ int thread_column() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ int thread_row() { return blockIdx.y * blockDim.y + threadIdx.y; }

// The place of a thread among all of the grid, and how many these are.
__device__ unsigned thread_number() {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  return block * (blockDim.x * blockDim.y) + threadIdx.y * blockDim.x + threadIdx.x;
}

__device__ unsigned thread_count() {
  return gridDim.x * gridDim.y * gridDim.z * (blockDim.x * blockDim.y);
}

__device__ bool is_aligned(const void* address, int size) {
  return reinterpret_cast<unsigned long long>(address) % size == 0;
}

// Neighboring bytes in registers, read as words where that is aligned.
template <int COUNT>
struct Bytes {
  unsigned words[COUNT / 4];

  __device__ explicit Bytes(const uint8* from) {
    const bool aligned = is_aligned(from, 4);
#pragma unroll
    for (int i = 0; i < COUNT / 4; ++i, from += 4) {
      // The read-only path: what is written meanwhile need not be waited for.
      words[i] = aligned ? __ldg(reinterpret_cast<const unsigned*>(from))
                         : __ldg(from) | __ldg(from + 1) << 8 | __ldg(from + 2) << 16 |
                               static_cast<unsigned>(__ldg(from + 3)) << 24;
    }
  }

  __device__ int operator[](int i) const { return words[i / 4] >> 8 * (i % 4) & 255; }
};

// Four values that are read or written at once.
template <class V>
struct alignas(4 * sizeof(V)) Four {
  V values[4];

  __device__ static const Four& at(const V* aligned) {
    return *reinterpret_cast<const Four<V>*>(aligned);
  }

  __device__ void store(V* aligned) const { *reinterpret_cast<Four<V>*>(aligned) = *this; }
};

// ---------------------------------------------------------------------------------------------
// Pixel formats. Each gives any pixel of a frame, and quickly four of a row from a multiple of
// four on that are `MARGIN` or more away from both ends. All equal cv2.cvtColor bit by bit.
// Formats that differ in an order only are one type: it halves the code to compile.
// ---------------------------------------------------------------------------------------------

struct Frame {
  const uint8* data;
  int step, height, width;

  __device__ const uint8* row(int y) const { return data + static_cast<long long>(y) * step; }
};

struct Pixel {
  int rgb[3];
};

__device__ Pixel ordered(bool reversed, int first, int second, int third) {
  return {{reversed ? third : first, second, reversed ? first : third}};
}

// BT.601 as OpenCV computes it, with 20 bits after the point.
__device__ Pixel from_yuv(int luma, int u, int v) {
  const int base = max(luma - 16, 0) * 1220542 + (1 << 19);
  u -= 128;
  v -= 128;
  return {{clamp((base + 1673527 * v) >> 20, 0, 255),
           clamp((base - 852492 * v - 409993 * u) >> 20, 0, 255),
           clamp((base + 2116026 * u) >> 20, 0, 255)}};
}

// In the layouts, `source` is anything that gives byte i of a row.
template <int CHANNELS>
struct Packed {
  enum { BYTES = CHANNELS };
  bool blue_first;

  template <class Source>
  __device__ Pixel unpack(const Source& source, int i) const {
    i *= CHANNELS;
    return ordered(blue_first, source[i], source[i + 1], source[i + 2]);
  }
};

struct Mono {
  enum { BYTES = 1 };

  template <class Source>
  __device__ Pixel unpack(const Source& source, int i) const {
    return {{source[i], source[i], source[i]}};
  }
};

// YUV 4:2:2: every two pixels share u and v; luma is every second byte.
struct Yuv422 {
  enum { BYTES = 2 };
  bool luma_first;

  template <class Source>
  __device__ Pixel unpack(const Source& source, int i) const {
    const int pair = 4 * (i / 2);
    if (luma_first) return from_yuv(source[2 * i], source[pair + 1], source[pair + 3]);
    return from_yuv(source[2 * i + 1], source[pair], source[pair + 2]);
  }
};

template <class Layout>
struct Interleaved {
  enum { MARGIN = 0 };
  Layout layout;

  __device__ Pixel pixel(const Frame& frame, int y, int x) const {
    return layout.unpack(frame.row(y), x);
  }

  __device__ void four(const Frame& frame, int y, int x, Pixel* pixels) const {
    const Bytes<4 * Layout::BYTES> bytes(frame.row(y) + Layout::BYTES * x);
#pragma unroll
    for (int i = 0; i < 4; ++i) pixels[i] = layout.unpack(bytes, i);
  }
};

// YUV 4:2:0: a plane of luma, then one of u and v in turns for every 2x2 pixels.
struct SemiPlanar {
  enum { MARGIN = 0 };
  bool v_first;

  template <class Source>
  __device__ Pixel unpack(const Source& luma, const Source& chroma, int i) const {
    const int first = chroma[2 * (i / 2)], second = chroma[2 * (i / 2) + 1];
    return from_yuv(luma[i], v_first ? second : first, v_first ? first : second);
  }

  __device__ Pixel pixel(const Frame& frame, int y, int x) const {
    return unpack(frame.row(y), frame.row(frame.height + y / 2), x);
  }

  __device__ void four(const Frame& frame, int y, int x, Pixel* pixels) const {
    const Bytes<4> luma(frame.row(y) + x), chroma(frame.row(frame.height + y / 2) + x);
#pragma unroll
    for (int i = 0; i < 4; ++i) pixels[i] = unpack(luma, chroma, i);
  }
};

// A mosaic whose first column holds red in the rows of this parity, interpolated bilinearly. The
// outermost pixels repeat their neighbors inside.
template <int RED_ROW>
struct Bayer {
  enum { MARGIN = 4 };
  bool blue_for_red;

  template <class Source>
  __device__ Pixel unpack(const Source& above, const Source& here, const Source& below, int i,
                          bool red_row, bool red_column) const {
    // The first of the two colors is that of this row, the second that of the other rows.
    const bool reversed = red_row == blue_for_red;
    if (red_row != red_column) {
      return ordered(reversed, (here[i - 1] + here[i + 1] + 1) >> 1, here[i],
                     (above[i] + below[i] + 1) >> 1);
    }
    return ordered(reversed, here[i], (here[i - 1] + here[i + 1] + above[i] + below[i] + 2) >> 2,
                   (above[i - 1] + above[i + 1] + below[i - 1] + below[i + 1] + 2) >> 2);
  }

  __device__ Pixel pixel(const Frame& frame, int y, int x) const {
    y = clamp(y, 1, frame.height - 2);
    x = clamp(x, 1, frame.width - 2);
    return unpack(frame.row(y - 1), frame.row(y), frame.row(y + 1), x, y % 2 == RED_ROW,
                  x % 2 == 0);
  }

  __device__ void four(const Frame& frame, int y, int x, Pixel* pixels) const {
    y = clamp(y, 1, frame.height - 2);
    const Bytes<12> above(frame.row(y - 1) + x - 4), here(frame.row(y) + x - 4),
        below(frame.row(y + 1) + x - 4);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      pixels[i] = unpack(above, here, below, 4 + i, y % 2 == RED_ROW, i % 2 == 0);
    }
  }
};

// Call `work` with the format of a number; the numbers are places in pixels.FORMATS.
template <class Work>
__device__ void with_format(int format, const Work& work) {
  switch (format) {
    case 0: case 1: return work(Interleaved<Packed<3>>{{format == 0}});
    case 2: case 3: return work(Interleaved<Packed<4>>{{format == 2}});
    case 4: return work(Interleaved<Mono>{});
    case 5: case 6: return work(Interleaved<Yuv422>{{format == 6}});
    case 7: case 8: return work(SemiPlanar{format == 8});
    case 9: case 10: return work(Bayer<0>{format == 10});
    case 11: case 12: return work(Bayer<1>{format == 12});
  }
}

// ---------------------------------------------------------------------------------------------
// prepare: a window of the padded frame as network inputs; one thread per 4x4 pixels
// ---------------------------------------------------------------------------------------------

struct Window {
  int top, left, rows, columns;
};

struct Normalization {
  float scale[3], bias[3];

  __device__ float apply(int channel, float value) const {
    return value * scale[channel] + bias[channel];
  }
};

// Where the inputs of the networks go; either may be null. Rows are multiples of four long, so
// that all writes of four values are aligned. Interleaved, a pixel has a fourth value, a zero.
template <class T>
struct Inputs {
  T *image, *low_res;
  int rows, columns;
  bool interleaved;

  // Four pixels of a row, by channel.
  __device__ void store_row(int row, int column, const Four<T>* channels) const {
    if (!image) return;
    const long long place = static_cast<long long>(row) * columns + column;
    if (!interleaved) {
#pragma unroll
      for (int channel = 0; channel < 3; ++channel) {
        const long long plane = static_cast<long long>(channel) * rows * columns;
        channels[channel].store(image + plane + place);
      }
      return;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      Four<T> pixel;
      assign(pixel.values[3], 0.0f);
#pragma unroll
      for (int channel = 0; channel < 3; ++channel) {
        pixel.values[channel] = channels[channel].values[k];
      }
      pixel.store(image + 4 * (place + k));
    }
  }

  __device__ void store_mean(int row, int column, int channel, float value) const {
    const long long line = static_cast<long long>(channel) * (rows / 4) + row / 4;
    if (low_res) assign(low_res[line * (columns / 4) + column / 4], value);
  }
};

// Four pixels of a row that all lie in the frame: the reads of several rows at a time.
template <class Format>
struct Inside {
  enum { ROWS_AT_ONCE = 2 };
  Format format;

  __device__ void fetch(const Frame& frame, int y, int x, Pixel* pixels) const {
    format.four(frame, y, x, pixels);
  }
};

// Four pixels at or beyond the end, where the last column is repeated: little code.
template <class Format>
struct Border {
  enum { ROWS_AT_ONCE = 1 };
  Format format;

  __device__ void fetch(const Frame& frame, int y, int x, Pixel* pixels) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      pixels[i] = format.pixel(frame, y, min(x + i, frame.width - 1));
    }
  }
};

// The work of one thread, to be called with a format.
template <class T>
struct Prepare {
  Frame frame;
  Normalization norm;
  Inputs<T> inputs;
  int y, x, row, column;

  template <class Format>
  __device__ void operator()(const Format& format) const {
    if (x >= Format::MARGIN && x + 4 + Format::MARGIN <= frame.width) {
      run(Inside<Format>{format});
    } else {
      run(Border<Format>{format});
    }
  }

  template <class Part>
  __device__ void run(const Part& part) const {
    int sums[3] = {0, 0, 0};
#pragma unroll Part::ROWS_AT_ONCE
    for (int i = 0; i < 4; ++i) {
      Pixel pixels[4];
      // Below its end the frame continues with its last row.
      part.fetch(frame, min(y + i, frame.height - 1), x, pixels);
      Four<T> channels[3];
#pragma unroll
      for (int channel = 0; channel < 3; ++channel) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          sums[channel] += pixels[k].rgb[channel];
          assign(channels[channel].values[k], norm.apply(channel, pixels[k].rgb[channel]));
        }
      }
      inputs.store_row(row + i, column, channels);
    }
#pragma unroll
    for (int channel = 0; channel < 3; ++channel) {
      // A sum of 16 bytes is exact, and so is a sixteenth of it.
      inputs.store_mean(row, column, channel, norm.apply(channel, sums[channel] / 16.0f));
    }
  }
};

template <class T>
__device__ void prepare(const Frame& frame, int format, const Window& window,
                        const Normalization& norm, T* image, T* low_res, bool interleaved) {
  const int column = 4 * thread_column(), row = 4 * thread_row();
  if (column >= window.columns || row >= window.rows) return;
  const Inputs<T> inputs = {image, low_res, window.rows, window.columns, interleaved};
  const int y = window.top + row, x = window.left + column;
  with_format(format, Prepare<T>{frame, norm, inputs, y, x, row, column});
}

// ---------------------------------------------------------------------------------------------
// accumulate: add a weighted tile to a map; one thread per element
// ---------------------------------------------------------------------------------------------

struct Place {
  int channel, row, column;
};

struct Strides {
  int channel, row, column;

  __device__ long long offset(const Place& at) const {
    return static_cast<long long>(at.channel) * channel +
           static_cast<long long>(at.row) * row + static_cast<long long>(at.column) * column;
  }
};

// Neighboring threads take neighboring elements: of a row, or of the channels where these come
// last. The grid has enough threads for either order.
__device__ Place thread_place(bool channels_last, int channels, int columns) {
  if (!channels_last) {
    return {static_cast<int>(blockIdx.z), thread_row(), thread_column()};
  }
  const unsigned element = thread_number();
  const unsigned pixel = element / channels;
  return {static_cast<int>(element % channels), static_cast<int>(pixel / columns),
          static_cast<int>(pixel % columns)};
}

template <class T>
__device__ void accumulate(const T* tile, const Strides& from, T* total, const Strides& to,
                           int channels, int rows, int columns, const float* row_weights,
                           const float* column_weights) {
  const Place at = thread_place(from.channel == 1, channels, columns);
  if (at.channel >= channels || at.row >= rows || at.column >= columns) return;
  const float weight = row_weights[at.row] * column_weights[at.column];
  T& target = total[to.offset(at)];
  assign(target, to_float(target) + weight * to_float(tile[from.offset(at)]));
}

// ---------------------------------------------------------------------------------------------
// check: whether a map has NaN or infinity; any number of threads
// ---------------------------------------------------------------------------------------------

// Collects whether numbers are finite: zero times one is zero, times NaN or infinity it is NaN.
struct Finite {
  float nothing = 0.0f;

  __device__ void add(float value) { nothing += 0.0f * value; }

  // A flag is a word that is zero before. Whoever sets it writes the same, in any order.
  __device__ void tell(unsigned* flag) const {
    if (flag && nothing != 0.0f) *flag = 1;
  }
};

template <class T>
__device__ void check(const T* values, long long count, unsigned* flag) {
  const long long quads = count / 4, thread = thread_number(), step = thread_count();
  Finite finite;
#pragma unroll 4
  for (long long quad = thread; quad < quads; quad += step) {
    const Four<T> four = Four<T>::at(values + 4 * quad);
#pragma unroll
    for (int k = 0; k < 4; ++k) finite.add(to_float(four.values[k]));
  }
  if (thread < count % 4) finite.add(to_float(values[4 * quads + thread]));
  finite.tell(flag);
}

// ---------------------------------------------------------------------------------------------
// finish: quarter-size logits to a mask; one thread per quarter pixel, 4x4 pixels of the mask
// ---------------------------------------------------------------------------------------------

// Enlarge the middle of three values by four. Equal values give just that value, so that a tie
// stays a tie.
__device__ void enlarge(float before, float here, float after, float* values) {
  before -= here;
  after -= here;
  values[0] = here + 0.375f * before;
  values[1] = here + 0.125f * before;
  values[2] = here + 0.125f * after;
  values[3] = here + 0.375f * after;
}

// A 3x3 neighborhood in every class; beyond the borders these are repeated.
template <class T>
struct Neighborhood {
  const T* plane;
  long long size;
  int rows[3], columns[3];

  __device__ Neighborhood(const T* quarter, int height, int width, int y, int x)
      : plane(quarter), size(static_cast<long long>(height) * width),
        rows{max(y - 1, 0) * width, y * width, min(y + 1, height - 1) * width},
        columns{max(x - 1, 0), x, min(x + 1, width - 1)} {}

  // Enlarge the middle to 4x4 values and go on to the next class.
  __device__ void next(float (&block)[16]) {
    float wide[3][4];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const T* row = plane + rows[i];
      enlarge(to_float(row[columns[0]]), to_float(row[columns[1]]), to_float(row[columns[2]]),
              wide[i]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      float column[4];
      enlarge(wide[0][k], wide[1][k], wide[2][k], column);
#pragma unroll
      for (int i = 0; i < 4; ++i) block[4 * i + k] = column[i];
    }
    plane += size;
  }
};

// An image (height, width) and the place of one thread's 4x4 pixels in it.
struct Target {
  int height, width, y, x;

  // Write the block as far as it lies inside; at once where that is aligned.
  template <class V, class Value>
  __device__ void store_block(V* image, const Value (&block)[16]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (y + i >= height) return;
      V* row = image + static_cast<long long>(y + i) * width + x;
      Four<V> four;
#pragma unroll
      for (int k = 0; k < 4; ++k) four.values[k] = static_cast<V>(block[4 * i + k]);
      if (x + 4 <= width && is_aligned(row, sizeof(four))) {
        four.store(row);
        continue;
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (x + k < width) row[k] = four.values[k];
      }
    }
  }
};

// The best class of each of 4x4 pixels, of equals the first one, and its logit. Where logits are
// not finite, that means nothing: NaN is never larger, and leaves class 0.
struct Best {
  float values[16];
  int ids[16];
  Finite finite;

  template <class T>
  __device__ Best(Neighborhood<T> quarter, int classes) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      values[i] = -3.402823466e38f;
      ids[i] = 0;
    }
    for (int id = 0; id < classes; ++id) {
      float block[16];
      quarter.next(block);
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        finite.add(block[i]);
        if (block[i] > values[i]) {
          values[i] = block[i];
          ids[i] = id;
        }
      }
    }
  }
};

// The largest softmax probability is one over the sum of exponentials relative to the largest
// logit. A second pass, since the sums would take too many registers in the first one.
template <class T>
__device__ void store_confidence(Neighborhood<T> quarter, int classes, const Target& target,
                                 const float (&largest)[16], uint8* confidence) {
  float sums[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) sums[i] = 0.0f;
  for (int id = 0; id < classes; ++id) {
    float block[16];
    quarter.next(block);
#pragma unroll
    for (int i = 0; i < 16; ++i) sums[i] += __expf(block[i] - largest[i]);
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) sums[i] = 255.0f / sums[i] + 0.5f;
  target.store_block(confidence, sums);
}

template <class T>
__device__ void store_logits(Neighborhood<T> quarter, int classes, const Target& target,
                             float* logits) {
  for (int id = 0; id < classes; ++id) {
    float block[16];
    quarter.next(block);
    target.store_block(logits, block);
    logits += static_cast<long long>(target.height) * target.width;
  }
}

template <class T>
__device__ void finish(const T* quarter, int classes, int quarter_height, int quarter_width,
                       int height, int width, void* mask, int mask_bytes, uint8* confidence,
                       float* logits, unsigned* flag) {
  const int x = thread_column(), y = thread_row();
  if (x >= quarter_width || y >= quarter_height) return;
  const Neighborhood<T> neighborhood(quarter, quarter_height, quarter_width, y, x);
  const Target target = {height, width, 4 * y, 4 * x};
  const Best best(neighborhood, classes);
  best.finite.tell(flag);
  if (mask_bytes == 1) {
    target.store_block(static_cast<uint8*>(mask), best.ids);
  } else {
    target.store_block(static_cast<uint16*>(mask), best.ids);
  }
  if (confidence) store_confidence(neighborhood, classes, target, best.values, confidence);
  if (logits) store_logits(neighborhood, classes, target, logits);
}

// ---------------------------------------------------------------------------------------------
// paint: overlay and color mask; one thread per pixel of the pictures
// ---------------------------------------------------------------------------------------------

// The place that cv2.INTER_NEAREST takes. OpenCV's factor is a double that was rounded twice;
// powers of two are exact without doubles, which most GPUs compute slowly.
__device__ int nearest(int place, int size, int out_size) {
  const int factor = size / out_size;
  if (factor * out_size == size && (factor & (factor - 1)) == 0) return place * factor;
  const double scale = 1.0 / (static_cast<double>(out_size) / size);
  return min(static_cast<int>(place * scale), size - 1);
}

// How much of pixel `place` lies between two places of its axis.
__device__ float overlap(int place, float start, float stop) {
  return fminf(place + 1.0f, stop) - fmaxf(place, start);
}

// The mean of the pixels under one pixel of a picture, as cv2.INTER_AREA has it; to be called
// with a format.
struct AreaMean {
  Frame frame;
  float top, left, bottom, right;
  int* rgb;

  __device__ AreaMean(const Frame& frame, int y, int x, int out_height, int out_width, int* rgb)
      : frame(frame), rgb(rgb) {
    const float height = static_cast<float>(frame.height) / out_height;
    const float width = static_cast<float>(frame.width) / out_width;
    top = y * height;
    left = x * width;
    bottom = fminf(top + height, frame.height);
    right = fminf(left + width, frame.width);
  }

  template <class Format>
  __device__ void operator()(const Format& format) const {
    float sums[3] = {0.0f, 0.0f, 0.0f}, area = 0.0f;
    for (int y = static_cast<int>(top); y < bottom; ++y) {
      for (int x = static_cast<int>(left); x < right; ++x) {
        const float weight = overlap(y, top, bottom) * overlap(x, left, right);
        const Pixel pixel = format.pixel(frame, y, x);
        area += weight;
#pragma unroll
        for (int i = 0; i < 3; ++i) sums[i] += weight * pixel.rgb[i];
      }
    }
#pragma unroll
    for (int i = 0; i < 3; ++i) rgb[i] = static_cast<int>(sums[i] / area + 0.5f);
  }
};

// The color of a class; none for an id without a class.
struct Label {
  bool known;
  const uint8* bgr;

  __device__ int color(int i) const { return known ? bgr[i] : 0; }
};

// Pictures (height, width, 3) BGR; either may be null.
struct Pictures {
  uint8 *overlay, *color_mask;
  int height, width;

  __device__ void paint_mask(int y, int x, const Label& label) const {
    uint8* pixel = color_mask + 3 * (static_cast<long long>(y) * width + x);
#pragma unroll
    for (int i = 0; i < 3; ++i) pixel[i] = static_cast<uint8>(label.color(i));
  }

  __device__ void paint_overlay(int y, int x, const Label& label, const int (&rgb)[3],
                                float alpha) const {
    uint8* pixel = overlay + 3 * (static_cast<long long>(y) * width + x);
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const float mixed = rgb[2 - i] * (1.0f - alpha) + label.color(i) * alpha;
      pixel[i] = static_cast<uint8>(label.known ? rintf(mixed) : rgb[2 - i]);
    }
  }
};

// ---------------------------------------------------------------------------------------------
// The kernels
// ---------------------------------------------------------------------------------------------

// As many threads as kernels.py puts into a block.
#define KERNEL extern "C" __global__ void __launch_bounds__(256)

// `image` (3, rows, columns) and `low_res` (3, rows / 4, columns / 4) are RGB, byte * scale +
// bias; either may be null. All numbers of the window are multiples of four. Interleaved, `image`
// is (rows, columns, 4), the last a zero.
KERNEL prepare_f32(const uint8* frame, int step, int height, int width, int format, int top,
                   int left, int rows, int columns, float scale_r, float scale_g, float scale_b,
                   float bias_r, float bias_g, float bias_b, float* image, float* low_res,
                   int interleaved) {
  prepare({frame, step, height, width}, format, {top, left, rows, columns},
          {{scale_r, scale_g, scale_b}, {bias_r, bias_g, bias_b}}, image, low_res,
          interleaved != 0);
}

KERNEL prepare_f16(const uint8* frame, int step, int height, int width, int format, int top,
                   int left, int rows, int columns, float scale_r, float scale_g, float scale_b,
                   float bias_r, float bias_g, float bias_b, Half* image, Half* low_res,
                   int interleaved) {
  prepare({frame, step, height, width}, format, {top, left, rows, columns},
          {{scale_r, scale_g, scale_b}, {bias_r, bias_g, bias_b}}, image, low_res,
          interleaved != 0);
}

// Strides and the offset count elements.
KERNEL accumulate_f32(const float* tile, float* total, int channels, int rows, int columns,
                      int tile_channel_stride, int tile_row_stride, int tile_column_stride,
                      long long total_offset, int total_channel_stride, int total_row_stride,
                      int total_column_stride, const float* row_weights,
                      const float* column_weights) {
  accumulate(tile, {tile_channel_stride, tile_row_stride, tile_column_stride},
             total + total_offset,
             {total_channel_stride, total_row_stride, total_column_stride}, channels, rows,
             columns, row_weights, column_weights);
}

KERNEL accumulate_f16(const Half* tile, Half* total, int channels, int rows, int columns,
                      int tile_channel_stride, int tile_row_stride, int tile_column_stride,
                      long long total_offset, int total_channel_stride, int total_row_stride,
                      int total_column_stride, const float* row_weights,
                      const float* column_weights) {
  accumulate(tile, {tile_channel_stride, tile_row_stride, tile_column_stride},
             total + total_offset,
             {total_channel_stride, total_row_stride, total_column_stride}, channels, rows,
             columns, row_weights, column_weights);
}

// `flag` becomes 1 where one of `count` values is not finite, else it stays as it is.
KERNEL check_f32(const float* values, long long count, unsigned* flag) {
  check(values, count, flag);
}

KERNEL check_f16(const Half* values, long long count, unsigned* flag) {
  check(values, count, flag);
}

// `quarter` (classes, quarter_height, quarter_width) may be larger than a quarter of the mask
// (height, width); `confidence` (height, width), `logits` (classes, height, width) and `flag` may
// be null. `flag` becomes 1 where `quarter` is not finite, else it stays as it is.
KERNEL finish_f32(const float* quarter, int classes, int quarter_height, int quarter_width,
                  int height, int width, void* mask, int mask_bytes, uint8* confidence,
                  float* logits, unsigned* flag) {
  finish(quarter, classes, quarter_height, quarter_width, height, width, mask, mask_bytes,
         confidence, logits, flag);
}

KERNEL finish_f16(const Half* quarter, int classes, int quarter_height, int quarter_width,
                  int height, int width, void* mask, int mask_bytes, uint8* confidence,
                  float* logits, unsigned* flag) {
  finish(quarter, classes, quarter_height, quarter_width, height, width, mask, mask_bytes,
         confidence, logits, flag);
}

// Ids from `classes` on have no class: the overlay shows the image there, the color mask black.
// `overlay` and `color_mask` are (out_height, out_width, 3) BGR and may be null.
KERNEL paint(const uint8* frame, int step, int height, int width, int format, const void* mask,
             int mask_bytes, const uint8* palette, int classes, int out_height, int out_width,
             float alpha, uint8* overlay, uint8* color_mask) {
  const int x = thread_column(), y = thread_row();
  if (x >= out_width || y >= out_height) return;
  const long long place = static_cast<long long>(nearest(y, height, out_height)) * width +
                          nearest(x, width, out_width);
  const int id = mask_bytes == 1 ? static_cast<const uint8*>(mask)[place]
                                 : static_cast<const uint16*>(mask)[place];
  const Label label = {id < classes, palette + 3 * id};
  const Pictures pictures = {overlay, color_mask, out_height, out_width};
  if (color_mask) pictures.paint_mask(y, x, label);
  if (overlay) {
    int rgb[3] = {0, 0, 0};
    with_format(format, AreaMean({frame, step, height, width}, y, x, out_height, out_width, rgb));
    pictures.paint_overlay(y, x, label, rgb, alpha);
  }
}
