/* How fast the disk gives this model's experts, the way the engine reads them: a pager of a few slots, over a ledger of its own, asked for pages in random
 * order as fast as they come. */
#include "model/measure.h"

#include "model/model.h"

enum { SET = 16, SLOTS = 3 * SET, ROOM = 4 << 20 };

typedef struct measure {
    mp_pager *pager;
    uint32_t  pages;
    uint64_t  state;
    mp_page   set[2][SET]; /* one is being read while the other is waited for */
} measure;

/* SET different pages (a linear congruential sequence, Knuth's MMIX constants), announced. */
static mp_err ask(measure *x, mp_page set[SET])
{
    for (int i = 0; i < SET; i++) {
        bool fresh = false;
        while (!fresh) {
            x->state = x->state * 6364136223846793005u + 1442695040888963407u;
            set[i] = (mp_page)((x->state >> 33) % x->pages);
            fresh = true;
            for (int j = 0; j < SET; j++)
                fresh &= (j >= i || set[i] != set[j]);
        }
    }
    return mp_pager_want(x->pager, &(mp_access){ .pages = set, .n = SET, .tokens = 1 });
}

static mp_err take(measure *x, const mp_page set[SET])
{
    mp_err err = MP_OK;
    for (int i = 0; i < SET && !err; i++) {
        mp_pin pin;
        bool got;
        err = mp_pager_pin(x->pager, set[i], MP_MUST, MP_PIN_READ, &pin, &got);
        if (!err && got)
            mp_pager_unpin(x->pager, set[i]);
    }
    return err;
}

static mp_err read_for(measure *x, uint64_t ns, double *bps)
{
    mp_pager_stats s = { 0 };
    mp_err err = MP_OK;
    uint64_t start = mp_now_ns(), took = 0;
    while (!err && (!s.loads || (s.resident < s.slots && mp_now_ns() - start < ns))) { /* slots are touched, every thread has run */
        err = ask(x, x->set[0]);
        if (!err)
            err = take(x, x->set[0]);
        mp_pager_get_stats(x->pager, &s);
    }
    mp_pager_reset_stats(x->pager);
    start = mp_now_ns();
    if (!err)
        err = ask(x, x->set[0]);
    for (int i = 0; !err && took < ns; i ^= 1) {
        err = ask(x, x->set[i ^ 1]);
        if (!err)
            err = take(x, x->set[i]);
        took = mp_now_ns() - start;
    }
    mp_pager_get_stats(x->pager, &s);
    *bps = !err && took ? (double)s.load_bytes * 1e9 / (double)took : 0;
    return err;
}

/* Some slots of every size class (the least has one of all classes but one), and no more than half of the pages: what is resident is not read. */
static uint64_t slots_budget(const mp_pager_cost *cost)
{
    uint64_t some = cost->least_bytes * 3, half = cost->all_bytes / 2;
    return some < half ? some : half > cost->least_bytes ? half : cost->least_bytes;
}

mp_err mp_measure_disk(const mp_model_options *options, uint64_t ns, double *bps)
{
    mp_model *m;
    mp_ledger *ledger = NULL;
    mp_pager_config c = { 0 };
    mp_pager_cost cost = { 0 };
    measure x = { .state = mp_now_ns() };
    *bps = 0;
    mp_err err = mp_model_open_dry(options, NULL, &m);
    if (err == MP_E_BUDGET && m)
        err = MP_OK; /* what is asked is not whether it fits */
    if (!err && m && m->binder.pages >= 2 * SET) {
        err = mp_ledger_open(false, &ledger);
        if (!err)
            err = mp_model_pager_config(m, &c);
        c.ledger = ledger;
        if (options->ram_bytes) /* what is measured must not take more than the budget either */
            mp_ledger_set_limit(ledger, MP_TIER_RAM, options->ram_bytes > mp_os_own_bytes() + ROOM ? options->ram_bytes - mp_os_own_bytes() - ROOM : 1);
        if (!err)
            err = mp_pager_price(&c, SLOTS, &cost);
        c.budget_bytes = slots_budget(&cost);
        if (!err)
            err = mp_pager_open(&c, SLOTS, &x.pager);
        x.pages = m->binder.pages;
        if (!err)
            err = read_for(&x, ns, bps);
        if (err == MP_E_BUDGET)
            err = MP_OK;
        mp_pager_close(&x.pager);
        mp_ledger_close(&ledger);
    }
    mp_model_close(&m);
    return err;
}
