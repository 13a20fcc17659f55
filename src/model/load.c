/* Loading in steps, each of which runs the same on a dry ledger:
 *
 *   describe     headers -> architecture, settings, tokenizer, names and places of all tensors
 *   spend        dense weights, keys and values, device, work memory
 *   open_experts slots for the experts in what the budget leaves
 *
 * Dense weights in one region:  | matrices, each at its file phase, in aligned blocks of its own | vectors as float32 |
 * so that direct reads land in place. Vectors are few and small: they are read through the page cache, which is then dropped. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/heat.h"
#include "model/routing.h"
#include "model/session.h"

enum { READ_THREADS = 8, BLOCK = 4096, PIECE = 32 << 20 /* of a matrix on its way to another memory */ };

/* ---- describe ---- */

static void list_end_tokens(mp_model *m)
{
    for (int32_t id = 0; id < mp_tok_count(m->tok) && m->n_eog < (int)(sizeof(m->eog) / sizeof(m->eog[0])); id++)
        if (mp_tok_is_eog(m->tok, id))
            m->eog[m->n_eog++] = id;
}

static mp_err open_tokenizer(mp_model *m)
{
    mp_err err = MP_E_MODEL;
    if (mp_tok_usable(m->gguf))
        err = mp_tok_open(m->ledger, m->gguf, &m->tok);
    if (err == MP_E_MODEL) { /* it can still be run by token ids */
        snprintf(m->no_tok, sizeof(m->no_tok), "%s", mp_err_text());
        return MP_OK;
    }
    if (!err && mp_tok_count(m->tok) > m->config.vocab)
        return mp_fail(MP_E_MODEL, "the vocabulary has %d tokens, but 'token_embd.weight' only %d rows", mp_tok_count(m->tok), m->config.vocab);
    if (!err)
        list_end_tokens(m);
    return err;
}

/* A tensor that the architecture does not know may be one that its model needs: better said than silently left out. */
static void say_if_unused(const mp_model *m)
{
    const mp_gguf_tensor *first;
    int64_t n = mp_ledger_dry(m->ledger) ? 0 : mp_binder_unused(&m->binder, &first);
    if (n)
        mp_logf(&m->opt.log, MP_LOG_WARN, "the architecture '%s' has no use here for %lld of the file's tensors, first '%.*s': answers may be wrong", m->arch->name,
                (long long)n, (int)first->name.n, first->name.s);
}

/* Before memory is taken for their descriptions: experts that could not be in the file, not even at half a bit a weight. */
static mp_err check_expert_count(const mp_model *m)
{
    const mp_config *c = &m->config;
    if ((double)c->layers * c->experts * c->width * c->expert_ff * 3 / 16 <= (double)mp_gguf_bytes(m->gguf))
        return MP_OK;
    return mp_fail(MP_E_MODEL, "the metadata of '%s' ask for %d experts in each of %d layers, more than the file can hold", c->arch, c->experts, c->layers);
}

/* Tells each layer with experts which comes next. */
static void link_ahead(mp_model *m)
{
    const mp_layer *next = NULL;
    for (int i = m->config.layers; i-- > 0;) {
        mp_layer *l = &m->layers[i];
        if (!l->is_moe)
            continue;
        l->moe.ahead = next ? &next->moe : NULL;
        l->moe.ahead_norm = next ? &next->ffn_norm : NULL;
        next = l;
    }
}

static mp_err bind_all(mp_model *m)
{
    mp_binder *b = &m->binder;
    const mp_config *c = &m->config;
    mp_err err = check_expert_count(m);
    if (!err)
        err = mp_binder_open(m->ledger, m->gguf, (uint32_t)c->layers * (uint32_t)c->experts, b);
    if (!err)
        err = MP_NEW(m->ledger, MP_OWN_WORK, mp_layer, (size_t)c->layers, &m->layers);
    if (err)
        return err;
    mp_bind_matrix(b, "token_embd.weight", c->vocab, c->width, 0, &m->embd);
    mp_bind_vector(b, "output_norm.weight", c->width, 0, &m->out_norm);
    mp_bind_matrix(b, "output.weight", c->vocab, c->width, MP_BIND_OPTIONAL, &m->output);
    mp_bind_vector(b, "rope_freqs.weight", c->rope.dims / 2, MP_BIND_OPTIONAL, &m->rope_divisors);
    for (b->layer = 0; b->layer < c->layers && !b->err; b->layer++)
        m->arch->bind(b, c, &m->layers[b->layer]);
    b->layer = -1;
    link_ahead(m);
    if (!b->err)
        say_if_unused(m);
    return b->err;
}

