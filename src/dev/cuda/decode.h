/* Blocks of 32 weights of every quantized type as 8 words of int8 codes, with one scale (SUB 32) or one for each half (SUB 16: Q2_K, Q3_K, Q6_K) and, where
 * the type has them (MIN), what is taken off:  x[i] = scale * code - min.  Everything that reads weights goes through these: products of one token and of
 * many, embeddings. Layouts: src/num/ref (pictures there), which these must agree with to the bit (tests/cuda/test_embed.c).
 *
 *   mp_unpack<TYPE>::block(p, k, &out)   p: the type's block (32 or 256 elements), in global or shared memory, at any even address (MXFP4: any address);
 *                                        k: which 32 of it
 *
 * Codes stay packed, four to a word: no operation here is on a single one, and a bias is taken off four at a time. */
#ifndef MP_DEV_CUDA_DECODE_H
#define MP_DEV_CUDA_DECODE_H

#include "dev/cuda/kernel.h"

typedef struct mp_codes {
    int   w[8];
    float scale[2], min[2]; /* [1] only where SUB is 16 */
} mp_codes;

/* ---- loads ---- */

__device__ static inline unsigned mp_u16(const unsigned char *p)
{
#ifdef __CUDA_ARCH__
    return *(const unsigned short *)p;
#else
    unsigned short v;
    memcpy(&v, p, 2);
    return v;
#endif
}

__device__ static inline float mp_half_at(const unsigned char *p)
{
    return mp_half_f32((uint16_t)mp_u16(p));
}

/* N words that begin at any address: whole words of memory, shifted together. No word is read that has none of the bytes. WIDE: the type's blocks keep
 * 16-byte alignment where the matrix has it, and lanes then load as much at once. */
template <int N, bool WIDE> __device__ static inline void mp_words(const unsigned char *p, unsigned *out)
{
    const unsigned off = (unsigned)((uintptr_t)p & 3);
    if (WIDE && N % 4 == 0 && ((uintptr_t)p & 15) == 0) {
        MP_UNROLLED for (int i = 0; i < N / 4; i++) {
            const uint4 v = ((const uint4 *)(const void *)p)[i];
            out[4 * i] = v.x, out[4 * i + 1] = v.y, out[4 * i + 2] = v.z, out[4 * i + 3] = v.w;
        }
        return;
    }
    const unsigned *word = (const unsigned *)(const void *)(p - off), *last = (const unsigned *)(const void *)((uintptr_t)(p + 4 * N - 1) & ~(uintptr_t)3);
    unsigned low = word[0];
    MP_UNROLLED for (int i = 0; i < N; i++) {
        const unsigned high = i < N - 1 ? word[i + 1] : *last;
        out[i] = __funnelshift_r(low, high, 8 * off);
        low = high;
    }
}

/* ---- four codes at a time ---- */

__device__ static inline int mp_less4(unsigned v, unsigned bias) /* each byte, below 128, less the bias; signed */
{
    return (int)(((v | 0x80808080u) - bias * 0x01010101u) ^ 0x80808080u);
}

/* The nibbles of 16 bytes: element j is the low one of byte j, element j + 16 the high one. */
__device__ static inline void mp_nibbles(const unsigned *v, unsigned *q)
{
    MP_UNROLLED for (int i = 0; i < 4; i++)
        q[i] = v[i] & 0x0f0f0f0fu, q[4 + i] = v[i] >> 4 & 0x0f0f0f0fu;
}

/* Four bits to the lowest bits of four bytes. */
__device__ static inline unsigned mp_spread(unsigned bits)
{
    return (bits & 15) * 0x00204081u & 0x01010101u;
}

/* The same nibbles through a table of 16 int8, lowest first in t. */
__device__ static inline void mp_look_up(const unsigned *v, const unsigned (&t)[4], int *q)
{
    MP_UNROLLED for (int i = 0; i < 4; i++) {
        unsigned pair[2]; /* of bytes 0 and 1, of bytes 2 and 3: low nibble, high nibble, in turn */
        MP_UNROLLED for (int h = 0; h < 2; h++) {
            const unsigned n = v[i] >> 16 * h, upper = 0x3210 | (n & 0x8888) >> 1; /* which half of the table: byte i of one or of the other */
            pair[h] = __byte_perm(__byte_perm(t[0], t[1], n & 0x7777), __byte_perm(t[2], t[3], n & 0x7777), upper);
        }
        q[i] = (int)__byte_perm(pair[0], pair[1], 0x6420), q[4 + i] = (int)__byte_perm(pair[0], pair[1], 0x7531);
    }
}

