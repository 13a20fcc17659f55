/* Activations to int8. Every instruction set gives exactly these bits (tests/kern/test_kern.c). */
#include "num/ref/ref.h"

#include <math.h>
#include <string.h>

/* The largest magnitude as bits: of two positive floats the one with more bits is larger, infinity is above all numbers and NaN above infinity. */
static uint32_t largest_bits(const float *x, int n)
{
    uint32_t most = 0;
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    return most;
}

/* One block of n <= 32 activations; q has room for 32. A block whose 127 / amax overflows (amax < 3.8e-37) counts as zeros. */
static void quantize_block(float *d, float *s, int8_t *q, const float *x, int n)
{
    uint32_t bits = largest_bits(x, n);
    float amax;
    memset(q, 0, MP_Q8_BLOCK);
    *d = *s = 0;
    if (bits >= 0x7f800000) {
        *d = *s = NAN;
        return;
    }
    memcpy(&amax, &bits, 4);
    float inverse = 127.0f / amax;
    if (isinf(inverse))
        return;
    int sum = 0;
    for (int i = 0; i < n; i++) {
        q[i] = (int8_t)lrintf(x[i] * inverse); /* nearest even: the default rounding mode, which nothing here changes */
        sum += q[i];
    }
    *d = amax / 127.0f;
    *s = *d * (float)sum;
}

static void quantize_q8(void *buf, const float *x, int64_t n)
{
    mp_q8 view = mp_q8_at(buf, n);
    float *d = (float *)buf, *s = d + (view.s - view.d);
    int8_t *q = (int8_t *)buf + (view.q - (const int8_t *)buf);
    for (int64_t b = 0; b * MP_Q8_BLOCK < n; b++) {
        int64_t left = n - b * MP_Q8_BLOCK;
        quantize_block(d + b, s + b, q + b * MP_Q8_BLOCK, x + b * MP_Q8_BLOCK, left < MP_Q8_BLOCK ? (int)left : MP_Q8_BLOCK);
    }
}

void mp_ref_init_q8(mp_kern *k)
{
    k->quantize_q8 = quantize_q8;
}