mp_err mp_model_describe(const mp_model_options *options, mp_ledger *ledger, mp_model **out)
{
    mp_model *m;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_model, 1, &m);
    if (err)
        return err;
    m->ledger = ledger;
    m->opt = *options;
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->beside.lock, NULL);
    mp_prefetch_init(&m->prefetch, (mp_prefetch_mode)options->prefetch);
    *out = m;
    err = mp_gguf_open(ledger, options->path, &m->gguf);
    if (!err)
        err = mp_arch_find(m->gguf, &m->arch);
    if (!err)
        err = mp_config_read(m->gguf, m->arch->name, &m->config);
    if (!err)
        err = m->arch->configure(m->gguf, &m->config);
    if (!err)
        err = open_tokenizer(m);
    if (!err)
        err = bind_all(m);
    if (err)
        return err;
    mp_gguf_drop_arrays(m->gguf);
    mp_os_trim(); /* the arrays were megabytes in small pieces */
    m->kern = mp_kern_get(options->isa);
    return m->kern ? MP_OK : mp_fail(MP_E_USAGE, "this processor cannot run '%s'", options->isa);
}

/* ---- dense weights ---- */

static bool is_vector(const mp_tensor *t)
{
    return t->rank == 1;
}

/* Walks the bound tensors, giving each its place in the region (none on a dry ledger) and each matrix a job; returns the region's size.
 * jobs NULL: only counts. */
static size_t lay_out(mp_model *m, unsigned char *base, mp_io_job *jobs, int *n_jobs)
{
    size_t at = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < m->binder.n; i++) {
            const mp_binding *b = &m->binder.list[i];
            mp_tensor *t = b->dst;
            if (is_vector(t) != (pass == 1))
                continue;
            size_t phase = pass == 0 ? b->offset % BLOCK : 0, start = at + phase;
            at = pass == 0 ? (start + b->bytes + BLOCK - 1) & ~(size_t)(BLOCK - 1) : (at + mp_tensor_bytes(t) + 63) & ~(size_t)63;
            if (!jobs)
                continue;
            t->data = base ? base + start : NULL;
            if (pass == 0)
                jobs[(*n_jobs)++] = (mp_io_job){ mp_gguf_file(m->gguf, b->src->file), t->data, b->bytes, b->offset };
        }
    return at;
}

/* One NaN in a norm or a router ruins every token after it, far from its cause. Larger matrices are not looked at: it would double loading.
 * data: n of its elements, from the first-th on, in the host's memory. */
static mp_err check_finite(mp_model *m, const mp_binding *b, const void *data, int64_t first, int64_t n)
{
    enum { PART = 256 };
    mp_dtype type = b->dst->dtype;
    if (m->opt.no_check || (type != MP_F32 && type != MP_F16 && type != MP_BF16) || mp_tensor_count(b->dst) > (type == MP_F32 ? 1 << 24 : 1 << 22))
        return MP_OK;
    float v[PART];
    for (int64_t i = 0; i < n; i++) {
        if (i % PART == 0)
            m->kern->dequant[type](v, (const char *)data + mp_dtype_row_bytes(type, i), n - i < PART ? n - i : PART);
        if (!isfinite(v[i % PART]))
            return mp_fail(MP_E_MODEL, "tensor '%.*s' holds %s at element %lld; the file is damaged", (int)b->src->name.n, b->src->name.s,
                           isnan(v[i % PART]) ? "NaN" : "an infinity", (long long)(first + i));
    }
    return MP_OK;
}

