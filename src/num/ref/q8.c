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

/* n <= 16 activations with one scale; q has room for 16, zero before. Returns the sum of d * q. Where 127 / amax overflows (amax < 3.8e-37) they count as zeros. */
static float quantize_16(float *d, int8_t *q, const float *x, int n)
{
    uint32_t bits = largest_bits(x, n);
    float amax;
    *d = bits >= 0x7f800000 ? NAN : 0.0f;
    memcpy(&amax, &bits, 4);
    float inverse = 127.0f / amax;
    if (bits >= 0x7f800000 || isinf(inverse))
        return *d;
    int sum = 0;
    for (int i = 0; i < n; i++) {
        q[i] = (int8_t)lrintf(x[i] * inverse); /* nearest even: the default rounding mode, which nothing here changes */
        sum += q[i];
    }
    *d = amax / 127.0f;
    return *d * (float)sum;
}

/* One block of n <= 32 activations. */
static void quantize_block(float *d, float *s, int8_t *q, const float *x, int n)
{
    memset(q, 0, MP_Q8_BLOCK);
    float low = quantize_16(d, q, x, n < 16 ? n : 16);
    *s = low + quantize_16(d + 1, q + 16, x + 16, n > 16 ? n - 16 : 0);
}

static void quantize_q8(void *buf, const float *x, int64_t n)
{
    mp_q8 view = mp_q8_at(buf, n);
    float *d = (float *)buf, *s = d + (view.s - view.d);
    int8_t *q = (int8_t *)buf + (view.q - (const int8_t *)buf);
    for (int64_t b = 0; b * MP_Q8_BLOCK < n; b++) {
        int64_t left = n - b * MP_Q8_BLOCK;
        quantize_block(d + 2 * b, s + b, q + b * MP_Q8_BLOCK, x + b * MP_Q8_BLOCK, left < MP_Q8_BLOCK ? (int)left : MP_Q8_BLOCK);
    }
}

void mp_ref_init_q8(mp_kern *k)
{
    k->quantize_q8 = quantize_q8;
}
