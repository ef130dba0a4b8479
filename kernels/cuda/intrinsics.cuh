// What Hopper offers beyond CUDA C++: programmatic dependent launch, copies into shared memory and
// the barriers of the bulk ones, bf16 conversion, the warp's matrix product and its operands.
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

// Has an address and its translation ready before what lies there may be read: it is still being
// written, and goes no nearer than the second-level cache, where that is seen.
__device__ inline void expect_reads(const float* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

// Values of which the compiler is not to know how they were made.
__device__ inline void take_as_they_are(const unsigned char*& a, const unsigned char*& b,
                                        uint32_t& c) {
  asm("" : "+l"(a), "+l"(b), "+r"(c));
}
__device__ inline void take_as_it_is(uint32_t& a) {
  asm volatile("" : "+r"(a));
}

// threadIdx.x, read anew by each call: a long loop then computes what follows from it each time, in
// a few instructions, and need not keep it in registers.
__device__ inline int thread_index_anew() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

// Where something stands in shared memory: 32 bits, and no doubt for the compiler about the kind.
__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
__device__ inline void load_shared(uint32_t from, uint32_t (&to)[4]) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from));
}
__device__ inline void load_shared(uint32_t from, uint32_t (&to)[2]) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(from));
}
__device__ inline void load_shared(uint32_t from, uint32_t (&to)[1]) {
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(to[0]) : "r"(from));
}
__device__ inline uint32_t load_shared(uint32_t from) {
  uint32_t to[1];
  load_shared(from, to);
  return to[0];
}

__device__ inline void store_shared(uint32_t to, uint32_t value) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}
__device__ inline void store_shared(uint32_t to, const uint32_t (&value)[2]) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(to), "r"(value[0]), "r"(value[1])
               : "memory");
}
__device__ inline void store_shared(uint32_t to, const uint32_t (&value)[4]) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value[0]), "r"(value[1]),
               "r"(value[2]), "r"(value[3])
               : "memory");
}

// Starts copying 16 bytes from global to shared memory, past the first-level cache; zeros where
// not `real`, and then `from` is not read. Both addresses are multiples of 16.
__device__ inline void copy_async(uint32_t to, const void* from, bool real = true) {
  asm volatile(
      "{\n"
      ".reg .pred ignore;\n"
      "setp.eq.s32 ignore, %2, 0;\n"
      "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, ignore;\n"
      "}\n" ::"r"(to),
      "l"(from), "r"(static_cast<int>(real))
      : "memory");
}
// Returns once this thread's copies are there; a barrier tells the other threads.
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}
// The copies since the last call make a group; wait_for_groups() returns once all of this thread's
// groups but the last `Left` are there.
__device__ inline void end_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int Left>
__device__ inline void wait_for_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements, operands of the product below: lane l names row l % 8 of
// matrix l / 8, 16 bytes at a multiple of 16. A lane gets columns 2t and 2t + 1 of row g of each
// matrix, or, transposed, rows 2t and 2t + 1 of column g.
__device__ inline void load_matrices(uint32_t from, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from));
}
__device__ inline void load_matrices_transposed(uint32_t from, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from));
}

