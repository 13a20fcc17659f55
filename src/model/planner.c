/* The planner: the loader run on a dry ledger, and what the budget leaves for experts. Opening for real is planning, then the same steps on a real
 * ledger whose limit is the budget. */
#include <stdio.h>

#include "base/size.h"
#include "model/session.h"

enum { DEFAULT_CTX = 8192, DEFAULT_BATCH = 512 };
enum { VRAM_HEADROOM = 256 << 20, LEAST_BATCH = 64 };
enum { RUN_OVERHEAD = 870 << 10 };        /* code and libc's own, touched after the plan: 0.8 to 0.95 MiB on Debian 12 */
enum { MARGIN = (1 << 20) + (512 << 10) }; /* what a process holds before it opens a model varies by 200 KB from run to run */

/* What one generation takes beside the session itself: sampler, text, stop strings. */
static uint64_t generation_bytes(const mp_model *m, int64_t ctx)
{
    return (uint64_t)m->config.vocab * 20 + (uint64_t)ctx * 8 + (64 << 10);
}

static uint64_t session_bytes(const mp_model *m, int64_t ctx)
{
    return (uint64_t)ctx * 8 + (uint64_t)m->opt.batch_tok * 4 + (uint64_t)m->config.vocab * 4 + 1024 + generation_bytes(m, ctx);
}

/* Everything whose size depends on the context, in one tier. */
static uint64_t ctx_bytes(const mp_model *m, mp_tier tier, int64_t ctx)
{
    mp_kv_config c = { .layers = m->config.layers, .heads = m->config.kv_heads, .k_dim = m->config.head_dim, .v_dim = m->config.head_dim, .dtype = m->opt.kv };
    const mp_memory *memory = m->dev->memory;
    uint64_t blocks = (uint64_t)m->opt.sessions * mp_kv_blocks_for(ctx);
    uint64_t cache = tier == (memory ? memory->tier : MP_TIER_RAM) ? mp_region_cost_in(memory, blocks * mp_kv_block_bytes(&c)) : 0;
    if (tier != MP_TIER_RAM)
        return cache;
    uint64_t lists = blocks * 2 * sizeof(uint32_t); /* in which the pool keeps its blocks */
    return cache + lists + (uint64_t)m->opt.sessions * session_bytes(m, ctx);
}

/* ---- options and budget ---- */

static mp_err resolve(mp_model *m)
{
    mp_model_options *o = &m->opt;
    if (o->ctx_tok < 0 || o->batch_tok < 0 || o->threads < 0 || o->sessions < 0 || o->threads > 1024 || o->batch_tok > 65536)
        return mp_fail(MP_E_USAGE, "context, batch, threads and sessions must be positive numbers of a usable size");
    if (!o->ctx_tok)
        o->ctx_tok = m->config.ctx_train < DEFAULT_CTX ? m->config.ctx_train : DEFAULT_CTX;
    if (!o->batch_tok)
        o->batch_tok = DEFAULT_BATCH;
    if (o->batch_tok > o->ctx_tok)
        o->batch_tok = (int)o->ctx_tok;
    if (!o->threads)
        o->threads = mp_os_cpus();
    if (!o->sessions)
        o->sessions = 1;
    if (o->ctx_tok > INT32_MAX || (uint64_t)o->sessions * mp_kv_blocks_for(o->ctx_tok) > INT32_MAX)
        return mp_fail(MP_E_USAGE, "%d sessions of %lld tokens are more than can be counted", o->sessions, (long long)o->ctx_tok);
    if (!o->kv_given)
        o->kv = m->embd.dtype == MP_F32 ? MP_F32 : MP_F16;
    if (!o->policy)
        o->policy = mp_policy_name_at(0);
    return MP_OK;
}

/* What the user gave, as it is (a plan may be for another machine); without --ram what is free here, less the headroom. */
static void choose_budget(const mp_model_options *o, uint64_t own_bytes, mp_plan *p)
{
    mp_os_memory mem;
    mp_os_memory_get(&mem);
    uint64_t free_now = mem.available_bytes;
    if (mem.cgroup_limit_bytes) {
        uint64_t left = mem.cgroup_limit_bytes > mem.cgroup_used_bytes ? mem.cgroup_limit_bytes - mem.cgroup_used_bytes : 0;
        free_now = left < free_now ? left : free_now;
    }
    uint64_t headroom = o->headroom_bytes ? o->headroom_bytes : free_now / 10 < 1u << 30 ? free_now / 10 : 1u << 30;
    p->budget_chosen = !o->ram_bytes;
    p->budget_bytes = o->ram_bytes ? o->ram_bytes : own_bytes + (free_now > headroom ? free_now - headroom : 0);
}