/* Digit n of four bytes of TQ1_0, less one; power is 3^n. Two bytes share a word with room above each. */
__device__ static inline int mp_digits(unsigned v, unsigned power)
{
    unsigned even = (v & 0x00ff00ffu) * power & 0x00ff00ffu, odd = (v >> 8 & 0x00ff00ffu) * power & 0x00ff00ffu;
    even = even * 3 >> 8 & 0x00ff00ffu, odd = odd * 3 & 0xff00ff00u;
    return mp_less4(even | odd, 1);
}

/* ---- types of 32 ---- */

template <int TYPE> struct mp_unpack;

template <bool HAS_MIN, bool HAS_FIFTH, int BIAS, int SIZE> struct mp_unpack_legacy {
    enum { LEN = 32, BYTES = SIZE, SUB = 32, MIN = HAS_MIN };
    __device__ static void block(const unsigned char *p, int, mp_codes *c)
    {
        unsigned v[4], q[8];
        c->scale[0] = mp_half_at(p);
        c->min[0] = HAS_MIN ? -mp_half_at(p + 2) : 0.0f;
        mp_words<4, false>(p + SIZE - 16, v);
        mp_nibbles(v, q);
        if (HAS_FIFTH) {
            const unsigned high = mp_u16(p + SIZE - 20) | mp_u16(p + SIZE - 18) << 16;
            MP_UNROLLED for (int i = 0; i < 8; i++)
                q[i] |= mp_spread(high >> 4 * i) << 4;
        }
        MP_UNROLLED for (int i = 0; i < 8; i++)
            c->w[i] = BIAS ? mp_less4(q[i], BIAS) : (int)q[i];
    }
};
template <> struct mp_unpack<MP_Q4_0> : mp_unpack_legacy<false, false, 8, 18> {};
template <> struct mp_unpack<MP_Q4_1> : mp_unpack_legacy<true, false, 0, 20> {};
template <> struct mp_unpack<MP_Q5_0> : mp_unpack_legacy<false, true, 16, 22> {};
template <> struct mp_unpack<MP_Q5_1> : mp_unpack_legacy<true, true, 0, 24> {};

template <> struct mp_unpack<MP_Q8_0> {
    enum { LEN = 32, BYTES = 34, SUB = 32, MIN = 0 };
    __device__ static void block(const unsigned char *p, int, mp_codes *c)
    {
        c->scale[0] = mp_half_at(p), c->min[0] = 0.0f;
        mp_words<8, false>(p + 2, (unsigned *)c->w);
    }
};

template <> struct mp_unpack<MP_MXFP4> {
    enum { LEN = 32, BYTES = 17, SUB = 32, MIN = 0 };
    __device__ static void block(const unsigned char *p, int, mp_codes *c)
    {
        const unsigned doubled[4] = { 0x03020100, 0x0c080604, 0xfdfeff00, 0xf4f8fafc }, e = p[0];
        unsigned v[4];
        c->scale[0] = __uint_as_float(e == 255 ? 0x7fc00000u : e < 2 ? 0x00200000u << e : (e - 1) << 23); /* 2^(e - 128), or NaN */
        c->min[0] = 0.0f;
        mp_words<4, false>(p + 1, v);
        mp_look_up(v, doubled, c->w);
    }
};

/* ---- types of 256 ---- */

/* Bits [shift, shift + n) of each of 32 bytes, which serve a block each shift. */
template <bool WIDE> __device__ static inline void mp_rows_of_bits(const unsigned char *p, int shift, unsigned mask, unsigned *q)
{
    mp_words<8, WIDE>(p, q);
    MP_UNROLLED for (int i = 0; i < 8; i++)
        q[i] = q[i] >> shift & mask;
}