// A barrier in shared memory whose phase ends when `arrivals` threads have arrived and as many
// bytes were copied as were announced. Phases alternate between parity 0 and 1.
__device__ inline void start_barrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// After start_barrier() and before the barrier at which other threads learn of it.
__device__ inline void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void announce_bytes(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
// The same, and arrives.
__device__ inline void arrive_announcing(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
__device__ inline void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Returns once the phase of this parity has ended.
__device__ inline void wait_for_phase(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
      "@!ended bra again;\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Arrives once this thread's copy_async() so far are there.
__device__ inline void arrive_after_copies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

// Starts copying `bytes` from global to shared memory; the barrier hears of them when they are
// there. Addresses and bytes are multiples of 16. The bytes are read once: they leave the caches
// first.
__device__ inline void copy_bulk(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
  constexpr uint64_t evict_first = 0x12F0000000000000;  // as createpolicy makes it
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "l"(evict_first)
      : "memory");
}

// The same for bytes that others will read too.
__device__ inline void copy_bulk_kept(uint32_t to, const void* from, uint32_t bytes,
                                      uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}

// A barrier of the first `threads` threads of a block, all other warps left alone.
__device__ inline void sync_threads(int threads) {
  asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
}

// Barrier `id` of so many threads of a block, whole warps, for those that only say that they were
// there and for those that wait for all.
__device__ inline void arrive_at(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void meet_at(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// The blocks of a cluster: this one's place, their number, what another's pointer to shared memory
// is here, and the barrier of all their threads in two halves.
__device__ inline uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ inline uint32_t address_in_block(uint32_t mine, uint32_t rank) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(mine), "r"(rank));
  return address;
}
__device__ inline float load_from_block(const float* mine, uint32_t rank) {
  const uint32_t address = address_in_block(shared_address(mine), rank);
  float value;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
  return value;
}
__device__ inline int32_t load_from_block(const int32_t* mine, uint32_t rank) {
  return __float_as_int(load_from_block(reinterpret_cast<const float*>(mine), rank));
}
__device__ inline void load_from_block(uint32_t mine, uint32_t rank, float (&to)[4]) {
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
               : "r"(address_in_block(mine, rank))
               : "memory");
}
__device__ inline void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// An arrival that publishes nothing, and so need not wait for what is under way.
__device__ inline void cluster_arrive_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ inline uint32_t address_in_first_block(const void* mine) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, 0;" : "=r"(address) : "r"(shared_address(mine)));
  return address;
}
// Stores that tell a barrier of the block they go to how many bytes have come: nobody waits for
// them here, and this block may end.
__device__ inline void send_to_block(uint32_t to, const float (&v)[4], uint32_t barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, "
      "[%5];" ::"r"(to),
      "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]), "r"(barrier)
      : "memory");
}
__device__ inline void send_to_block(uint32_t to, const float (&v)[2], uint32_t barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::
          "r"(to),
      "f"(v[0]), "f"(v[1]), "r"(barrier)
      : "memory");
}
// Returns once the barrier's first phase has ended; what other blocks sent is then seen.
__device__ inline void wait_for_blocks(uint32_t barrier) {
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "again:\n"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ended, [%0], 0;\n"
      "@!ended bra again;\n"
      "}\n" ::"r"(barrier)
      : "memory");
}

// The larger one; NaN where one is.
__device__ inline float larger_or_nan(float a, float b) {
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
}

// 2^x within 2 ulp; 0 where that is below 2^-126, -inf included, and NaN of NaN.
__device__ inline float exp2_approximate(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// Both rounded to bf16, nearest even; `low` in the low half.
__device__ inline uint32_t bf16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// The same as fp16.
__device__ inline uint32_t fp16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
// Two codes, exactly.
__device__ inline uint32_t fp16_pair_of_e4m3(uint32_t codes) {
  uint32_t pair;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"(static_cast<uint16_t>(codes)));
  return pair;
}

// The E4M3 level nearest to x, ties to even, at most 448 in magnitude; NaN of NaN.
__device__ inline float e4m3_level(float x) {
  uint16_t codes;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %1;" : "=h"(codes) : "f"(x));
  float level;
  asm("cvt.f32.f16 %0, %1;" : "=f"(level) : "h"(static_cast<uint16_t>(fp16_pair_of_e4m3(codes))));
  return level;
}

// Halves of all, as fp16: a + b and a * b + c, rounded once.
__device__ inline uint32_t fp16_pair_add(uint32_t a, uint32_t b) {
  uint32_t result;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}
__device__ inline uint32_t fp16_pair_multiply_add(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}

// c[16 x 8] += a[16 x 16] b[16 x 8], bf16 (`Half`: fp16) products summed in fp32. With g = lane /
// 4, t = lane % 4, a lane holds a: rows g (a0, a2) and g + 8 (a1, a3), columns 2t, 2t + 1 (a0, a1)
// and 8 more (a2, a3); b: column g, rows 2t, 2t + 1 (b0) and 8 more (b1); c: columns 2t, 2t + 1 of
// rows g (c0, c1) and g + 8 (c2, c3).
template <bool Half>
__device__ void multiply_add_16x8x16(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                     uint32_t a3, uint32_t b0, uint32_t b1) {
  if constexpr (Half) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
}

// The same of signed bytes, c[16 x 8] += a[16 x 32] b[32 x 8], summed exactly. A lane holds a:
// columns 4t .. 4t + 3 of rows g (a0) and g + 8 (a1), and 16 more (a2, a3); b: column g, rows 4t ..
// 4t + 3 (b0) and 16 more (b1).
__device__ inline void multiply_add_16x8x32(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                            uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The block's dynamic shared memory.
template <class T>
__device__ inline T* shared_memory() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

}  // namespace qsweep::kernels::cuda