/* A vector as float32, on its way to where it stays. */
static mp_err place_vector(mp_model *m, const mp_binding *b, float *v)
{
    int64_t n = b->dst->shape[0];
    mp_err err = check_finite(m, b, v, 0, n);
    if (!err && b->dst == &m->rope_divisors)
        mp_rope_table(&m->config.rope, v, m->rope_table);
    return err ? err : mp_memory_fill(m->dev->memory, b->dst->data, v, (size_t)n * sizeof(*v));
}

static mp_err read_vector(mp_model *m, const mp_binding *b)
{
    void *raw, *v;
    const mp_file *file = mp_gguf_file(m->gguf, b->src->file);
    mp_err err = mp_alloc(m->ledger, MP_OWN_WORK, b->bytes, &raw);
    if (err)
        return err;
    err = mp_alloc(m->ledger, MP_OWN_WORK, mp_tensor_bytes(b->dst), &v);
    if (!err)
        err = mp_file_read(file, raw, b->bytes, b->offset);
    if (!err) {
        m->kern->dequant[b->src->dtype](v, raw, b->dst->shape[0]);
        mp_file_drop_cache(file, b->offset, b->bytes);
        err = place_vector(m, b, v);
    }
    mp_free(v);
    mp_free(raw);
    return err;
}

typedef struct stage { mp_model *m; const char *name; } stage;

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    stage *s = user;
    return s->m->opt.progress ? s->m->opt.progress(s->m->opt.user, s->name, done, total) : 0;
}

/* Readers for so many bytes: each holds a staging buffer, which a small model should not pay for. */
static int read_threads(uint64_t bytes)
{
    uint64_t n = bytes / (8u << 20) + 1;
    return n < READ_THREADS ? (int)n : READ_THREADS;
}

static void say_if_buffered(const mp_model *m)
{
    for (int i = 0; i < mp_gguf_files(m->gguf); i++)
        if (mp_gguf_file(m->gguf, i)->direct_fd < 0)
            mp_logf(&m->opt.log, MP_LOG_WARN, "%s: its file system refuses direct I/O, so it is read through the page cache, which is dropped after each read: slower, and it counts as memory meanwhile",
                    mp_gguf_path(m->gguf, i));
}

/* Matrices for another memory, through a buffer of the host's: a piece is read while nothing else is; there are few, and it is the disk that is waited for. */
static mp_err read_through(mp_model *m, const mp_binding *b, const mp_region *buffer)
{
    const mp_file *file = mp_gguf_file(m->gguf, b->src->file);
    mp_err err = MP_OK;
    for (uint64_t at = 0, n; at < b->bytes && !err; at += n) {
        n = b->bytes - at < PIECE ? b->bytes - at : PIECE;
        unsigned char *to = buffer->base ? buffer->base + (b->offset + at) % BLOCK : NULL;
        err = mp_io_read_all(m->ledger, &(mp_io_job){ file, to, n, b->offset + at }, 1, read_threads(m->weights.bytes), on_progress, &(stage){ m, "dense weights" });
        if (!err && to && !mp_dtype_get(b->dst->dtype)->quantized) {
            int64_t size = (int64_t)mp_dtype_row_bytes(b->dst->dtype, 1);
            err = check_finite(m, b, to, (int64_t)at / size, (int64_t)n / size);
        }
        if (!err && to)
            err = mp_memory_fill(m->dev->memory, (unsigned char *)b->dst->data + at, to, n);
    }
    return err;
}

static mp_err read_matrices(mp_model *m, const mp_io_job *jobs, int n)
{
    mp_region buffer = { 0 };
    if (!m->dev->memory)
        return mp_io_read_all(m->ledger, jobs, n, read_threads(m->weights.bytes), on_progress, &(stage){ m, "dense weights" });
    uint64_t most = 0;
    for (int i = 0; i < n; i++)
        most = jobs[i].bytes > most ? jobs[i].bytes : most;
    mp_err err = mp_region_open(m->ledger, MP_OWN_WORK, (most < PIECE ? most : PIECE) + 2 * BLOCK, false, &buffer);
    for (int i = 0; i < m->binder.n && !err; i++)
        if (!is_vector(m->binder.list[i].dst))
            err = read_through(m, &m->binder.list[i], &buffer);
    mp_region_close(&buffer);
    return err;
}

