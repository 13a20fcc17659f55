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

/* n <= 32 activations with one scale, the b-th block of a super-block that is zero before. Where 127 / amax overflows (amax < 3.8e-37) they count
 * as zeros. */
static void quantize_32(mp_q8 *out, int b, const float *x, int n)
{
    uint32_t bits = largest_bits(x, n);
    float amax;
    out->d[b] = out->s[b] = bits >= 0x7f800000 ? NAN : 0.0f;
    memcpy(&amax, &bits, 4);
    float inverse = 127.0f / amax;
    if (bits >= 0x7f800000 || isinf(inverse))
        return;
    for (int i = 0; i < n; i++) {
        int8_t q = (int8_t)lrintf(x[i] * inverse); /* nearest even: the default rounding mode, which nothing here changes */
        out->q[32 * b + i] = q;
        out->a[b] -= 128 * q;
        out->a16[i / 16][b] -= 128 * q;
    }
    out->d[b] = amax / 127.0f;
    out->s[b] = out->d[b] * (float)(out->a[b] / -128);
}

static int up_to(int64_t left, int most)
{
    return left < 0 ? 0 : left < most ? (int)left : most;
}

static void quantize_q8(mp_q8 *q, const float *x, int64_t n)
{
    for (; n > 0; n -= MP_Q8_SUPER, x += MP_Q8_SUPER, q++) {
        memset(q, 0, sizeof *q);
        for (int b = 0; b < 8; b++)
            quantize_32(q, b, x + 32 * b, up_to(n - 32 * b, MP_Q8_BLOCK));
    }
}

void mp_ref_init_q8(mp_kern *k)
{
    k->quantize_q8 = quantize_q8;
}
