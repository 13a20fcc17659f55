#include "model/block/beside.h"
#include "model/block/prefetch.h"

#include <string.h>

#include "model/routing.h"

void mp_moe_bind(mp_binder *b, const mp_config *c, mp_moe *out)
{
    mp_bind_matrix(b, "ffn_gate_inp.weight", c->experts, c->width, 0, &out->router);
    mp_bind_experts(b, c->experts, c->width, c->expert_ff, &out->first, &out->expert);
    out->has_shared = c->shared_ff > 0;
    if (out->has_shared) {
        mp_mlp_bind(b, "_shexp", c->width, c->shared_ff, &out->shared);
        mp_bind_matrix(b, "ffn_gate_inp_shexp.weight", 1, c->width, MP_BIND_OPTIONAL, &out->shared_gate);
    }
}

/* One layer's work: which rows of the batch go to which expert. */
typedef struct dispatch {
    mp_fwd        *f;
    const mp_moe  *w;
    mp_tensor      x, y;       /* [T,D], [T*k,D] */
    mp_expert_job *job;        /* [n] one per touched expert */
    mp_page       *page;       /* [n] */
    uint16_t      *uses;       /* [n] how many rows each has */
    mp_expert_job *run;        /* [n] those of the current call */
    int32_t       *rows;       /* [T*k] grouped by expert */
    int            n;
    int32_t        most;       /* rows of the longest */
} dispatch;

static void allocate(dispatch *d, int64_t choices)
{
    size_t most = (size_t)(choices < d->f->config->experts ? choices : d->f->config->experts);
    d->job = mp_host_new(d->f, most * sizeof(*d->job));
    d->run = mp_host_new(d->f, most * sizeof(*d->run));
    d->page = mp_host_new(d->f, most * sizeof(*d->page));
    d->uses = mp_host_new(d->f, most * sizeof(*d->uses));
    d->rows = mp_host_new(d->f, (size_t)choices * sizeof(*d->rows));
}

/* Groups the choices by expert, in the order of the rows. offset: [E] scratch. */
static void group(dispatch *d, const int32_t *ids, int64_t choices, int32_t *offset)
{
    int experts = d->f->config->experts;
    memset(offset, 0, (size_t)experts * sizeof(*offset));
    for (int64_t i = 0; i < choices; i++)
        offset[ids[i]]++;
    int32_t at = 0;
    for (int e = 0; e < experts; e++) {
        int32_t n = offset[e];
        d->most = n > d->most ? n : d->most;
        offset[e] = at;
        if (n) {
            d->page[d->n] = d->w->first + (mp_page)e;
            d->uses[d->n] = (uint16_t)(n < UINT16_MAX ? n : UINT16_MAX);
            d->job[d->n++] = (mp_expert_job){ .gate = d->w->expert.gate, .up = d->w->expert.up, .down = d->w->expert.down, .rows = d->rows + at, .n = n };
        }
        at += n;
    }
    for (int64_t i = 0; i < choices; i++)
        d->rows[offset[ids[i]]++] = (int32_t)i;
}

static void run_jobs(dispatch *d, int n)
{
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { d->x }, .out = { d->y } };
    int32_t first = 0;
    for (int i = 0; i < n; i++) {
        d->run[i].first = first;
        first += d->run[i].n;
    }
    op.u.experts.jobs = d->run;
    op.u.experts.n_jobs = n;
    op.u.experts.k = d->f->config->experts_used;
    op.u.experts.most = d->most;
    mp_emit(d->f, &op);
    d->y.node = op.out[0].node;
}

/* Pins job i's page; on success the job has its weights. */
static bool pin(dispatch *d, int i, mp_want want)
{
    mp_pin p;
    bool got = false;
    mp_err err = mp_pager_pin(d->f->pager, d->page[i], want, MP_PIN_READ, &p, &got);
    if (err && !d->f->err)
        d->f->err = err;
    if (err || !got)
        return false;
    d->job[i].gate.data = p.slice[0];
    d->job[i].up.data = p.slice[1];
    d->job[i].down.data = p.slice[2];
    return true;
}

static void swap_out(dispatch *d, int i) /* the i-th waiting job is done: the last waiting one takes its place */
{
    d->n--;
    d->job[i] = d->job[d->n];
    d->page[i] = d->page[d->n];
}

/* A device that works behind the host's back must be done with experts before their slots may get others: at the latest when it has the next layer's choices. */
static void let_go(dispatch *d, const mp_page *pinned, int n)
{
    mp_fwd *f = d->f;
    bool late = f->may_be_late && !d->n && n <= MP_OP_CHOICES; /* while others of the layer are to come, these would be in their way */
    mp_err err = f->dev->memory && !late ? f->dev->v->wait(f->dev) : MP_OK;
    if (err && !f->err)
        f->err = err;
    for (int i = 0; i < n; i++)
        if (late)
            f->late[f->n_late++] = pinned[i];
        else
            mp_pager_unpin(f->pager, pinned[i]);
}

