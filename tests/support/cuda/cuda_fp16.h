/* Halves of the emulation; the conversions are moped's own, whose bits tests/num prove. */
#ifndef MP_TESTS_CUDA_FP16_H
#define MP_TESTS_CUDA_FP16_H

#include "cuda_runtime.h"

extern "C" float mp_f16_to_f32(uint16_t h);
extern "C" uint16_t mp_f16_from_f32(float f);

struct __half { uint16_t bits; };
static inline __half __ushort_as_half(uint16_t u) { return { u }; }
static inline uint16_t __half_as_ushort(__half h) { return h.bits; }
static inline float __half2float(__half h) { return mp_f16_to_f32(h.bits); }
static inline __half __float2half_rn(float f) { return { mp_f16_from_f32(f) }; }
#endif