static mp_err read_dense(mp_model *m)
{
    mp_io_job *jobs;
    int n = 0;
    mp_err err = MP_NEW(m->ledger, MP_OWN_WORK, mp_io_job, (size_t)m->binder.n + 1, &jobs);
    if (err)
        return err;
    lay_out(m, m->weights.base, jobs, &n);
    err = read_matrices(m, jobs, n);
    MP_FREE(jobs);
    if (mp_ledger_dry(m->ledger))
        return err;
    say_if_buffered(m);
    for (int i = 0; i < m->binder.n && !err; i++) {
        const mp_binding *b = &m->binder.list[i];
        if (is_vector(b->dst))
            err = read_vector(m, b);
        else if (!m->dev->memory)
            err = check_finite(m, b, b->dst->data, 0, mp_tensor_count(b->dst));
    }
    return err;
}

static mp_err load_dense(mp_model *m)
{
    mp_err err = mp_region_open_in(m->ledger, m->dev->memory, MP_OWN_WEIGHTS, lay_out(m, NULL, NULL, NULL), &m->weights);
    if (!err)
        err = read_dense(m);
    if (mp_tensor_none(&m->output))
        m->output = m->embd; /* tied */
    return err;
}

/* ---- the rest of spend ---- */

/* The table in the host's memory; divisors come with the weights. */
static mp_err make_rope(mp_model *m)
{
    mp_err err = MP_NEW(m->ledger, MP_OWN_WORK, float, (size_t)m->config.rope.dims / 2, &m->rope_table);
    if (!err)
        mp_rope_table(&m->config.rope, NULL, m->rope_table);
    return err;
}

/* And where the device has it. */
static mp_err place_rope(mp_model *m)
{
    int64_t n = m->config.rope.dims / 2;
    m->inv_freq = mp_tensor_1d(m->rope_table, MP_F32, n);
    if (!m->dev->memory)
        return MP_OK;
    mp_err err = mp_region_open_in(m->ledger, m->dev->memory, MP_OWN_WORK, (size_t)n * sizeof(float), &m->rope_region);
    m->inv_freq.data = m->rope_region.base;
    return err || !m->rope_region.base ? err : mp_memory_fill(m->dev->memory, m->inv_freq.data, m->rope_table, (size_t)n * sizeof(float));
}

/* Of all experts, for the time that the GPU holds all of them. */
static mp_err open_addresses(mp_model *m)
{
    bool any = m->dev->memory && m->binder.pages;
    return any ? mp_region_open_in(m->ledger, m->dev->memory, MP_OWN_WORK, m->binder.pages * 3 * sizeof(void *), &m->addresses) : MP_OK;
}

static mp_err open_kv(mp_model *m)
{
    mp_kv_config c = { .layers = m->config.layers, .heads = m->config.kv_heads, .k_dim = m->config.head_dim, .v_dim = m->config.head_dim,
                       .dtype = m->opt.kv, .blocks = (uint32_t)m->opt.sessions * mp_kv_blocks_for(m->opt.ctx_tok), .memory = m->dev->memory };
    return mp_kv_pool_open(m->ledger, &c, &m->kv_pool);
}

/* What closing a dry model gives back. */
static mp_err charge_work(mp_model *m, const mp_memory *memory, size_t bytes, size_t *charged)
{
    mp_err err = mp_ledger_charge(m->ledger, memory ? memory->tier : MP_TIER_RAM, MP_OWN_WORK, mp_region_cost_in(memory, bytes));
    *charged = err ? 0 : bytes;
    return err;
}