template <> struct mp_unpack<MP_Q2_K> {
    enum { LEN = 256, BYTES = 84, SUB = 16, MIN = 1 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        const float d = mp_half_at(p + 80), dmin = mp_half_at(p + 82);
        const unsigned s = mp_u16(p + 2 * k);
        c->scale[0] = d * (float)(s & 15), c->scale[1] = d * (float)(s >> 8 & 15);
        c->min[0] = dmin * (float)(s >> 4 & 15), c->min[1] = dmin * (float)(s >> 12);
        mp_rows_of_bits<false>(p + 16 + k / 4 * 32, k % 4 * 2, 0x03030303u, (unsigned *)c->w);
    }
};

template <> struct mp_unpack<MP_Q3_K> {
    enum { LEN = 256, BYTES = 110, SUB = 16, MIN = 0 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        const float d = mp_half_at(p + 108);
        unsigned low[8], high[8];
        MP_UNROLLED for (int h = 0; h < 2; h++) {
            const int j = 2 * k + h, bits = (p[96 + j % 8] >> j / 8 * 4 & 15) | (p[104 + j % 4] >> j / 4 * 2 & 3) << 4;
            c->scale[h] = d * (float)(bits - 32), c->min[h] = 0.0f;
        }
        mp_rows_of_bits<false>(p + 32 + k / 4 * 32, k % 4 * 2, 0x03030303u, low);
        mp_rows_of_bits<false>(p, k, 0x01010101u, high);
        MP_UNROLLED for (int i = 0; i < 8; i++)
            c->w[i] = mp_less4(low[i] | high[i] << 2, 4);
    }
};

/* Scale and minimum k of Q4_K and Q5_K; p: the block. */
__device__ static inline void mp_six_bits(const unsigned char *p, int k, mp_codes *c)
{
    const unsigned char *s = p + 4;
    const bool first = k < 4;
    const unsigned a = s[first ? k : k + 4], b = s[first ? k + 4 : k], top = s[k % 4];
    const unsigned scale = first ? a & 63 : (a & 15) | top >> 6 << 4, low = first ? b & 63 : a >> 4 | b >> 6 << 4;
    c->scale[0] = mp_half_at(p) * (float)scale;
    c->min[0] = mp_half_at(p + 2) * (float)low;
}

template <> struct mp_unpack<MP_Q4_K> {
    enum { LEN = 256, BYTES = 144, SUB = 32, MIN = 1 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        mp_six_bits(p, k, c);
        mp_rows_of_bits<true>(p + 16 + k / 2 * 32, k % 2 * 4, 0x0f0f0f0fu, (unsigned *)c->w);
    }
};

template <> struct mp_unpack<MP_Q5_K> {
    enum { LEN = 256, BYTES = 176, SUB = 32, MIN = 1 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        unsigned high[8];
        mp_six_bits(p, k, c);
        mp_rows_of_bits<true>(p + 48 + k / 2 * 32, k % 2 * 4, 0x0f0f0f0fu, (unsigned *)c->w);
        mp_rows_of_bits<true>(p + 16, k, 0x01010101u, high);
        MP_UNROLLED for (int i = 0; i < 8; i++)
            c->w[i] |= (int)(high[i] << 4);
    }
};

template <> struct mp_unpack<MP_Q6_K> {
    enum { LEN = 256, BYTES = 210, SUB = 16, MIN = 0 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        const float d = mp_half_at(p + 208);
        unsigned low[8], high[8];
        c->scale[0] = d * (float)(signed char)p[192 + 2 * k], c->scale[1] = d * (float)(signed char)p[193 + 2 * k];
        c->min[0] = c->min[1] = 0.0f;
        mp_rows_of_bits<false>(p + k / 4 * 64 + k % 2 * 32, k % 4 / 2 * 4, 0x0f0f0f0fu, low);
        mp_rows_of_bits<false>(p + 128 + k / 4 * 32, k % 4 * 2, 0x03030303u, high);
        MP_UNROLLED for (int i = 0; i < 8; i++)
            c->w[i] = mp_less4(low[i] | high[i] << 4, 32);
    }
};

/* IQ4_NL and IQ4_XS: nibbles index these. */
#define MP_IQ4_TABLE { 0xbfad9881, 0xf6eaddcf, 0x26190d01, 0x71594535 }