/* Every waiting job whose expert is resident now, in one call. here (may be NULL) is computed meanwhile. */
static void run_ready(dispatch *d, mp_page *pinned, mp_beside_set *here)
{
    int n = 0, before = mp_times_enter(d->f->times, MP_ROW_PAGER);
    for (int i = 0; i < d->n && !d->f->err;) {
        if (pin(d, i, MP_PEEK)) {
            pinned[n] = d->page[i];
            d->run[n++] = d->job[i];
            swap_out(d, i);
        } else {
            i++;
        }
    }
    if (n && !d->f->err)
        run_jobs(d, n);
    if (here && here->n && !d->f->err)
        d->f->err = mp_beside_compute(d->f, here);
    let_go(d, pinned, n);
    mp_times_leave(d->f->times, before);
}

/* elsewhere: what is computed by the processor; NULL: nothing is. */
static mp_err announce(dispatch *d, const bool *elsewhere)
{
    int before = mp_times_enter(d->f->times, MP_ROW_PAGER);
    mp_access set = { .pages = d->page, .n = (uint32_t)d->n, .tokens = (uint32_t)d->x.shape[0], .rows = d->uses };
    mp_err err = mp_pager_want_some(d->f->pager, &set, elsewhere);
    mp_times_leave(d->f->times, before);
    return err;
}

/* With a GPU whose slots do not hold every expert: announces the set in both tiers, and takes what the processor computes out of the jobs, into *here. */
static void divide(dispatch *d, mp_beside_set *here)
{
    mp_fwd *f = d->f;
    bool *stays = mp_host_new(f, (size_t)d->n * sizeof(*stays));
    here->job = mp_host_new(f, (size_t)d->n * sizeof(*here->job));
    here->page = mp_host_new(f, (size_t)d->n * sizeof(*here->page));
    if (!f->err)
        f->err = mp_beside_divide(f, d->job, d->page, d->n, stays);
    if (!f->err)
        f->err = announce(d, stays);
    for (int i = d->n; i-- > 0 && !f->err;)
        if (stays[i]) {
            here->job[here->n] = d->job[i];
            here->page[here->n++] = d->page[i];
            swap_out(d, i);
        }
    if (here->n)
        mp_beside_prepare(f, &d->x, &d->y, here); /* before anything is enqueued for which it would wait */
}

static mp_err wait_for_one(dispatch *d)
{
    uint32_t which;
    int before = mp_times_enter(d->f->times, MP_ROW_STALL);
    mp_err err = mp_pager_wait_any(d->f->pager, d->page, (uint32_t)d->n, &which);
    mp_times_leave(d->f->times, before);
    return err;
}

static void run_paged(dispatch *d)
{
    mp_fwd *f = d->f;
    mp_page *pinned = mp_host_new(f, (size_t)d->n * sizeof(*pinned));
    if (f->prefetch)
        mp_prefetch_learn(f->prefetch, d->page, d->n);
    bool complete = mp_pager_complete(f->pager);
    mp_beside_set here = { 0 };
    if (!f->err && f->beside && !complete)
        divide(d, &here);
    else if (!f->err)
        f->err = announce(d, NULL);
    if (!f->err && !complete)
        mp_prefetch_guess(f, d->w); /* the reads of this layer are under way; guesses come after them */
    while ((d->n || here.n) && !f->err) {
        run_ready(d, pinned, &here);
        if (d->n && !f->err)
            f->err = wait_for_one(d);
    }
}

static void run_resident(dispatch *d)
{
    for (int i = 0; i < d->n; i++) {
        const mp_expert_shape *e = &d->w->resident[d->page[i] - d->w->first];
        d->run[i] = d->job[i];
        d->run[i].gate = e->gate;
        d->run[i].up = e->up;
        d->run[i].down = e->down;
    }
    run_jobs(d, d->n);
}

/* What dividing takes of the host's memory at most. */
static void reserve_beside(dispatch *d, size_t most)
{
    const mp_config *c = d->f->config;
    int64_t tok = d->x.shape[0] < MP_BESIDE_TOK ? d->x.shape[0] : MP_BESIDE_TOK;
    mp_expert_job job = { .gate = d->w->expert.gate, .up = d->w->expert.up, .down = d->w->expert.down, .n = (int32_t)(tok * c->experts_used) };
    mp_tensor x = mp_tensor_2d(NULL, MP_F32, tok, c->width), y = mp_tensor_2d(NULL, MP_F32, tok * c->experts_used, c->width);
    mp_beside_set set = { .job = &job, .n = 1 };
    static const size_t lists[] = { sizeof(bool), sizeof(mp_expert_job), sizeof(mp_page), MP_BESIDE_LISTS }; /* of divide; of mp_beside_divide */
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        mp_host_new(d->f, most * lists[i]);
    mp_beside_prepare(d->f, &x, &y, &set);
    if (!d->f->err)
        d->f->err = mp_beside_compute(d->f, &set);
}