/* The largest forward there can be, on a dry device: its peak is what the work arena must hold. */
static mp_err measure_work(mp_model *m)
{
    mp_segment none = { 0 };
    mp_batch batch = { .seg = &none, .n_tok = m->opt.batch_tok, .n_seg = 0 };
    mp_forward fw;
    mp_tensor y;
    mp_tape *tape = NULL;
    mp_err err = mp_arena_open(m->ledger, MP_OWN_WORK, 0, &m->work);
    if (!err)
        err = mp_arena_open(m->ledger, MP_OWN_WORK, 0, &m->host_work);
    if (err)
        return err;
    if (m->opt.train)
        err = mp_tape_open(m->ledger, &tape);
    if (err)
        return err;
    err = mp_forward_begin(m, &batch, tape, &fw);
    if (!err)
        err = mp_forward_logits(m, &fw, 0, tape || m->opt.batch_tok < MP_HEAD_ROWS ? m->opt.batch_tok : MP_HEAD_ROWS, &y);
    mp_forward_end(m, &fw);
    mp_tape_close(&tape);
    size_t bytes = m->work.peak + 4096; /* the loss of a training step, and such small change */
    if (!err)
        err = charge_work(m, m->dev->memory, bytes, &m->work_bytes);
    if (!err && m->dev->memory)
        err = charge_work(m, NULL, m->host_work.peak, &m->host_bytes);
    return err;
}

static mp_err open_device(mp_model *m)
{
    if (!m->opt.vram_bytes)
        return mp_dev_cpu_open(m->ledger, m->pool, m->kern, &m->dev);
    mp_err err = mp_dev_cpu_open(m->ledger, m->pool, m->kern, &m->beside.cpu);
    if (err)
        return err;
    if (m->opt.train)
        return mp_fail(MP_E_USAGE, "training is done on the CPU; leave out the budget of VRAM");
    if (!mp_ledger_dry(m->ledger)) /* the planner wants to know what it would take */
        mp_ledger_set_limit(m->ledger, MP_TIER_VRAM, m->opt.vram_bytes);
    return mp_dev_cuda_open(m->ledger, 0, &m->dev);
}

static mp_err open_work(mp_model *m, size_t work_bytes, size_t host_bytes)
{
    if (mp_ledger_dry(m->ledger))
        return measure_work(m);
    m->work_bytes = work_bytes;
    m->host_bytes = host_bytes;
    mp_err err = mp_arena_open_in(m->ledger, m->dev->memory, MP_OWN_WORK, work_bytes, &m->work);
    return err || !m->dev->memory ? err : mp_arena_open(m->ledger, MP_OWN_WORK, host_bytes, &m->host_work);
}

mp_err mp_model_spend(mp_model *m, size_t work_bytes, size_t host_bytes)
{
    mp_err err = make_rope(m);
    if (!err)
        err = mp_pool_open(m->ledger, m->opt.threads, &m->pool);
    if (!err)
        err = open_device(m);
    if (!err)
        err = load_dense(m);
    m->dense_peak_bytes = mp_ledger_peak(m->ledger, MP_TIER_RAM);
    if (!err)
        err = place_rope(m);
    if (!err)
        err = open_addresses(m);
    if (!err)
        err = open_kv(m);
    if (!err && m->opt.times)
        err = mp_times_open(m->ledger, m->config.layers, &m->times);
    if (!err)
        err = mp_heat_open(m);
    if (!err)
        err = mp_model_open_routing(m);
    return err ? err : open_work(m, work_bytes, host_bytes);
}

/* ---- experts ---- */

/* Policy "none": as few slots as can be, and the operating system's page cache for the rest of the budget. */
static bool is_uncached(const mp_model *m)
{
    return m->opt.policy && !strcmp(m->opt.policy, "none");
}

/* The GPU's link reads the host's slots. */
static void lock_slots(void *self, unsigned char *base, size_t bytes, bool on)
{
    mp_dev *dev = ((mp_model *)self)->dev;
    dev->v->lock(dev, base, bytes, on);
}

mp_err mp_model_pager_config(mp_model *m, mp_pager_config *out)
{
    *out = (mp_pager_config){ .ledger = m->ledger, .owner = MP_OWN_EXPERTS, .pages = m->binder.pages, .group_pages = (uint32_t)m->config.experts, .desc = m->binder.page };
    mp_io_choice io;
    mp_err err = mp_io_parse(m->opt.io, &io);
    if (!err && !m->source)
        err = mp_file_source_open(m->ledger, m->gguf, &m->source);
    if (err)
        return err;
    mp_file_source_buffered(m->source, io.method == MP_IO_BUFFERED, is_uncached(m));
    out->source = mp_file_source_get(m->source);
    out->disk_cost = m->opt.ram_bps > 0 && m->opt.disk_bps > 0 ? m->opt.ram_bps / m->opt.disk_bps : MP_PLAN_RAM_BPS / MP_PLAN_DISK_BPS;
    out->method = io.method;
    out->readers = io.depth;
    if (m->dev->v->lock) {
        out->region = lock_slots;
        out->region_self = m;
    }
    return MP_OK;
}