/* With --vram auto what is free on the card, less a headroom for what others do there. */
static mp_err choose_vram(mp_model_options *o, mp_plan *p)
{
    mp_dev_vram v;
    p->vram_chosen = o->vram_bytes == MP_VRAM_AUTO;
    if (!p->vram_chosen)
        return MP_OK;
    mp_err err = mp_dev_cuda_vram(0, &v);
    uint64_t headroom = v.total_bytes / 20 < VRAM_HEADROOM ? VRAM_HEADROOM : v.total_bytes / 20;
    o->vram_bytes = v.context_bytes + (v.free_bytes > headroom ? v.free_bytes - headroom : 0);
    return err;
}

/* Is there room here for what the plan needs? A budget is a limit, not a promise that the machine has so much. */
static mp_err check_room(const mp_plan *p)
{
    mp_os_memory mem;
    mp_os_usage own;
    char need[MP_SIZE_TEXT], have[MP_SIZE_TEXT];
    mp_os_memory_get(&mem);
    mp_os_usage_get(&own);
    uint64_t room = mem.available_bytes + own.now_bytes;
    if (mem.cgroup_limit_bytes && mem.cgroup_limit_bytes < room)
        room = mem.cgroup_limit_bytes;
    if (p->need_bytes <= room)
        return MP_OK;
    return mp_fail(MP_E_BUDGET, "within its budget this model takes %s, but only %s of memory are free on this machine or allowed to its control group; give --ram %lluM or less",
                   mp_size_format(p->need_bytes, need), mp_size_format(room, have), (unsigned long long)(room >> 20));
}

/* ---- the plan ---- */

static void fill_lines(const mp_model *m, mp_plan *p)
{
    for (int t = 0; t < MP_TIER_COUNT; t++)
        for (int o = 0; o < MP_OWN_COUNT; o++)
            p->bytes[t][o] = mp_ledger_get(m->ledger, (mp_tier)t, (mp_owner)o).used_bytes;
    p->bytes[MP_TIER_RAM][MP_OWN_WORK] += (uint64_t)m->opt.sessions * session_bytes(m, m->opt.ctx_tok);
}

static uint64_t page_bytes(const mp_model *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->binder.pages; i++)
        for (int s = 0; s < MP_PAGE_SLICES; s++)
            sum += m->binder.page[i].slice[s].bytes;
    return sum;
}

static void fill_speed(const mp_model *m, mp_plan *p)
{
    uint64_t experts = page_bytes(m);
    bool tied = !mp_gguf_find(m->gguf, "output.weight");
    for (int i = 0; i < m->binder.n; i++)
        if (m->binder.list[i].dst != &m->embd || tied) /* of a table that is not the head as well, one row is read */
            p->dense_tok_bytes += m->binder.list[i].bytes;
    p->expert_pages = m->binder.pages;
    p->expert_tok_bytes = m->config.experts ? experts / (uint64_t)m->config.experts * (uint64_t)m->config.experts_used : 0;
    p->vram_bps = m->dev->memory ? MP_PLAN_VRAM_BPS : 0;
    p->ram_bps = m->opt.ram_bps > 0 ? m->opt.ram_bps : MP_PLAN_RAM_BPS;
    p->disk_bps = m->opt.disk_bps > 0 ? m->opt.disk_bps : MP_PLAN_DISK_BPS;
    p->bandwidth_assumed = !(m->opt.ram_bps > 0 && m->opt.disk_bps > 0);
}

/* The largest context for which everything but the experts, and their least, fits; 0: none. others: bytes in RAM. */
static int64_t largest_ctx(const mp_model *m, const mp_plan *p, uint64_t others)
{
    int64_t ctx = m->opt.ctx_tok;
    uint64_t limit = p->budget_bytes - mp_plan_slack(p->budget_bytes);
    uint64_t fixed = others - ctx_bytes(m, MP_TIER_RAM, ctx) + p->expert_least_bytes + MARGIN; /* so that what is named can be given */
    uint64_t above = p->least_vram_bytes - ctx_bytes(m, MP_TIER_VRAM, ctx);
    int64_t lo = 0, hi = m->config.ctx_train > ctx ? m->config.ctx_train : ctx;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo + 1) / 2;
        if (fixed + ctx_bytes(m, MP_TIER_RAM, mid) <= limit && above + ctx_bytes(m, MP_TIER_VRAM, mid) <= p->vram_budget_bytes)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

