/* Products of codes of 8 bits, and in which order they are added: what the AVX2 kernels of all types and of all numbers of tokens share.
 *
 * Without VNNI a product of bytes is vpmaddubsw: unsigned x signed, two neighbours added in 16 bits, where 2 * 127 * 128 is all that fits. How many
 * words of 4 codes can be added up in 16 bits before vpmaddwd makes them 32 depends on the largest code:
 *
 *     most 15    eight, a whole block (8 * 2 * 127 * 15 = 30480): one vpmaddwd for 8 blocks, two where sub = 16
 *     most 31    four: two of them
 *     most 63    two: four
 *     most 128   one: |q| is multiplied with activations that have taken q's sign; products of many tokens take codes of 16 bits (mm_avx2.c)
 *
 * An exact sum, of a block or (sub = 16) of half of one, then becomes a float: lane b is block b. For one token the blocks' sums are gathered into the lanes
 * (block_avx2.h); for more, codes and activations are turned (kern.h), so that word w of all 8 blocks is vector w, and the lanes hold sums as they are: for 2
 * to 4 tokens each super-block of the row in registers, for more in a panel. The order of float operations is mp_add_256's, for all of them.
 */
#ifndef MP_NUM_X86_TILE_AVX2_H
#define MP_NUM_X86_TILE_AVX2_H

#include "num/x86/mm.h"
#include "num/x86/simd_avx2.h"

enum { MP_FEW = 4 /* tokens */, MP_TILE_ROWS = 2 };

/* What products must know of a type's codes. */
typedef struct mp_kind256 {
    int         sub;  /* elements that share a scale: 16 or 32 */
    int         most; /* the largest code, with its bias; 128: codes are signed ("wide"), sub is 32 */
    int         bias; /* a power of two, or 0 */
    mp_min_kind min;
} mp_kind256;

/* Of a super-block: block b in lane b; where sub is 16, of the first halves in [0] and of the second in [1], and minima divided by 128. */
typedef struct mp_scales256 {
    __m256 scale[2], min[2];
} mp_scales256;

typedef struct mp_super256 { /* turned, it is what panels consist of */
    __m256i      q[8];
    mp_scales256 s;
} mp_super256;

typedef struct mp_wide256 { /* those of wide codes: even bytes of word w at 2w, odd ones behind them, as 16 bits */
    __m256i      q[16];
    mp_scales256 s;
} mp_wide256;

/* What mm_avx2.c needs of a type. */
typedef struct mp_mm256 {
    void (*panel)(__m256i *to, const uint8_t *row, int64_t n);       /* n weights, as mp_super256 or mp_wide256 */
    float (*row)(const uint8_t *row, const mp_q8 *x, int64_t n);     /* a whole row for one token that is not turned */
    void (*few)(float *out, const uint8_t *row, const void *const *x, int64_t n, int tok); /* for 2 to MP_FEW turned ones */
    int        bytes;
    mp_kind256 kind;
} mp_mm256;

void mp_mm_256(const mp_mm *m, const mp_mm256 *how);

MP_INLINE bool mp_is_wide_256(int most)
{
    return most > 63;
}

/* How many vectors of pairs, a word of 8 blocks each, are added up in 16 bits. */
MP_INLINE int mp_chain_256(mp_kind256 kind)
{
    return mp_is_wide_256(kind.most) ? 1 : kind.most > 31 ? 2 : kind.most > 15 || kind.sub == 16 ? 4 : 8;
}

MP_INLINE __m256i mp_codes_256(const mp_q8 *x, int i)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(x->q + 32 * i));
}