/* A slice for the GPU's slots comes from the host's: it is held there meanwhile. Called on the upper pager's readers. */
static mp_err load_from_below(void *self, mp_page page, const mp_page_desc *desc, int slice, unsigned char *dst)
{
    mp_model *m = self;
    mp_pin pin;
    bool got = false;
    mp_err err = mp_pager_pin(m->below, page, MP_MUST, MP_PIN_READ, &pin, &got);
    if (err)
        return err;
    mp_beside_up_begin(&m->beside);
    err = mp_memory_fill(m->dev->memory, dst, pin.slice[slice], desc->slice[slice].bytes);
    mp_beside_up_end(&m->beside, desc->slice[slice].bytes);
    mp_pager_unpin(m->below, page);
    return err;
}

static mp_pager_config upper_config(mp_model *m)
{
    enum { READERS = 2 }; /* each holds a slot below; one copies while the other waits for the disk */
    mp_pager_config c = { .ledger = m->ledger, .owner = MP_OWN_EXPERTS, .memory = m->dev->memory, .pages = m->binder.pages };
    c.group_pages = (uint32_t)m->config.experts;
    c.desc = m->binder.page;
    c.source = (mp_source){ .self = m, .load = load_from_below };
    c.readers = READERS;
    c.elastic = !m->opt.no_paging;
    return c;
}

mp_err mp_model_price_experts(mp_model *m, mp_pager_cost *ram, mp_pager_cost *vram)
{
    mp_pager_config c;
    *ram = *vram = (mp_pager_cost){ 0, 0 };
    if (!m->binder.pages || m->opt.train)
        return MP_OK;
    mp_err err = mp_model_pager_config(m, &c);
    if (!err)
        err = mp_pager_price(&c, (uint32_t)m->config.experts_used, ram);
    if (!err && m->dev->memory) {
        c = upper_config(m);
        err = mp_pager_price(&c, (uint32_t)m->config.experts_used, vram);
    }
    if (m->opt.no_paging) /* the upper ones hold them all */
        (m->dev->memory ? vram : ram)->least_bytes = (m->dev->memory ? vram : ram)->all_bytes;
    return err;
}

static mp_err read_resident(mp_model *m, mp_page page, int slice, mp_tensor shape, size_t *at, mp_tensor *out)
{
    const mp_slice *s = &m->binder.page[page].slice[slice];
    if (shape.dtype != MP_F32)
        return mp_fail(MP_E_USAGE, "training needs float32 weights, and this file's experts are %s", mp_dtype_get(shape.dtype)->name);
    *out = shape;
    out->data = m->resident_region.base + *at;
    *at += s->bytes;
    return mp_file_read(mp_gguf_file(m->gguf, s->file), out->data, s->bytes, s->offset);
}

/* Training: every expert is a tensor of its own. */
static mp_err load_resident(mp_model *m)
{
    size_t bytes = 0, at = 0;
    for (uint32_t i = 0; i < m->binder.pages; i++)
        for (int s = 0; s < MP_PAGE_SLICES; s++)
            bytes += m->binder.page[i].slice[s].bytes;
    mp_err err = mp_region_open(m->ledger, MP_OWN_EXPERTS, bytes, false, &m->resident_region);
    if (!err)
        err = MP_NEW(m->ledger, MP_OWN_WORK, mp_expert_shape, m->binder.pages, &m->resident);
    for (int l = 0; l < m->config.layers && !err && m->resident_region.base; l++) {
        mp_moe *w = &m->layers[l].moe;
        if (!m->layers[l].is_moe)
            continue;
        w->resident = m->resident + w->first;
        for (int e = 0; e < m->config.experts && !err; e++) {
            mp_page page = w->first + (mp_page)e;
            err = read_resident(m, page, 0, w->expert.gate, &at, &w->resident[e].gate);
            if (!err)
                err = read_resident(m, page, 1, w->expert.up, &at, &w->resident[e].up);
            if (!err)
                err = read_resident(m, page, 2, w->expert.down, &at, &w->resident[e].down);
        }
    }
    return err;
}