static mp_err refuse(const mp_model *m, const mp_plan *p)
{
    char need[MP_SIZE_TEXT], have[MP_SIZE_TEXT], shorter[96] = "no context fits it";
    if (p->largest_ctx > 0)
        snprintf(shorter, sizeof(shorter), "the largest context that fits is %lld (-c %lld)", (long long)p->largest_ctx, (long long)p->largest_ctx);
    if (!p->vram_fits)
        return mp_fail(MP_E_BUDGET, "with a context of %lld tokens this model needs at least %s of VRAM, and the budget is %s; give --vram %lluM or more; %s",
                       (long long)m->opt.ctx_tok, mp_size_format(p->least_vram_bytes, need), mp_size_format(p->vram_budget_bytes, have),
                       (unsigned long long)((p->least_vram_bytes + (1u << 20) - 1) >> 20), shorter);
    return mp_fail(MP_E_BUDGET, "with a context of %lld tokens this model needs at least %s of RAM, and the budget is %s; give --ram %lluM or more; %s",
                   (long long)m->opt.ctx_tok, mp_size_format(p->least_ram_bytes, need), mp_size_format(p->budget_bytes, have),
                   (unsigned long long)(p->least_ram_bytes >> 20), shorter); /* whole MiB: what is named can be given */
}

/* The budget to name for a sum of charges. */
static uint64_t with_slack(uint64_t sum_bytes)
{
    uint64_t bytes = mp_plan_with_slack(sum_bytes + MARGIN);
    return (bytes + (1u << 20) - 1) >> 20 << 20; /* whole MiB, so that what is named can be given */
}

/* What the pager takes beside its slots: threads, tables. They stay charged until its slots are decided. With nearly all slots it takes most: as many
 * tables, and a thread that touches memory, which a pager with all of them does without. */
static mp_err price_bookkeeping(mp_model *m, const mp_pager_cost *cost, uint64_t vram_bytes, uint64_t *out)
{
    uint64_t before = mp_ledger_get(m->ledger, MP_TIER_RAM, MP_OWN_OVERHEAD).used_bytes;
    uint64_t nearly_all = cost->all_bytes > cost->least_bytes ? cost->all_bytes - 1 : cost->all_bytes;
    *out = 0;
    mp_err err = cost->all_bytes ? mp_model_open_experts(m, nearly_all, vram_bytes) : MP_OK;
    if (!err)
        *out = mp_ledger_get(m->ledger, MP_TIER_RAM, MP_OWN_OVERHEAD).used_bytes - before;
    mp_model_close_experts(m);
    return err;
}

/* What the GPU's budget leaves for slots there. */
static void decide_vram(const mp_model *m, mp_plan *p, const mp_pager_cost *cost)
{
    uint64_t others = mp_ledger_used(m->ledger, MP_TIER_VRAM);
    p->vram_budget_bytes = m->opt.vram_bytes;
    p->expert_vram_least_bytes = cost->least_bytes;
    p->expert_vram_all_bytes = cost->all_bytes;
    p->least_vram_bytes = m->dev->memory ? others + cost->least_bytes : 0;
    p->vram_need_bytes = p->least_vram_bytes;
    p->vram_fits = p->least_vram_bytes <= p->vram_budget_bytes;
    uint64_t left = p->vram_fits ? p->vram_budget_bytes - others : cost->least_bytes;
    p->expert_vram_bytes = left < cost->all_bytes ? left : cost->all_bytes;
}

