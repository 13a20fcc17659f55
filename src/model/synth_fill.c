/* Random blocks of each type: random bits, and scales that give the wanted deviation. What deviation a block has whose scale is 1 follows from its
 * format, all fields being uniform:
 *
 *   Q8_0    E q^2, q = -128..127                              IQ4_NL  E v^2 over the table
 *   Q4_K    E s^2 E q^2 - (E s E q)^2 + 7.5^2 Var m,  min scale 7.5 d, so that the mean is 0; Q5_K and Q2_K alike
 *   Q6_K    E s^2 E (q - 32)^2, s narrowed to -16..15: with all 8 bits the scale would be a subnormal half with few digits
 *
 * Types whose q has a mean other than 0 get scales of random sign. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "model/synth_int.h"
#include "num/kern.h"

/* ---- random bits ---- */

static uint64_t split_mix(uint64_t *x) /* Steele, Lea, Flood 2014 */
{
    uint64_t z = *x += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

mp_rng mp_rng_init(uint64_t seed, const char *stream)
{
    mp_rng r;
    uint64_t x = 0xCBF29CE484222325u; /* FNV-1a of the name */
    for (const char *p = stream; *p; p++)
        x = (x ^ (unsigned char)*p) * 0x100000001B3u;
    x ^= split_mix(&seed);
    for (int i = 0; i < 4; i++)
        r.s[i] = split_mix(&x);
    return r;
}

static inline uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static inline uint64_t next(mp_rng *r)
{
    uint64_t *s = r->s, out = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return out;
}

uint64_t mp_rng_next(mp_rng *r)
{
    return next(r);
}

float mp_rng_normal(mp_rng *r)
{
    uint64_t x = next(r);
    int sum = (int)(x & 0xFFFF) + (int)(x >> 16 & 0xFFFF) + (int)(x >> 32 & 0xFFFF) + (int)(x >> 48);
    return (float)(sum - 2 * 0xFFFF) * (1.7320508f / 65536.0f); /* Var of a uniform is 1/12, so of four 1/3 */
}

static void fill_bits(mp_rng *r, void *dst, size_t bytes)
{
    mp_rng local = *r; /* in registers */
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t x = next(&local);
        memcpy((char *)dst + i, &x, 8);
    }
    *r = local;
}

/* ---- quantized types ---- */

typedef struct format {
    int    scale_at, min_at; /* bytes into the block; min_at -1: none */
    double min;              /* the second half, as a multiple of the scale */
    bool   sign;             /* scales of either sign */
    double var;              /* of a weight when the scale is 1 */
} format;

/* Means of squares: 0..63: 1333.5 (variance 341.25), 0..15: 77.5 (21.25), 0..31: 325.5, 0..3: 3.5, -32..31: 341.5, -16..15: 85.5, -8..7: 21.5, -4..3: 5.5 */
static const format FORMATS[MP_DTYPE_COUNT] = {
    [MP_Q4_0] = { 0, -1, 0, true, 21.5 },
    [MP_Q5_0] = { 0, -1, 0, true, 85.5 },
    [MP_Q5_1] = { 0, 2, -15.5, false, 85.25 },
    [MP_Q8_0] = { 0, -1, 0, true, 5461.5 },
    [MP_Q2_K] = { 80, 82, 1.5, false, 77.5 * 3.5 - 7.5 * 1.5 * 7.5 * 1.5 + 1.5 * 1.5 * 21.25 },
    [MP_Q3_K] = { 108, -1, 0, false, 341.5 * 5.5 },
    [MP_Q4_K] = { 0, 2, 7.5, false, 1333.5 * 77.5 - 31.5 * 7.5 * 31.5 * 7.5 + 7.5 * 7.5 * 341.25 },
    [MP_Q5_K] = { 0, 2, 15.5, false, 1333.5 * 325.5 - 31.5 * 15.5 * 31.5 * 15.5 + 15.5 * 15.5 * 341.25 },
    [MP_Q6_K] = { 208, -1, 0, false, 85.5 * 341.5 },
    [MP_IQ4_NL] = { 0, -1, 0, true, 4548.0 },
    [MP_IQ4_XS] = { 0, -1, 0, true, 341.5 * 4548.0 },
};

static void put_half(unsigned char *at, uint16_t h)
{
    memcpy(at, &h, sizeof(h));
}

static void fill_blocks(mp_rng *r, mp_dtype type, double deviation, unsigned char *dst, int64_t n)
{
    const format *f = &FORMATS[type];
    const mp_dtype_info *info = mp_dtype_get(type);
    size_t blocks = (size_t)(n / info->block_len), bytes = info->block_bytes;
    assert(f->var > 0);
    uint16_t d = mp_f16_from_f32((float)(deviation / sqrt(f->var)));
    uint16_t m = mp_f16_from_f32((float)(f->min * (double)mp_f16_to_f32(d)));
    fill_bits(r, dst, blocks * bytes);
    for (size_t b = 0; b < blocks; b++, dst += bytes) {
        uint16_t sign = (uint16_t)(f->sign ? (dst[f->scale_at] & 1) << 15 : 0);
        put_half(dst + f->scale_at, (uint16_t)(d | sign));
        if (f->min_at >= 0)
            put_half(dst + f->min_at, m);
        if (type == MP_Q6_K)
            for (int i = 192; i < 208; i++)
                dst[i] = (unsigned char)((dst[i] & 31) - 16);
    }
}

/* ---- float types: uniform, out of a table of 4096 values, which costs less than converting ---- */

enum { VALUES = 4096 };

static float value(int i, float deviation)
{
    return ((float)i - (VALUES - 1) / 2.0f) * (deviation * 3.4641016f / VALUES); /* a uniform of width w deviates by w / sqrt(12) */
}

static void fill_f32(mp_rng *r, float deviation, float *dst, int64_t n)
{
    mp_rng local = *r;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint64_t x = next(&local);
        for (int k = 0; k < 4; k++)
            dst[i + k] = value((int)(x >> 16 * k & (VALUES - 1)), deviation);
    }
    for (uint64_t x = next(&local); i < n; i++, x >>= 16)
        dst[i] = value((int)(x & (VALUES - 1)), deviation);
    *r = local;
}

static void fill_halves(mp_rng *r, bool brain, float deviation, uint16_t *dst, int64_t n)
{
    uint16_t table[VALUES];
    for (int i = 0; i < VALUES; i++) {
        float v = value(i, deviation);
        uint32_t u;
        memcpy(&u, &v, sizeof(u));
        table[i] = brain ? (uint16_t)((u + 0x8000u) >> 16) : mp_f16_from_f32(v);
    }
    mp_rng local = *r;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint64_t x = next(&local);
        for (int k = 0; k < 4; k++)
            dst[i + k] = table[x >> 16 * k & (VALUES - 1)];
    }
    for (uint64_t x = next(&local); i < n; i++, x >>= 16)
        dst[i] = table[x & (VALUES - 1)];
    *r = local;
}

void mp_synth_fill(mp_rng *r, mp_dtype type, float deviation, void *dst, int64_t n)
{
    if (type == MP_F32)
        fill_f32(r, deviation, dst, n);
    else if (type == MP_F16 || type == MP_BF16)
        fill_halves(r, type == MP_BF16, deviation, dst, n);
    else
        fill_blocks(r, type, (double)deviation, dst, n);
}