/* ---- all of them, for good ---- */

static mp_err hold_page(mp_model *m, const mp_moe *w, mp_page page)
{
    mp_pin pin;
    bool got;
    mp_expert_shape *at = &m->resident[page];
    mp_err err = mp_pager_pin(m->pager, page, MP_MUST, MP_PIN_READ, &pin, &got);
    if (err)
        return err;
    *at = w->expert;
    at->gate.data = pin.slice[0];
    at->up.data = pin.slice[1];
    at->down.data = pin.slice[2];
    void *list[] = { pin.slice[0], pin.slice[1], pin.slice[2] };
    if (m->dev->memory)
        err = mp_memory_fill(m->dev->memory, m->addresses.base + page * sizeof(list), list, sizeof(list));
    if (err)
        mp_pager_unpin(m->pager, page);
    return err;
}

/* The experts' lists, or NULL. */
static void set_lists(mp_model *m, bool on)
{
    for (int l = 0; l < m->config.layers; l++) {
        mp_moe *w = &m->layers[l].moe;
        w->resident = on && m->layers[l].is_moe ? m->resident + w->first : NULL;
        w->at = on && m->layers[l].is_moe && m->dev->memory ? (void **)(void *)m->addresses.base + 3 * w->first : NULL;
    }
}

mp_err mp_model_hold(mp_model *m)
{
    mp_err err = MP_OK;
    mp_page held = 0; /* pages are numbered in the order of the layers */
    if (m->held || !m->resident || mp_ledger_dry(m->ledger) || !mp_pager_complete(m->pager))
        return MP_OK;
    for (int l = 0; l < m->config.layers && !err; l++)
        for (int e = 0; e < m->config.experts && m->layers[l].is_moe && !err; e++) {
            err = hold_page(m, &m->layers[l].moe, m->layers[l].moe.first + (mp_page)e);
            held += !err;
        }
    while (err && held)
        mp_pager_unpin(m->pager, --held);
    m->held = !err;
    if (!err)
        set_lists(m, true);
    return err;
}

void mp_model_release(mp_model *m)
{
    if (m->held)
        set_lists(m, false);
    for (mp_page p = 0; p < m->binder.pages && m->held; p++)
        mp_pager_unpin(m->pager, p);
    m->held = false;
}

/* Room for what holding takes: without paging always, else where a GPU has slots for all. */
static mp_err open_held(mp_model *m)
{
    mp_pager_stats s;
    mp_pager_get_stats(m->pager, &s);
    if (!m->opt.no_paging && (!m->below || s.slots < s.pages))
        return MP_OK;
    mp_err err = m->resident ? MP_OK : MP_NEW(m->ledger, MP_OWN_WORK, mp_expert_shape, m->binder.pages, &m->resident);
    return err ? err : mp_model_hold(m);
}

/* policy NULL: the pager's own, for slots that others are filled from. */
static mp_err open_pager(mp_model *m, mp_pager_config *c, const char *policy, const mp_pager_cost *cost, mp_pager **out)
{
    mp_err err = MP_OK;
    if (policy)
        err = mp_policy_open(m->ledger, &(mp_policy_config){ .name = policy, .pages = c->pages, .group_pages = c->group_pages, .heat = mp_heat_counts(m) }, &c->policy);
    if (err)
        return err;
    bool all = c->budget_bytes >= cost->all_bytes;
    err = mp_pager_open(c, (uint32_t)m->config.experts_used, out);
    if (err && policy)
        c->policy.close(c->policy.self); /* still ours */
    if (!err && !mp_ledger_dry(m->ledger) && all)
        err = mp_pager_fill(*out, on_progress, &(stage){ m, "experts" });
    return err;
}

