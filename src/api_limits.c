/* The machine's limits, of moped.h. */
#include <assert.h>

#include "base/os.h"
#include "moped.h"
#include "num/limits.h"

static_assert((int)MOPED_ARITH_F32 == (int)MP_ARITH_F32 && (int)MOPED_ARITH_COUNT == (int)MP_ARITH_COUNT, "arithmetics are the library's own");

enum { ROUNDS = 15 };
static const uint64_t DEFAULT_BYTES = 256ull << 20;

const char *moped_arith_name(moped_arith arith)
{
    return mp_arith_name((mp_arith)arith);
}

static mp_err measure(const moped_limits_options *o, const mp_kern *k, mp_pool *pool, moped_limits *out)
{
    mp_read_test test = { o->bytes ? o->bytes : DEFAULT_BYTES, true, o->rounds > 0 ? o->rounds : ROUNDS };
    out->threads = mp_pool_threads(pool);
    mp_err err = mp_limits_read(pool, &test, &out->read_bps);
    if (!err)
        err = mp_limits_read(NULL, &test, &out->read_one_bps);
    test.huge = false;
    if (!err && o->small_pages)
        err = mp_limits_read(pool, &test, &out->read_small_bps);
    for (int a = 0; !err && a < MP_ARITH_COUNT; a++) {
        out->one_ops[a] = mp_limits_ops(k, (mp_arith)a);
        out->ops[a] = out->one_ops[a] * out->threads; /* measured on all at once, a neighbour would show in it; too low a limit flatters */
    }
    return err;
}

moped_status moped_measure_limits(const moped_limits_options *options, moped_limits *out)
{
    moped_limits_options o = { 0 };
    mp_ledger *ledger = NULL;
    mp_pool *pool = NULL;
    if (options)
        o = *options;
    *out = (moped_limits){ 0 };
    const mp_kern *k = mp_kern_get(o.isa);
    if (!k)
        return mp_fail(MP_E_USAGE, "this processor cannot run '%s'", o.isa);
    mp_err err = mp_ledger_open(false, &ledger);
    if (!err)
        err = mp_pool_open(ledger, o.threads > 0 ? o.threads : mp_os_cpus(), &pool);
    if (!err)
        err = measure(&o, k, pool, out);
    if (err)
        *out = (moped_limits){ 0 };
    mp_pool_close(&pool);
    if (ledger)
        mp_ledger_close(&ledger);
    return err;
}