template <> struct mp_unpack<MP_IQ4_NL> {
    enum { LEN = 32, BYTES = 18, SUB = 32, MIN = 0 };
    __device__ static void block(const unsigned char *p, int, mp_codes *c)
    {
        const unsigned table[4] = MP_IQ4_TABLE;
        unsigned v[4];
        c->scale[0] = mp_half_at(p), c->min[0] = 0.0f;
        mp_words<4, false>(p + 2, v);
        mp_look_up(v, table, c->w);
    }
};

template <> struct mp_unpack<MP_IQ4_XS> {
    enum { LEN = 256, BYTES = 136, SUB = 32, MIN = 0 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        const unsigned table[4] = MP_IQ4_TABLE;
        const int scale = (p[4 + k / 2] >> k % 2 * 4 & 15) | (int)(mp_u16(p + 2) >> 2 * k & 3) << 4;
        unsigned v[4];
        c->scale[0] = mp_half_at(p) * (float)(scale - 32), c->min[0] = 0.0f;
        mp_words<4, false>(p + 8 + 16 * k, v);
        mp_look_up(v, table, c->w);
    }
};

/* 160 elements in five digits of 32 bytes, 80 in five of 16, 16 in four of 4. */
template <> struct mp_unpack<MP_TQ1_0> {
    enum { LEN = 256, BYTES = 54, SUB = 32, MIN = 0 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        unsigned v[8];
        c->scale[0] = mp_half_at(p + 52), c->min[0] = 0.0f;
        mp_words<8, false>(p + (k < 5 ? 0 : 20), v); /* k >= 5: what counts is the upper half, bytes 36 to 51, and then 32 to 47 below */
        if (k < 5) {
            const unsigned power = k == 0 ? 1 : k == 1 ? 3 : k == 2 ? 9 : k == 3 ? 27 : 81;
            MP_UNROLLED for (int i = 0; i < 8; i++)
                c->w[i] = mp_digits(v[i], power);
            return;
        }
        const unsigned first = k == 5 ? 1 : k == 6 ? 9 : 81, second = k == 5 ? 3 : 27; /* v[3..6]: bytes 32 to 47; v[7]: 48 to 51 */
        const unsigned last[4] = { 1, 3, 9, 27 };
        MP_UNROLLED for (int i = 0; i < 4; i++) {
            c->w[i] = mp_digits(v[3 + i], first);
            c->w[4 + i] = k == 7 ? mp_digits(v[7], last[i]) : mp_digits(v[3 + i], second);
        }
    }
};

template <> struct mp_unpack<MP_TQ2_0> {
    enum { LEN = 256, BYTES = 66, SUB = 32, MIN = 0 };
    __device__ static void block(const unsigned char *p, int k, mp_codes *c)
    {
        unsigned q[8];
        c->scale[0] = mp_half_at(p + 64), c->min[0] = 0.0f;
        mp_rows_of_bits<false>(p + k / 4 * 32, k % 4 * 2, 0x03030303u, q);
        MP_UNROLLED for (int i = 0; i < 8; i++)
            c->w[i] = mp_less4(q[i], 1);
    }
};

/* DO(type) for each of them: cases of a switch. */
#define MP_QUANTIZED_TYPES(DO)                                                                                                                               \
    DO(MP_Q4_0) DO(MP_Q4_1) DO(MP_Q5_0) DO(MP_Q5_1) DO(MP_Q8_0) DO(MP_Q2_K) DO(MP_Q3_K) DO(MP_Q4_K) DO(MP_Q5_K) DO(MP_Q6_K) DO(MP_IQ4_NL) DO(MP_IQ4_XS)      \
    DO(MP_TQ1_0) DO(MP_TQ2_0) DO(MP_MXFP4)

/* ---- float types ---- */

template <int TYPE> __device__ static inline float mp_float_at(const unsigned char *row, int64_t i) /* F32, F16, BF16 at any even address */
{
    if (TYPE == MP_F32)
        return __uint_as_float(mp_u16(row + 4 * i) | mp_u16(row + 4 * i + 2) << 16);
    const unsigned h = mp_u16(row + 2 * i);
    return TYPE == MP_F16 ? mp_half_f32((uint16_t)h) : mp_bf16_f32((uint16_t)h);
}
#endif
