#include "model/block/beside.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"

static const double UP_FIRST = 1e-10, HERE_FIRST = 4e-11; /* seconds a byte, until something was measured: 10 and 25 GB/s */
enum { ROWS_FREE = 4 };      /* rows of one expert that take the processor no longer than reading its weights */
enum { FADE_BYTES = 1 << 28 }; /* what is remembered of each */

/* ---- costs ---- */

static void add(uint64_t *ns, uint64_t *bytes, uint64_t took_ns, uint64_t took_bytes)
{
    if (*bytes > FADE_BYTES) {
        *ns /= 2;
        *bytes /= 2;
    }
    *ns += took_ns;
    *bytes += took_bytes;
}

static double cost(uint64_t ns, uint64_t bytes, double first)
{
    return bytes ? (double)ns * 1e-9 / (double)bytes : first;
}

void mp_beside_up_begin(mp_beside *b)
{
    pthread_mutex_lock(&b->lock);
    if (!b->ups++)
        b->up_since_ns = mp_now_ns();
    pthread_mutex_unlock(&b->lock);
}

void mp_beside_up_end(mp_beside *b, size_t bytes)
{
    pthread_mutex_lock(&b->lock);
    uint64_t now = mp_now_ns();
    add(&b->up_ns, &b->up_bytes, now - b->up_since_ns, bytes);
    b->up_since_ns = now; /* the others go on */
    b->ups--;
    pthread_mutex_unlock(&b->lock);
}

/* ---- dividing ---- */

typedef struct miss {
    int      i;
    int32_t  rows;
    uint32_t uses;
} miss;
_Static_assert(sizeof(miss) + sizeof(mp_page) + sizeof(uint16_t) <= MP_BESIDE_LISTS, "what the planner was told");

static int most_wanted_first(const void *a, const void *b)
{
    const miss *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows > y->rows ? -1 : 1;
    if (x->uses != y->uses)
        return x->uses > y->uses ? -1 : 1;
    return x->i - y->i;
}

static int as_they_lie(const void *a, const void *b)
{
    return ((const miss *)a)->i - ((const miss *)b)->i;
}

static size_t bytes_of(const mp_expert_job *j)
{
    return mp_tensor_bytes(&j->gate) + mp_tensor_bytes(&j->up) + mp_tensor_bytes(&j->down);
}

static double work_of(const mp_expert_job *j)
{
    return (double)bytes_of(j) * (j->n > ROWS_FREE ? (double)j->n / ROWS_FREE : 1.0);
}

/* How many of the misses go up. */
static int best_split(mp_beside *b, const mp_expert_job *jobs, const miss *m, int n)
{
    pthread_mutex_lock(&b->lock);
    double up_cost = cost(b->up_ns, b->up_bytes, UP_FIRST), here_cost = cost(b->here_ns, b->here_bytes, HERE_FIRST), up = 0, here = 0, best;
    pthread_mutex_unlock(&b->lock);
    int at = 0;
    for (int i = 0; i < n; i++)
        here += work_of(&jobs[m[i].i]) * here_cost;
    best = here;
    for (int i = 0; i < n; i++) {
        up += (double)bytes_of(&jobs[m[i].i]) * up_cost;
        here -= work_of(&jobs[m[i].i]) * here_cost;
        double longest = up > here ? up : here;
        if (longest < best) {
            best = longest;
            at = i + 1;
        }
    }
    return at;
}

static int find_misses(mp_fwd *f, const mp_expert_job *jobs, const mp_page *pages, int n, miss *out)
{
    int count = 0;
    for (int at = 0; at < n; at += 64) {
        int part = n - at < 64 ? n - at : 64;
        uint64_t absent = mp_pager_absent(f->pager, pages + at, (uint32_t)part);
        for (int i = 0; i < part; i++)
            if (absent >> i & 1)
                out[count++] = (miss){ at + i, jobs[at + i].n, mp_pager_uses_of(f->pager, pages[at + i]) };
    }
    return count;
}

mp_err mp_beside_divide(mp_fwd *f, const mp_expert_job *jobs, const mp_page *pages, int n, bool *here)
{
    mp_beside *b = f->beside;
    miss *m = mp_host_new(f, (size_t)n * MP_BESIDE_LISTS);
    mp_page *below = (mp_page *)(m + n);
    uint16_t *rows = (uint16_t *)(below + n);
    memset(here, 0, (size_t)n * sizeof(*here));
    if (f->err)
        return f->err;
    int misses = find_misses(f, jobs, pages, n, m);
    if (!misses)
        return MP_OK;
    mp_pager_stats s;
    mp_pager_get_stats(b->ram, &s);
    bool all = (uint32_t)misses <= s.slots / 2; /* else what goes up waits there until a reader asks for it: announced, pages would be in each other's way */
    qsort(m, (size_t)misses, sizeof(*m), most_wanted_first);
    for (int i = mp_beside_on(b, f->batch->n_tok) ? best_split(b, jobs, m, misses) : misses; i < misses; i++)
        here[m[i].i] = true;
    if (all)
        qsort(m, (size_t)misses, sizeof(*m), as_they_lie); /* neighbours in the file come together */
    uint32_t asked = 0;
    for (int i = 0; i < misses; i++) {
        if (!all && !here[m[i].i])
            continue;
        below[asked] = pages[m[i].i];
        rows[asked++] = (uint16_t)(m[i].rows < UINT16_MAX ? m[i].rows : UINT16_MAX);
    }
    return asked ? mp_pager_want(b->ram, &(mp_access){ .pages = below, .n = asked, .tokens = (uint32_t)f->batch->n_tok, .rows = rows }) : MP_OK;
}