static mp_err open_pagers(mp_model *m, uint64_t ram_bytes, uint64_t vram_bytes)
{
    mp_pager_config c;
    mp_pager_cost ram, vram;
    bool gpu = m->dev->memory != NULL;
    mp_err err = mp_model_price_experts(m, &ram, &vram);
    if (!err)
        err = mp_model_pager_config(m, &c);
    if (err)
        return err;
    m->uncached = is_uncached(m);
    c.budget_bytes = m->uncached ? ram.least_bytes : ram_bytes;
    c.populate = c.budget_bytes < ram.all_bytes; /* else the reads touch every slot */
    err = open_pager(m, &c, gpu ? NULL : m->opt.policy, &ram, gpu ? &m->below : &m->pager);
    if (err || !gpu)
        return err;
    m->beside.ram = m->below;
    m->beside.fixed = m->opt.deterministic;
    c = upper_config(m);
    c.budget_bytes = vram_bytes;
    return open_pager(m, &c, m->uncached ? NULL : m->opt.policy, &vram, &m->pager);
}

/* Others may have taken of the card what the plan counted on. */
static void say_if_fewer(mp_model *m, uint64_t vram_bytes)
{
    mp_pager_stats s;
    mp_pager_get_stats(m->pager, &s);
    if (m->below && !mp_ledger_dry(m->ledger) && s.slots < s.pages && s.slot_bytes < vram_bytes - vram_bytes / 16)
        mp_logf(&m->opt.log, MP_LOG_WARN, "the GPU has no room for all that was planned: %u of %u experts stay in VRAM", s.slots, s.pages);
}

mp_err mp_model_open_experts(mp_model *m, uint64_t ram_bytes, uint64_t vram_bytes)
{
    if (!m->binder.pages)
        return MP_OK;
    if (m->opt.train)
        return load_resident(m);
    mp_err err = open_pagers(m, ram_bytes, vram_bytes);
    if (!err)
        say_if_fewer(m, vram_bytes);
    if (!err)
        err = open_held(m);
    return err || m->uncached ? err : mp_heat_start(m);
}

void mp_model_close_experts(mp_model *m)
{
    mp_model_release(m);
    mp_pager_close(&m->pager); /* first the one that reads from the other */
    mp_pager_close(&m->below);
}

void mp_model_close(mp_model **model)
{
    mp_model *m = *model;
    if (!m)
        return;
    if (!mp_ledger_dry(m->ledger))
        mp_heat_save(m); /* who wants to know whether that worked saves before */
    mp_times_close(&m->times);
    mp_recorder_close(&m->recorder);
    mp_routing_close(&m->routing);
    mp_model_close_experts(m);
    mp_heat_close(m);
    mp_file_source_close(&m->source);
    if (mp_ledger_dry(m->ledger) && m->work_bytes)
        mp_ledger_credit(m->ledger, m->dev->memory ? m->dev->memory->tier : MP_TIER_RAM, MP_OWN_WORK, mp_region_cost_in(m->dev->memory, m->work_bytes));
    if (mp_ledger_dry(m->ledger) && m->host_bytes)
        mp_ledger_credit(m->ledger, MP_TIER_RAM, MP_OWN_WORK, mp_region_cost(m->host_bytes));
    mp_arena_close(&m->work);
    mp_arena_close(&m->host_work);
    mp_kv_pool_close(&m->kv_pool);
    mp_region_close(&m->weights);
    mp_region_close(&m->rope_region);
    mp_region_close(&m->addresses);
    mp_dev_close(&m->beside.cpu);
    mp_dev_close(&m->dev); /* after everything that lies in its memory */
    mp_pool_close(&m->pool);
    mp_region_close(&m->resident_region);
    MP_FREE(m->resident);
    MP_FREE(m->rope_table);
    MP_FREE(m->layers);
    mp_binder_close(&m->binder);
    mp_tok_close(&m->tok);
    mp_gguf_close(&m->gguf);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->beside.lock);
    mp_ledger *ledger = m->ledger;
    mp_ledger_credit(ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, m->overhead_bytes);
    MP_FREE(m);
    mp_ledger_close(&ledger);
    *model = NULL;
}