/* The planner's view: as many experts as there can be, each with the most rows that it can have; sizes only. */
static void run_dry(dispatch *d, int64_t choices)
{
    int most = choices < d->f->config->experts ? (int)choices : d->f->config->experts;
    mp_expert_job job[1] = { { .gate = d->w->expert.gate, .up = d->w->expert.up, .down = d->w->expert.down, .n = (int32_t)choices } };
    mp_expert_job *keep = d->run;
    mp_host_new(d->f, (size_t)most * sizeof(mp_page));
    d->run = job;
    run_jobs(d, 1);
    d->run = keep;
    if (d->f->beside)
        reserve_beside(d, (size_t)most);
    mp_prefetch_guess(d->f, d->w);
}

/* w's row of f->chosen or f->chosen_weights. */
static mp_tensor kept_2d(const mp_fwd *f, const mp_moe *w, const mp_tensor *all, int64_t tok)
{
    int64_t layer = w->first / (mp_page)f->config->experts;
    return mp_tensor_2d(all->data ? (char *)all->data + layer * all->stride[0] : NULL, all->dtype, tok, f->config->experts_used);
}

mp_op mp_moe_route(mp_fwd *f, const mp_moe *w, mp_tensor x, bool kept)
{
    const mp_config *c = f->config;
    int64_t tok = x.shape[0];
    f->product = MP_PRODUCT_ROUTER;
    mp_op route = { .kind = MP_OP_ROUTE, .n_out = 3, .in = { mp_linear(f, x, w->router, (mp_tensor){ 0 }) } };
    route.out[0] = kept ? kept_2d(f, w, &f->chosen, tok) : mp_new_2d(f, MP_I32, tok, c->experts_used);
    route.out[1] = kept ? kept_2d(f, w, &f->chosen_weights, tok) : mp_new_2d(f, MP_F32, tok, c->experts_used);
    route.out[2] = mp_new_2d(f, MP_F32, tok, c->experts);
    route.u.route.k = c->experts_used;
    route.u.route.renorm = c->renorm;
    route.u.route.scale = c->expert_scale;
    mp_emit(f, &route);
    return route;
}

static mp_tensor combined(mp_fwd *f, mp_tensor y, mp_tensor weights)
{
    mp_op sum = { .kind = MP_OP_COMBINE, .n_out = 1, .in = { y, weights } };
    sum.out[0] = mp_new_2d(f, MP_F32, weights.shape[0], f->config->width);
    mp_emit(f, &sum);
    return sum.out[0];
}

/* Without the host: the device has the choices and knows where every expert is. */
static mp_tensor routed_by_id(mp_fwd *f, const mp_moe *w, mp_tensor x)
{
    const mp_config *c = f->config;
    mp_op route = mp_moe_route(f, w, x, true);
    mp_expert_job any = { .gate = w->expert.gate, .up = w->expert.up, .down = w->expert.down, .n = 1 };
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { x }, .out = { mp_new_2d(f, MP_F32, x.shape[0] * c->experts_used, c->width) } };
    op.u.experts.jobs = &any;
    op.u.experts.n_jobs = 1;
    op.u.experts.k = c->experts_used;
    op.u.experts.ids = route.out[0].data;
    op.u.experts.at = w->at;
    mp_emit(f, &op);
    return combined(f, op.out[0], route.out[1]);
}

static mp_tensor routed(mp_fwd *f, const mp_moe *w, mp_tensor x)
{
    const mp_config *c = f->config;
    int64_t tok = x.shape[0], choices = tok * c->experts_used;
    if (f->by_id)
        return routed_by_id(f, w, x);
    mp_op route = mp_moe_route(f, w, x, false);
    int32_t *ids = mp_host_of(f, &route.out[0]);
    mp_fwd_caught_up(f);
    float *weights = f->routing || f->recorder ? mp_host_of(f, &route.out[1]) : NULL;
    mp_routed(f, (int)w->first / c->experts, ids, weights);
    if (f->routing)
        mp_host_done(f, &route.out[1], weights);
    dispatch d = { .f = f, .w = w, .x = x, .y = mp_new_2d(f, MP_F32, choices, c->width) };
    allocate(&d, choices);
    int32_t *offset = mp_host_new(f, (size_t)c->experts * sizeof(int32_t));
    if (!f->err && f->dev->dry) {
        run_dry(&d, choices);
    } else if (!f->err) {
        group(&d, ids, choices, offset);
        if (w->resident)
            run_resident(&d);
        else
            run_paged(&d);
    }
    return combined(f, d.y, route.out[1]);
}

mp_tensor mp_moe_forward(mp_fwd *f, const mp_moe *w, mp_tensor x)
{
    int before = mp_times_enter(f->times, MP_ROW_MOE);
    mp_tensor y = routed(f, w, x);
    mp_times_leave(f->times, before);
    if (w->has_shared) {
        mp_tensor s = mp_mlp_forward(f, &w->shared, x);
        f->product = MP_PRODUCT_SHARED_GATE;
        if (!mp_tensor_none(&w->shared_gate))
            s = mp_gate(f, s, mp_linear(f, x, w->shared_gate, (mp_tensor){ 0 }));
        mp_residual(f, &y, s);
    }
    return y;
}