/* ---- computing ---- */

void mp_beside_prepare(mp_fwd *f, const mp_tensor *x, const mp_tensor *y, mp_beside_set *set)
{
    set->x = *x;
    set->y = *y;
    set->out = y;
    set->x.data = mp_host_of(f, x);
    set->y.data = mp_host_new(f, mp_tensor_bytes(y));
    set->x.node = set->y.node = 0;
}

/* Rows of the jobs, in runs of neighbours. */
static mp_err put_rows(mp_fwd *f, const mp_beside_set *set, const mp_expert_job *jobs, int n)
{
    mp_err err = MP_OK;
    size_t row = (size_t)set->y.stride[0];
    for (int i = 0; i < n; i++)
        for (int32_t at = 0, run; at < jobs[i].n && !err; at += run) {
            for (run = 1; at + run < jobs[i].n && jobs[i].rows[at + run] == jobs[i].rows[at] + run;)
                run++;
            size_t first = (size_t)jobs[i].rows[at] * row;
            err = f->dev->v->put(f->dev, (char *)set->out->data + first, (const char *)set->y.data + first, (size_t)run * row);
        }
    return err;
}

static mp_err run(mp_fwd *f, mp_beside_set *set, mp_expert_job *jobs, int n)
{
    mp_beside *b = f->beside;
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { set->x }, .out = { set->y } };
    size_t bytes = 0;
    int32_t first = 0;
    for (int i = 0; i < n; i++) {
        jobs[i].first = first;
        first += jobs[i].n;
        bytes += bytes_of(&jobs[i]);
    }
    op.u.experts.jobs = jobs;
    op.u.experts.n_jobs = n;
    op.u.experts.k = f->config->experts_used;
    size_t mark = mp_arena_mark(f->host);
    op.scratch = mp_host_new(f, mp_dev_scratch(b->cpu, &op));
    uint64_t since = mp_now_ns();
    mp_err err = f->err ? f->err : f->dev->dry ? MP_OK : mp_dev_run(b->cpu, &op);
    mp_arena_rewind(f->host, mark);
    if (err || f->dev->dry)
        return err;
    add(&b->here_ns, &b->here_bytes, mp_now_ns() - since, bytes);
    b->computed += (uint64_t)n;
    return put_rows(f, set, jobs, n);
}

static bool pin(mp_beside *b, mp_page page, mp_expert_job *job, mp_err *err)
{
    mp_pin p;
    bool got = false;
    *err = mp_pager_pin(b->ram, page, MP_PEEK, MP_PIN_READ, &p, &got);
    if (*err || !got)
        return false;
    job->gate.data = p.slice[0];
    job->up.data = p.slice[1];
    job->down.data = p.slice[2];
    return true;
}

/* Those whose weights are in RAM, at most `most` at once: the readers for VRAM need slots there too. They are swapped to the set's end and taken off it. */
static mp_err run_ready(mp_fwd *f, mp_beside_set *set, int most, int *done)
{
    mp_err err = MP_OK;
    int n = 0, left = set->n;
    for (int i = 0; i < left && n < most && !err;) {
        if (!pin(f->beside, set->page[i], &set->job[i], &err)) {
            i++;
            continue;
        }
        left--, n++;
        mp_expert_job job = set->job[i];
        mp_page page = set->page[i];
        set->job[i] = set->job[left], set->page[i] = set->page[left];
        set->job[left] = job, set->page[left] = page;
    }
    if (n && !err)
        err = run(f, set, set->job + left, n);
    for (int i = left; i < set->n; i++)
        mp_pager_unpin(f->beside->ram, set->page[i]);
    set->n = left;
    *done = n;
    return err;
}

mp_err mp_beside_compute(mp_fwd *f, mp_beside_set *set)
{
    mp_pager_stats s;
    if (f->dev->dry)
        return run(f, set, set->job, set->n);
    mp_pager_get_stats(f->beside->ram, &s);
    int most = s.slots / 4 ? (int)(s.slots / 4) : 1, done;
    mp_err err = MP_OK;
    while (set->n && !err) {
        uint32_t which;
        err = run_ready(f, set, most, &done);
        if (!err && set->n && !done)
            err = mp_pager_wait_any(f->beside->ram, set->page, (uint32_t)set->n, &which);
    }
    return err;
}