MP_INLINE __m256i mp_words8_256(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* An exact sum over codes with their bias as floats without it. a: -128 times the sum of the activations. */
MP_INLINE __m256 mp_unbiased_256(__m256i sum, const int32_t *a, int bias)
{
    if (bias)
        sum = _mm256_add_epi32(sum, _mm256_srai_epi32(mp_words8_256(a), __builtin_ctz(128 / (unsigned)bias)));
    return _mm256_cvtepi32_ps(sum);
}

/* Adds a super-block: sum[0] of the blocks, or (sub = 16) sum[0] and sum[1] of their first and second halves. */
MP_INLINE __m256 mp_add_256(__m256 acc, mp_kind256 kind, const __m256i sum[2], const mp_scales256 *w, const mp_q8 *x)
{
    const __m256 d = _mm256_loadu_ps(x->d);
    if (kind.sub == 32) {
        acc = _mm256_fmadd_ps(mp_unbiased_256(sum[0], x->a, kind.bias), _mm256_mul_ps(w->scale[0], d), acc);
        return kind.min == MP_MIN_32 ? _mm256_fnmadd_ps(w->min[0], _mm256_loadu_ps(x->s), acc) : acc;
    }
    __m256 both = _mm256_mul_ps(mp_unbiased_256(sum[0], x->a16[0], kind.bias), w->scale[0]);
    both = _mm256_fmadd_ps(mp_unbiased_256(sum[1], x->a16[1], kind.bias), w->scale[1], both);
    MP_UNROLL
    for (int h = 0; h < 2; h++)
        both = kind.min == MP_MIN_16 ? _mm256_fmadd_ps(_mm256_cvtepi32_ps(mp_words8_256(x->a16[h])), w->min[h], both) : both;
    return _mm256_fmadd_ps(both, d, acc);
}

/* The products of 32 codes, added in pairs. */
MP_INLINE __m256i mp_pairs_256(__m256i q, __m256i a, int most)
{
    return mp_is_wide_256(most) ? _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(a, q)) : _mm256_maddubs_epi16(q, a);
}

/* ---- turned codes ---- */

/* Rows and tokens that are multiplied with each other: a turned super-block of each. */
typedef struct mp_tile256 {
    const __m256i *w[MP_TILE_ROWS];
    const mp_q8   *x[MP_FEW];
    int            rows, tok;
} mp_tile256;

typedef struct mp_turned256 {
    __m256i v[MP_FEW][MP_TILE_ROWS][2]; /* sums as mp_add_256 takes them */
} mp_turned256;

/* Without the barrier the compiler reads an operand of several products anew for each, and adds in an order for which it lacks registers. */
MP_INLINE __m256i mp_held_256(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* Sums over words [from, to), in pairs of 16 bits. */
MP_INLINE void mp_chain_of_256(__m256i pairs[MP_FEW][MP_TILE_ROWS], int most, const mp_tile256 *m, int from, int to)
{
    const bool shared = m->rows > 1; /* else activations are used once, and the row is in registers */
    MP_UNROLL
    for (int k = from; k < to; k++) {
        __m256i q[MP_TILE_ROWS];
        MP_UNROLL
        for (int r = 0; r < m->rows; r++)
            q[r] = shared ? mp_held_256(m->w[r][k]) : m->w[r][k];
        MP_UNROLL
        for (int t = 0; t < m->tok; t++) {
            __m256i a = shared ? mp_held_256(mp_codes_256(m->x[t], k)) : mp_codes_256(m->x[t], k);
            MP_UNROLL
            for (int r = 0; r < m->rows; r++) {
                __m256i p = mp_pairs_256(q[r], a, most);
                pairs[t][r] = k == from ? p : mp_held_256(_mm256_add_epi16(pairs[t][r], p));
            }
        }
    }
}

MP_INLINE mp_turned256 mp_turned_256(mp_kind256 kind, const mp_tile256 *m)
{
    const int chain = mp_chain_256(kind);
    mp_turned256 s;
    MP_UNROLL
    for (int k = 0; k < 8; k += chain) {
        const int part = 4 * k / kind.sub;
        __m256i pairs[MP_FEW][MP_TILE_ROWS];
        mp_chain_of_256(pairs, kind.most, m, k, k + chain);
        MP_UNROLL
        for (int t = 0; t < m->tok; t++)
            MP_UNROLL
            for (int r = 0; r < m->rows; r++) {
                __m256i v = _mm256_madd_epi16(pairs[t][r], _mm256_set1_epi16(1));
                s.v[t][r][part] = 4 * k % kind.sub ? mp_held_256(_mm256_add_epi32(s.v[t][r][part], v)) : v;
            }
    }
    return s;
}
#endif
