/* SPDX-License-Identifier: BSD-3-Clause */
/* cpu: which wide instructions the machine has that runs this.
 *
 * Asked wherever they would pay: it is a load and a branch, and needs no variable. What is done
 * with them has a form for each level, which the tests call one by one.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_BASE_CPU_H
#define SHOAL_BASE_CPU_H

/* Each has what the one before it has. On other machines than x86-64 the compiler's is all there
 * is.
 */
enum cpu_level { CPU_PLAIN, CPU_POPCNT, CPU_AVX2, CPU_AVX512 };

static inline enum cpu_level cpu_level(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        return __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bw")
                   ? CPU_AVX512
                   : CPU_AVX2;
    }
    return __builtin_cpu_supports("popcnt") ? CPU_POPCNT : CPU_PLAIN;
#else
    return CPU_PLAIN;
#endif
}

#endif