static mp_err decide(mp_model *m, mp_plan *p)
{
    mp_pager_cost cost, vram;
    uint64_t bookkeeping, loading = mp_ledger_peak(m->ledger, MP_TIER_RAM); /* reading the weights takes buffers that are gone when slots come */
    mp_err err = mp_model_price_experts(m, &cost, &vram);
    if (!err)
        decide_vram(m, p, &vram);
    if (!err)
        err = price_bookkeeping(m, &cost, p->expert_vram_bytes, &bookkeeping);
    if (err)
        return err;
    fill_lines(m, p);
    uint64_t others = mp_plan_ram(p) + bookkeeping, limit = p->budget_bytes - mp_plan_slack(p->budget_bytes);
    p->expert_least_bytes = cost.least_bytes;
    p->expert_all_bytes = cost.all_bytes;
    p->least_ram_bytes = with_slack(others + cost.least_bytes > loading ? others + cost.least_bytes : loading);
    p->largest_ctx = m->dense_peak_bytes <= limit ? largest_ctx(m, p, others) : 0;
    p->fits = p->vram_fits && others + cost.least_bytes <= limit && loading <= limit;
    if (p->fits && p->largest_ctx < p->ctx_tok)
        p->largest_ctx = p->ctx_tok;
    p->need_bytes = p->least_ram_bytes;
    fill_speed(m, p);
    if (!p->fits) {
        p->bytes[MP_TIER_RAM][MP_OWN_EXPERTS] = cost.least_bytes;
        p->bytes[MP_TIER_VRAM][MP_OWN_EXPERTS] = vram.least_bytes;
        p->bytes[MP_TIER_RAM][MP_OWN_OVERHEAD] += bookkeeping;
        return refuse(m, p);
    }
    uint64_t left = limit - others;
    p->expert_budget_bytes = left < cost.all_bytes ? left : cost.all_bytes;
    if (p->vram_budget_bytes && p->expert_vram_bytes >= vram.all_bytes) /* all of them are up there: below they only pass through */
        p->expert_budget_bytes = cost.least_bytes;
    err = mp_model_open_experts(m, p->expert_budget_bytes, p->expert_vram_bytes);
    if (err)
        return err;
    fill_lines(m, p);
    mp_pager_stats st = { 0 };
    if (m->below)
        mp_pager_get_stats(m->pager, &st);
    p->expert_vram_slots = st.slots;
    if (m->pager)
        mp_pager_get_stats(mp_model_ram_pager(m), &st);
    p->expert_slots = st.slots;
    if (p->expert_slots < p->expert_pages)
        p->bytes[MP_TIER_DISK][MP_OWN_EXPERTS] = page_bytes(m) / p->expert_pages * (p->expert_pages - p->expert_slots);
    p->need_bytes = mp_plan_ram(p) > loading ? mp_plan_ram(p) : loading;
    p->vram_need_bytes = mp_plan_vram(p);
    p->bound_tok_s = mp_plan_bound(p);
    return MP_OK;
}

/* A model that is described and no more, on a ledger of its own. */
static mp_err begin(const mp_model_options *options, bool dry, uint64_t limit_bytes, uint64_t overhead_bytes, mp_model **out)
{
    mp_ledger *ledger;
    *out = NULL;
    mp_err err = mp_ledger_open(dry, &ledger);
    if (err)
        return err;
    mp_ledger_set_limit(ledger, MP_TIER_RAM, limit_bytes);
    err = mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, overhead_bytes);
    if (!err) {
        err = mp_model_describe(options, ledger, out);
        if (*out)
            (*out)->overhead_bytes = overhead_bytes;
        else
            mp_ledger_credit(ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, overhead_bytes);
    }
    if (!*out)
        mp_ledger_close(&ledger);
    return err;
}

static mp_err plan_once(const mp_model_options *options, mp_plan *plan, mp_model **out)
{
    mp_plan p = { 0 };
    mp_dev_vram v;
    bool planned = false; /* another budget's error, of a header that asks for absurd memory say, leaves no model to show */
    *out = NULL;
    *plan = p;
    mp_err err = options->vram_bytes ? mp_dev_cuda_vram(0, &v) : MP_OK; /* first, so that what the driver takes of RAM counts as held */
    if (err)
        return err;
    uint64_t own_bytes = mp_os_own_bytes();
    p.overhead_bytes = own_bytes + RUN_OVERHEAD;
    err = begin(options, true, 0, p.overhead_bytes, out);
    if (!err)
        err = resolve(*out);
    if (!err)
        err = choose_vram(&(*out)->opt, &p);
    if (!err)
        err = mp_model_spend(*out, 0, 0);
    if (!err) {
        const mp_model_options *o = &(*out)->opt;
        choose_budget(o, own_bytes, &p);
        p.ctx_tok = o->ctx_tok;
        p.batch_tok = o->batch_tok;
        p.threads = o->threads;
        p.sessions = o->sessions;
        err = decide(*out, &p);
        planned = true;
        (*out)->plan = p;
    }
    *plan = p;
    if (err && !(planned && err == MP_E_BUDGET))
        mp_model_close(out);
    return err;
}

/* A smaller batch takes less work memory. false: it is as small as it gets. */
static bool shrink_batch(mp_model_options *o, int batch_tok)
{
    if (batch_tok / 2 < LEAST_BATCH)
        return false;
    mp_logf(&o->log, MP_LOG_WARN, "VRAM is short: batches of %d tokens instead of %d", batch_tok / 2, batch_tok);
    o->batch_tok = batch_tok / 2;
    return true;
}

