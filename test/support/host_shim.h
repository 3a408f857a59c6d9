// Copyright 2026 uhr_seg_ros contributors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// What kernels.cu needs of CUDA, for g++: threads run one after the other, so that kernels must
// neither wait for nor share memory with each other.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __launch_bounds__(threads)

using std::max;
using std::min;

struct Index3 {
  unsigned x, y, z;
};

static thread_local Index3 gridDim, blockDim, blockIdx, threadIdx;

// Set by a read that a GPU refuses and this machine does not.
static thread_local bool misaligned;

template <class T>
static T __ldg(const T* address) {
  misaligned |= reinterpret_cast<std::uintptr_t>(address) % alignof(T) != 0;
  return *address;
}

#define __expf std::exp

// Not _Float16, which g++ has on x86-64 from version 12 on only.
static float half_to_float(unsigned short bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float size = fraction ? NAN : INFINITY;
  if (exponent < 31) {
    const int mantissa = exponent ? fraction + 1024 : fraction;
    size = std::ldexp(static_cast<float>(mantissa), max(exponent, 1) - 25);
  }
  return bits & 0x8000 ? -size : size;
}

// Rounds to nearest, ties to even.
static unsigned short float_to_half(float value) {
  const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
  const float size = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  // The last bit of a half counts 2^-10 of the power of two below it, but at least 2^-24.
  const int power = size < std::ldexp(1.0f, -13) ? -14 : std::ilogb(size);
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(size, 10 - power)));
  // A full mantissa carries over into the exponent.
  return sign | static_cast<unsigned short>(((power + 14) << 10) + steps);
}

// The type of an argument as numpy names it, such as i4; addresses are u8.
template <class T>
static std::string numpy_name() {
  const char* kind = std::is_pointer<T>::value          ? "u"
                     : std::is_floating_point<T>::value ? "f"
                     : std::is_signed<T>::value         ? "i"
                                                        : "u";
  return kind + std::to_string(sizeof(T));
}

template <class... Arguments>
static const char* signature(void (*)(Arguments...)) {
  static const std::string names = [] {
    std::string text;
    for (const std::string& name : {numpy_name<Arguments>()...}) text += name + " ";
    return text;
  }();
  return names.c_str();
}

template <class... Arguments, std::size_t... I>
static void call(void (*kernel)(Arguments...), void** parameters, std::index_sequence<I...>) {
  kernel(*static_cast<Arguments*>(parameters[I])...);
}

// Run every thread of a grid; `parameters` are addresses of arguments, as cuLaunchKernel takes
// them. Tell if all reads were aligned.
template <class... Arguments>
static bool run_grid(void (*kernel)(Arguments...), Index3 grid, Index3 block, void** parameters) {
  misaligned = false;
  gridDim = grid;
  blockDim = block;
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
        for (threadIdx.z = 0; threadIdx.z < block.z; ++threadIdx.z)
          for (threadIdx.y = 0; threadIdx.y < block.y; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x)
              call(kernel, parameters, std::index_sequence_for<Arguments...>());
  return !misaligned;
}

#define EXPORT(KERNEL)                                                             \
  extern "C" const char* signature_##KERNEL() { return signature(KERNEL); }        \
  extern "C" bool launch_##KERNEL(Index3 grid, Index3 block, void** parameters) {  \
    return run_grid(KERNEL, grid, block, parameters);                              \
  }
