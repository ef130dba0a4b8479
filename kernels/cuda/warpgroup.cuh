// Products of four warps together (Hopper's warpgroups): they run beside what the warps do next.
#pragma once

#include <cstdint>

namespace qsweep::kernels::cuda {

// Registers written so far may be read by the products that follow, which make a group up to
// end_products(); wait_for_products() returns once all groups but the last `Left` are done. Until
// then neither sums nor operands may be touched.
__device__ inline void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void end_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int Left = 0>
__device__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory");
}

// What is computed for or from operands and sums so far is computed before this: the compiler would
// move it among the products, and then have each of them wait.
template <int N>
__device__ void settle_registers(uint32_t (&values)[N]) {
#pragma unroll
  for (uint32_t& value : values) asm volatile("" : "+r"(value)::"memory");
}
template <int N>
__device__ void settle_registers(float (&values)[N]) {
#pragma unroll
  for (float& value : values) asm volatile("" : "+f"(value)::"memory");
}

// The right operand [16 x Columns] fp16 in shared memory at `from`, a multiple of 16: for each
// eight columns two blocks, of the rows 0 to 7 and 8 to 15, in which a column is 16 bytes.
__device__ inline uint64_t right_operand(uint32_t from) {
  constexpr uint64_t next_rows = 128, next_columns = 256;  // bytes
  return (from & 0x3FFFFu) >> 4 | next_rows >> 4 << 16 | next_columns >> 4 << 32;
}

// c[64 x Columns] = a[64 x 16] b[16 x Columns] (+ c), fp16, summed in fp32. Each warp holds sixteen
// rows of a and c as in multiply_add_16x8x16(): four registers of c for each eight columns.
template <int Columns>
__device__ void warpgroup_multiply(float (&c)[Columns / 2], const uint32_t (&a)[4], uint64_t b,
                                   bool add);
template <>
__device__ inline void warpgroup_multiply<32>(float (&c)[16], const uint32_t (&a)[4], uint64_t b,
                                              bool add) {
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.ne.b32 add, %21, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7,"
      " %8, %9, %10, %11, %12, %13, %14, %15}, "
      "{%16, %17, %18, %19}, %20, add, 1, 1, 0;\n"
      "}\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]),
        "+f"(c[7]), "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]),
        "+f"(c[14]), "+f"(c[15])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}
template <>
__device__ inline void warpgroup_multiply<64>(float (&c)[32], const uint32_t (&a)[4], uint64_t b,
                                              bool add) {
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.ne.b32 add, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7,"
      " %8, %9, %10, %11, %12, %13, %14, %15,"
      " %16, %17, %18, %19, %20, %21, %22, %23,"
      " %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, add, 1, 1, 0;\n"
      "}\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]),
        "+f"(c[7]), "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]),
        "+f"(c[14]), "+f"(c[15]), "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]),
        "+f"(c[21]), "+f"(c[22]), "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]),
        "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

}  // namespace qsweep::kernels::cuda