mp_err mp_model_open_dry(const mp_model_options *options, mp_plan *plan, mp_model **out)
{
    mp_plan p;
    mp_model_options o = *options;
    mp_err err = plan_once(&o, &p, out);
    while (err == MP_E_BUDGET && *out && !p.vram_fits && shrink_batch(&o, p.batch_tok)) {
        mp_model_close(out);
        err = plan_once(&o, &p, out);
    }
    if (plan)
        *plan = p;
    return err;
}

/* A budget of VRAM is a limit, not a promise: others may hold some of the card. */
static mp_err limit_vram(mp_model_options *o)
{
    mp_dev_vram v;
    char text[MP_SIZE_TEXT];
    if (!o->vram_bytes || o->vram_bytes == MP_VRAM_AUTO)
        return MP_OK;
    mp_err err = mp_dev_cuda_vram(0, &v);
    if (err || o->vram_bytes <= v.free_bytes + v.context_bytes)
        return err;
    o->vram_bytes = v.free_bytes + v.context_bytes;
    mp_logf(&o->log, MP_LOG_WARN, "the GPU has only %s left for this process: others use the rest", mp_size_format(o->vram_bytes, text));
    return MP_OK;
}

/* What a limit leaves for slots, when everything else takes what was planned. */
static uint64_t experts_within(const mp_model *m, uint64_t limit)
{
    const mp_plan *p = &m->plan;
    uint64_t others = mp_plan_ram(p) - p->bytes[MP_TIER_RAM][MP_OWN_EXPERTS];
    if (m->uncached) /* the rest is the page cache's */
        return p->expert_least_bytes;
    return limit - others < p->expert_all_bytes ? limit - others : p->expert_all_bytes;
}

mp_err mp_model_resize_slots(mp_model *m, uint64_t limit)
{
    mp_pager_stats s = { 0 };
    if (!m->pager)
        return MP_OK;
    if (m->below)
        mp_pager_get_stats(m->pager, &s);
    return mp_pager_resize(mp_model_ram_pager(m), m->below && s.slots == s.pages ? m->plan.expert_least_bytes : experts_within(m, limit));
}

/* *short_of_vram: it fits by the plan, but the card had less, or in smaller pieces, than it said. */
static mp_err open_once(const mp_model_options *options, mp_plan *plan, bool *short_of_vram, mp_model **out)
{
    mp_model *shell;
    mp_plan p;
    *out = NULL;
    *short_of_vram = false;
    mp_err err = mp_model_open_dry(options, &p, &shell);
    *plan = p;
    if (!err)
        err = check_room(&p);
    if (err) {
        mp_model_close(&shell);
        return err;
    }
    mp_model_options resolved = shell->opt;
    size_t work_bytes = shell->work_bytes, host_bytes = shell->host_bytes;
    mp_model_close(&shell);
    err = begin(&resolved, false, p.budget_bytes - mp_plan_slack(p.budget_bytes), p.overhead_bytes, out);
    if (!err)
        err = mp_model_spend(*out, work_bytes, host_bytes);
    if (!err)
        err = mp_model_open_experts(*out, p.expert_budget_bytes, p.expert_vram_bytes);
    if (err) {
        *short_of_vram = err == MP_E_BUDGET && *out && mp_ledger_refused((*out)->ledger) == MP_TIER_VRAM;
        mp_model_close(out);
        return err;
    }
    (*out)->plan = p;
    if ((*out)->below) /* there may be fewer above than was planned */
        err = mp_model_resize_slots(*out, mp_ledger_limit((*out)->ledger, MP_TIER_RAM));
    if (err) {
        mp_model_close(out);
        return err;
    }
    mp_ledger_reset_peaks((*out)->ledger);
    return MP_OK;
}

mp_err mp_model_open(const mp_model_options *options, mp_plan *plan, mp_model **out)
{
    mp_plan p = { 0 };
    bool short_of_vram = false;
    mp_model_options o = *options;
    *out = NULL;
    mp_err err = limit_vram(&o);
    if (!err)
        err = open_once(&o, &p, &short_of_vram, out);
    while (err && short_of_vram && shrink_batch(&o, p.batch_tok))
        err = open_once(&o, &p, &short_of_vram, out);
    if (plan)
        *plan = p;
    return err;
}
