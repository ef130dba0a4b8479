// What Hopper offers beyond CUDA C++: programmatic dependent launch, streaming loads, bf16
// conversion and the warp's matrix product.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace qsweep::kernels::cuda {

// Waits until the kernel before this one on the stream has finished and its writes are seen. Every
// kernel here is launched so that it may start earlier: nothing before this call may read what
// another kernel writes, or write anything.
__device__ inline void wait_for_previous() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// Lets the next kernel on the stream start its own prologue.
__device__ inline void let_next_start() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// 16 bytes that are read once: they pass the first-level cache by. The address is a multiple of 16.
__device__ inline uint4 load_once(const void* address) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
}

// Both rounded to bf16, nearest even; `low` in the low half.
__device__ inline uint32_t bf16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// Halves of both, as bf16: a - b and a * b, rounded once.
__device__ inline uint32_t bf16_pair_subtract(uint32_t a, uint32_t b) {
  uint32_t result;
  asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}
__device__ inline uint32_t bf16_pair_multiply(uint32_t a, uint32_t b) {
  uint32_t result;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

// c[16 x 8] += a[16 x 16] b[16 x 8], bf16 products summed in fp32. With g = lane / 4, t = lane % 4,
// a lane holds a: rows g (a0, a2) and g + 8 (a1, a3), columns 2t, 2t + 1 (a0, a1) and 8 more (a2,
// a3); b: column g, rows 2t, 2t + 1 (b0) and 8 more (b1); c: columns 2t, 2t + 1 of rows g (c0, c1)
// and g + 8 (c2, c3).
__device__ inline void multiply_add_16x8x16(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                            uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The block's dynamic shared memory.
template <class T>
__device__ inline T* shared_memory() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

}  // namespace qsweep::kernels::cuda
