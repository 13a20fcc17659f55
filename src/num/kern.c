/* Which kernels this processor gets. The tables are filled once, in order of speed; they and the processor's features behind them are the one
 * global state of the library. A processor without a table of its own runs the reference. */
#include "num/kern.h"

#include <pthread.h>
#include <string.h>

#include "num/ref/ref.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include "num/x86/x86.h"
#elif defined(__aarch64__)
#include <sys/auxv.h>

#include "num/arm/arm.h"
#endif

enum { MAX_TABLES = 4 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static mp_kern tables[MAX_TABLES];
static int table_count;

#if defined(__x86_64__)
/* __builtin_cpu_supports also asks the system (XGETBV) whether it keeps the wide registers. It has no word for F16C everywhere, cpuid has. */
static bool has_avx2(void)
{
    unsigned eax, ebx, ecx = 0, edx;
    bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

/* Everything that the files named *_avx512.c are compiled with; the compiler may use any of it. */
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512vbmi");
}

/* Each table starts as a copy of the one below, so what a set of instructions does not do better stays as it was. */
static void add_machine_tables(void)
{
    __builtin_cpu_init();
    if (!has_avx2())
        return;
    tables[table_count] = tables[table_count - 1];
    mp_kern_init_avx2(&tables[table_count++]);
    if (!has_avx512())
        return;
    tables[table_count] = tables[table_count - 1];
    mp_kern_init_avx512(&tables[table_count++]);
}
#elif defined(__aarch64__)
/* NEON is part of the base architecture and needs no check; of SDOT the kernel tells (HWCAP_ASIMDDP, whose name old headers lack). */
static void add_machine_tables(void)
{
    const unsigned long asimddp = 1ul << 20;
    tables[table_count] = tables[table_count - 1];
    mp_kern_init_neon(&tables[table_count++]);
    if (!(getauxval(AT_HWCAP) & asimddp))
        return;
    tables[table_count] = tables[table_count - 1];
    mp_kern_init_dotprod(&tables[table_count++]);
}
#else
static void add_machine_tables(void) {}
#endif

static void fill_tables(void)
{
    mp_kern_init_ref(&tables[table_count++]);
    add_machine_tables();
}

const mp_kern *mp_kern_at(int i)
{
    pthread_once(&once, fill_tables);
    return i >= 0 && i < table_count ? &tables[i] : NULL;
}

const mp_kern *mp_kern_get(const char *name)
{
    pthread_once(&once, fill_tables);
    if (!name)
        return &tables[table_count - 1];
    for (int i = 0; i < table_count; i++) {
        if (strcmp(tables[i].name, name) == 0)
            return &tables[i];
    }
    return NULL;
}

bool mp_kern_has_mm(const mp_kern *k, mp_dtype type)
{
    return k->mm[type] || k->dot[type];
}

/* Row by row: a block of tokens passes over each row while it is in the first cache. */
static void mm_by_rows(const mp_kern *k, mp_dtype type, const mp_mm *m, int64_t first, int64_t last)
{
    for (int64_t r = 0; r < m->rows; r++) {
        const char *row = (const char *)m->w + (size_t)r * m->row_bytes;
        for (int64_t t = first; t < last; t += MP_DOT_TOK) {
            int n = last - t < MP_DOT_TOK ? (int)(last - t) : MP_DOT_TOK;
            const void *x[MP_DOT_TOK];
            float y[MP_DOT_TOK];
            for (int i = 0; i < n; i++)
                x[i] = mp_mm_x(m, t + i);
            k->dot[type](y, row, x, m->n, n);
            for (int i = 0; i < n; i++)
                mp_mm_out(m, t + i)[r] = y[i];
        }
    }
}

void mp_kern_mm(const mp_kern *k, mp_dtype type, const mp_mm *m)
{
    enum { TOK_BLOCK = 64 };
    if (k->mm[type])
        k->mm[type](m);
    for (int64_t t = 0; !k->mm[type] && t < m->tok; t += TOK_BLOCK)
        mm_by_rows(k, type, m, t, t + TOK_BLOCK < m->tok ? t + TOK_BLOCK : m->tok);
}
