/* Products of quantized rows: for few tokens as the rows lie in memory, for more from a panel of turned codes.
 *
 * One token (decode), and up to 4: one row after the other; see block_avx2.h and tile_avx2.h. Floor: the rows' bytes, or what unpacking takes.
 *
 * More tokens (prefill): 16 rows are unpacked into a panel, 8 super-blocks of each at a time, and every tile of 2 rows x 3 tokens takes its codes and
 * activations from there. Floor, for 256 products: multiplications of any kind take two of the four 256-bit ports (Zen 4: 2 a cycle, additions 4).
 *
 *     codes to 15    8 vpmaddubsw, 1 vpmaddwd, 2 float (MIN_32: 3)                 5.5 cycles (6)
 *         sub = 16   8, 2, 3 (MIN_16: 5)                                           6.5 (7.5)
 *     codes to 31    8, 2, 2 (MIN_32: 3)                                           6 (6.5)
 *     codes to 63    8, 4, 3 (sub = 16)                                            7.5
 *     wide           16 vpmaddwd of 16-bit codes, 2 float                          9
 *
 *   scratch   the token (one), or panel [16 rows][8 super-blocks] 80 KiB | lanes [144 tokens][16 rows] of 32 bytes, 72 KiB
 */
#include <assert.h>

#include "num/x86/tile_avx2.h"

enum { ROWS = MP_BLOCK_ROWS, TOKENS = 144, STRIP = 6, TILE_ROWS = MP_TILE_ROWS, TILE_TOK = 3, PIECE = 8 /* super-blocks */ };

typedef struct panel {
    __m256i w[ROWS * PIECE * sizeof(mp_wide256) / sizeof(__m256i)]; /* as many of each row as its type needs */
    __m256  lanes[TOKENS][ROWS];
} panel;

_Static_assert(sizeof(panel) <= MP_MM_SCRATCH, "the panel has outgrown its scratch");

static void one_token(const mp_mm *m, const mp_mm256 *how)
{
    const mp_q8 *x = mp_mm_x(m, 0);
    float *out = mp_mm_out(m, 0);
    if (m->turned) {
        mp_q8 *back = m->scratch;
        for (int64_t s = 0; s < mp_supers(m->n); s++) {
            back[s] = x[s];
            mp_turn_codes_256(back[s].q, x[s].q);
        }
        x = back;
    }
    for (int64_t r = 0; r < m->rows; r++)
        out[r] = how->row(mp_mm_row(m, r), x, m->n);
}

static void few_tokens(const mp_mm *m, const mp_mm256 *how)
{
    const void *x[MP_FEW];
    float *out[MP_FEW], y[MP_FEW];
    for (int t = 0; t < m->tok; t++)
        x[t] = mp_mm_x(m, t), out[t] = mp_mm_out(m, t);
    for (int64_t r = 0; r < m->rows; r++) {
        how->few(y, mp_mm_row(m, r), x, m->n, (int)m->tok);
        for (int t = 0; t < m->tok; t++)
            out[t][r] = y[t];
    }
}

/* ---- more tokens ---- */

/* What a panel is multiplied with: super-blocks [0, supers) of `rows` rows with those of up to STRIP tokens, the first of which is the panel's t-th. */
typedef struct strip {
    const mp_q8 *x[STRIP];
    int          rows, supers, t, tok;
    bool         fresh; /* the lanes hold nothing yet */
    mp_ahead     ahead;
} strip;

/* Vectors of codes of a super-block in the panel, and of all of it. */
MP_INLINE int codes_of(int most)
{
    return mp_is_wide_256(most) ? 16 : 8;
}

MP_INLINE int entry_of(int most)
{
    return codes_of(most) + (int)(sizeof(mp_scales256) / sizeof(__m256i));
}

/* mp_turned_256 of codes of 16 bits: even bytes of the activations are shifted up, odd ones are there, which makes the sums 256 times as large. */
MP_INLINE mp_turned256 wide_sums(const mp_tile256 *m)
{
    mp_turned256 s;
    MP_UNROLL
    for (int k = 0; k < 16; k++) {
        __m256i q[TILE_ROWS];
        MP_UNROLL
        for (int r = 0; r < TILE_ROWS; r++)
            q[r] = mp_held_256(m->w[r][k]);
        MP_UNROLL
        for (int t = 0; t < m->tok; t++) {
            __m256i a = mp_codes_256(m->x[t], k / 2);
            a = mp_held_256(k & 1 ? _mm256_and_si256(a, _mm256_set1_epi16((short)0xff00)) : _mm256_slli_epi16(a, 8));
            MP_UNROLL
            for (int r = 0; r < TILE_ROWS; r++) {
                __m256i v = _mm256_madd_epi16(q[r], a);
                s.v[t][r][0] = k == 0 ? v : mp_held_256(_mm256_add_epi32(s.v[t][r][0], v));
            }
        }
    }
    MP_UNROLL
    for (int t = 0; t < m->tok; t++)
        MP_UNROLL
        for (int r = 0; r < TILE_ROWS; r++)
            s.v[t][r][0] = _mm256_srai_epi32(s.v[t][r][0], 8);
    return s;
}

/* Adds one super-block. */
MP_INLINE void step(__m256 acc[TILE_TOK][TILE_ROWS], const mp_kind256 *kind, const mp_tile256 *m)
{
    mp_turned256 s = mp_is_wide_256(kind->most) ? wide_sums(m) : mp_turned_256(*kind, m);
    MP_UNROLL
    for (int t = 0; t < m->tok; t++)
        MP_UNROLL
        for (int r = 0; r < TILE_ROWS; r++)
            acc[t][r] = mp_add_256(acc[t][r], *kind, s.v[t][r], (const mp_scales256 *)(m->w[r] + codes_of(kind->most)), m->x[t]);
}

