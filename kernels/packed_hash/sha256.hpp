// SHA-256 of one message by one thread, on the host and on the GPU (FIPS 180-4: functions 4.1.2,
// constants 4.2.2, padding 5.1.1, initial value 5.3.3, compression 6.2.2). Of the message schedule
// 16 words are kept, W[t] in place t mod 16: with the state they fit into registers.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/half.hpp"

namespace qsweep::kernels::sha256 {

constexpr int block_bytes = 64;

// use(0), use(1), ..., each a constant: were they computed, words would lie in memory and not in
// registers.
template <class Use, int... i>
QSWEEP_HD inline void unrolled(std::integer_sequence<int, i...>, Use use) {
  (use(std::integral_constant<int, i>{}), ...);
}
template <int count, class Use>
QSWEEP_HD inline void unrolled(Use use) {
  unrolled(std::make_integer_sequence<int, count>{}, use);
}

using State = uint32_t[8];   // a to h
using Block = uint32_t[16];  // words as numbers

// From and to the standard's big-endian words.
QSWEEP_HD inline uint32_t bytes_reversed(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __byte_perm(word, 0, 0x0123);  // shifts are not seen to be this: 7 % more instructions
#else
  return __builtin_bswap32(word);
#endif
}

QSWEEP_HD inline void begin(State& state) {
  constexpr uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  unrolled<8>([&](auto i) { state[i] = initial[i]; });
}

// W[t], which takes the place of W[t - 16].
template <int t>
QSWEEP_HD inline uint32_t scheduled(Block& w) {
  if constexpr (t >= 16) {
    const uint32_t w15 = w[(t + 1) % 16], w2 = w[(t + 14) % 16];
    const uint32_t sigma0 = std::rotr(w15, 7) ^ std::rotr(w15, 18) ^ w15 >> 3;
    const uint32_t sigma1 = std::rotr(w2, 17) ^ std::rotr(w2, 19) ^ w2 >> 10;
    w[t % 16] += sigma1 + w[(t + 9) % 16] + sigma0;
  }
  return w[t % 16];
}

// Adds a block to the hash; `w` is used up.
QSWEEP_HD inline void compress(State& state, Block& w) {
  constexpr uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
      0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
      0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
      0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
      0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
      0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
      0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
      0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
      0xc67178f2};
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  unrolled<64>([&](auto t) {
    const uint32_t word = scheduled<t>(w);
    const uint32_t sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
    const uint32_t temporary = h + sum1 + choice + k[t] + word;
    h = g;
    g = f;
    f = e;
    e = d + temporary;
    d = c;
    c = b;
    b = a;
    a = temporary + sum0 + majority;
  });
  const State added = {a, b, c, d, e, f, g, h};
  unrolled<8>([&](auto i) { state[i] += added[i]; });
}

// 64 bytes of the message; `from` is a multiple of 16.
QSWEEP_HD inline void load_whole(const std::byte* from, Block& w) {
  unrolled<4>([&](auto quad) {
    std::memcpy(&w[4 * quad], __builtin_assume_aligned(from + 16 * quad, 16), 16);
  });
  unrolled<16>([&](auto i) { w[i] = bytes_reversed(w[i]); });
}

// A block behind the last whole one, which begins at byte `at`: what is left of the message, a one,
// zeros, and in the last block the message's length in bits.
QSWEEP_HD inline void load_padded(const std::byte* message, uint32_t bytes, uint32_t at, bool last,
                                  Block& w) {
  unrolled<block_bytes>([&](auto i) {
    const uint32_t place = at + i, one = place == bytes ? 0x80u : 0u;
    const uint32_t byte = place < bytes ? static_cast<uint32_t>(message[place]) : one;
    w[i / 4] = i % 4 == 0 ? byte : w[i / 4] << 8 | byte;
  });
  if (last) w[15] = bytes * 8;
}

// message [bytes] begins at a multiple of 16; bytes < 2^29.
QSWEEP_HD inline void hash(const std::byte* message, uint32_t bytes, State& state) {
  begin(state);
  const uint32_t padded = (bytes + 8) / block_bytes * block_bytes + block_bytes;
  for (uint32_t at = 0; at < padded; at += block_bytes) {
    Block w;
    if (at + block_bytes <= bytes) {
      load_whole(message + at, w);
    } else {
      load_padded(message, bytes, at, at + block_bytes == padded, w);
    }
    compress(state, w);
  }
}

}  // namespace qsweep::kernels::sha256
