// QSWEEP_PER_ISA before a function: compiled for several instruction sets and chosen when the
// program starts. For loops of conversions and single operations only, which give the same bits in
// every version. Sanitizers cannot instrument the choosing code.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define QSWEEP_PER_ISA __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define QSWEEP_PER_ISA
#endif