/* Lanes of 2 rows and `tok` tokens: adds the products of a strip's super-blocks. */
MP_INLINE void tile(__m256 *lanes, const mp_kind256 *kind, const __m256i *from, const strip *s, int first, int tok)
{
    const int entry = entry_of(kind->most);
    __m256 acc[TILE_TOK][TILE_ROWS];
    mp_tile256 m = { .rows = TILE_ROWS, .tok = tok };
    MP_UNROLL
    for (int r = 0; r < TILE_ROWS; r++)
        m.w[r] = from + r * PIECE * entry;
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        m.x[t] = s->x[first + t];
        MP_UNROLL
        for (int r = 0; r < TILE_ROWS; r++)
            acc[t][r] = s->fresh ? _mm256_setzero_ps() : lanes[t * ROWS + r];
    }
    for (int i = 0; i < s->supers; i++) {
        step(acc, kind, &m);
        MP_UNROLL
        for (int r = 0; r < TILE_ROWS; r++)
            m.w[r] += entry;
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            m.x[t]++;
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        MP_UNROLL
        for (int r = 0; r < TILE_ROWS; r++)
            lanes[t * ROWS + r] = acc[t][r];
}

MP_INLINE void tiles(panel *p, const mp_kind256 *kind, const strip *s)
{
    for (int r = 0; r < s->rows; r += TILE_ROWS) {
        const __m256i *w = p->w + r * PIECE * entry_of(kind->most);
        mp_ahead_ask(&s->ahead, r, s->t / STRIP);
        for (int t = 0, n; t < s->tok; t += n) {
            __m256 *lanes = &p->lanes[s->t + t][r];
            n = s->tok - t == 4 ? 2 : mp_least(s->tok - t, TILE_TOK);
            switch (n) {
            case 1: tile(lanes, kind, w, s, t, 1); break;
            case 2: tile(lanes, kind, w, s, t, 2); break;
            default: tile(lanes, kind, w, s, t, 3); break;
            }
        }
    }
}

/* Compiled for each kind of codes; types with smaller ones take the next larger kind. */
static void multiply(panel *p, const mp_kind256 *kind, const strip *s)
{
#define KIND(width, m, b, k)                                                              \
    if (kind->sub == width && kind->most <= m && kind->bias == b && kind->min == k) {     \
        tiles(p, &(const mp_kind256){ .sub = width, .most = m, .bias = b, .min = k }, s); \
        return;                                                                           \
    }
    KIND(32, 15, 0, MP_MIN_32)
    KIND(32, 15, 8, MP_MIN_NONE)
    KIND(32, 15, 1, MP_MIN_NONE)
    KIND(32, 31, 0, MP_MIN_32)
    KIND(32, 31, 16, MP_MIN_NONE)
    KIND(32, 128, 0, MP_MIN_NONE)
    KIND(16, 15, 0, MP_MIN_16)
    KIND(16, 15, 4, MP_MIN_NONE)
    KIND(16, 63, 32, MP_MIN_NONE)
#undef KIND
    assert(!"a kind of codes that no tile is compiled for");
}

static void store_rows(const mp_mm *m, int64_t t, int64_t r, const __m256 *lanes)
{
    float *out = mp_mm_out(m, t) + r;
    mp_put_256(out, m->rows - r, mp_folds_256(lanes));
    if (m->rows - r > 8)
        mp_put_256(out + 8, m->rows - r - 8, mp_folds_256(lanes + 8));
}

/* 16 rows from r on with tokens [first, first + tok). */
static void block(const mp_mm *m, const mp_mm256 *how, int64_t r, int64_t first, int tok)
{
    panel *p = m->scratch;
    int rows = mp_least(m->rows - r, ROWS);
    for (int64_t at = 0; at < mp_supers(m->n); at += PIECE) {
        strip s = { .rows = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS, .supers = mp_least(mp_supers(m->n) - at, PIECE), .fresh = at == 0 };
        s.ahead = mp_ahead_of(m, r, (size_t)(at + PIECE) * how->bytes, PIECE * how->bytes, (tok + STRIP - 1) / STRIP);
        for (int i = 0; i < s.rows; i++)
            how->panel(p->w + i * PIECE * entry_of(how->kind.most), mp_mm_row(m, r + mp_least(i, rows - 1)) + at * how->bytes, mp_least(m->n - at * MP_SUPER, PIECE * MP_SUPER));
        for (s.t = 0; s.t < tok; s.t += STRIP) {
            s.tok = mp_least(tok - s.t, STRIP);
            for (int i = 0; i < s.tok; i++)
                s.x[i] = (const mp_q8 *)mp_mm_x(m, first + s.t + i) + at;
            multiply(p, &how->kind, &s);
            for (int i = 0; i < s.tok && at + PIECE >= mp_supers(m->n); i++) /* now, while others are computed: stores to many places take their time */
                store_rows(m, first + s.t + i, r, p->lanes[s.t + i]);
        }
    }
}

void mp_mm_256(const mp_mm *m, const mp_mm256 *how)
{
    assert(m->n <= MP_MM_COLS && mp_q8_bytes(MP_MM_COLS) <= MP_MM_SCRATCH);
    if (m->tok == 1) {
        one_token(m, how);
        return;
    }
    if (m->tok <= MP_FEW) {
        few_tokens(m, how);
        return;
    }
    for (int64_t t = 0; t < m->tok; t += TOKENS)
        for (int64_t r = 0; r < m->rows; r += ROWS)
            block(m, how, r, t, mp_least(m->tok - t, TOKENS));
}
