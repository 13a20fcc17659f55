/* A loaded model, and one forward pass of it. */
#ifndef MP_MODEL_MODEL_H
#define MP_MODEL_MODEL_H

#include <pthread.h>

#include "base/log.h"
#include "mem/kv.h"
#include "mem/source_file.h"
#include "mem/plan.h"
#include "model/arch.h"
#include "model/block/beside.h"
#include "model/block/prefetch.h"
#include "model/tok/tok.h"

#define MP_VRAM_AUTO UINT64_MAX

typedef struct mp_model_options { /* zero: default */
    const char *path;
    uint64_t    ram_bytes, headroom_bytes;
    uint64_t    vram_bytes;  /* of the first GPU; 0: none is used; MP_VRAM_AUTO: what is free there */
    int64_t     ctx_tok;
    int         batch_tok, threads, sessions;
    mp_dtype    kv;          /* MP_F32, MP_F16; kv_given false: by the file */
    bool        kv_given, deterministic, train, no_check, no_paging, times;
    const char *isa, *policy, *profile, *profile_out, *io, *trace, *routing; /* NULL: see moped.h */
    int         prefetch;    /* moped_prefetch */
    double      ram_bps, disk_bps;
    mp_log      log;
    int       (*progress)(void *user, const char *stage, uint64_t done, uint64_t total);
    void       *user;
} mp_model_options;

typedef struct mp_model {
    mp_model_options opt;     /* resolved: no zeros left */
    mp_ledger       *ledger;  /* the model's own */
    mp_gguf         *gguf;    /* stays open: pages are read from it */
    const mp_arch   *arch;
    mp_config        config;
    mp_tok          *tok;     /* NULL: the file has no usable vocabulary */
    char             no_tok[256]; /* and why */
    int32_t          eog[32];     /* tokens that end an answer */
    int              n_eog;
    mp_binder        binder;  /* page descriptors live here */
    mp_layer        *layers;
    mp_tensor        embd, out_norm, output, rope_divisors, inv_freq;
    float           *rope_table; /* inv_freq in the host's memory */
    mp_region        weights, rope_region;
    mp_expert_shape *resident; /* training, no_paging, or VRAM for all: [pages] room for all experts as tensors */
    bool             held;     /* that is what they are: all pages are pinned for good, and no pager is asked */
    mp_region        addresses; /* with a GPU: [pages][3] where they are then, in its memory */
    mp_region        resident_region;
    uint64_t         overhead_bytes; /* charged when the ledger was opened */
    uint64_t         dense_peak_bytes; /* of the ledger once the dense weights were read: no shorter context makes it less */
    const mp_kern   *kern;
    mp_pool         *pool;
    mp_dev          *dev;
    mp_beside        beside;  /* with a GPU: the processor's device, which computes some of the experts */
    mp_kv_pool      *kv_pool;
    mp_pager        *pager;   /* what the forward pins experts of: the device's slots. NULL: no experts, or training */
    mp_pager        *below;   /* with a GPU: the host's slots, which that pager reads from */
    mp_file_source  *source;  /* where its pages lie */
    bool             uncached; /* policy "none": the slots stay as few as can be, whatever the budget */
    mp_arena         work;    /* of one forward at a time, in the device's memory */
    mp_arena         host_work; /* what host code works with, where that is not the device's memory */
    size_t           work_bytes, host_bytes; /* their capacities; on a dry ledger: what the largest forward took */
    mp_prefetch      prefetch; /* guesses of the next layer's experts */
    struct mp_heat  *heat;    /* profiles (heat.h); NULL: none is used or kept */
    mp_routing      *routing; /* a trace in place of the routers' choices; NULL: none */
    mp_recorder     *recorder; /* NULL: no experts, or training */
    mp_times        *times;   /* where time goes; NULL: not asked for */
    pthread_mutex_t  lock;    /* held during a forward */
    mp_plan          plan;
} mp_model;

/* Loads within the budget, or refuses before it loads. Errors: MP_E_BUDGET (sentence: need, least, largest context); MP_E_MODEL; MP_E_CANCELLED.
 * *plan (may be NULL) is filled on MP_OK and on MP_E_BUDGET. */
mp_err mp_model_open(const mp_model_options *options, mp_plan *plan, mp_model **out);
void   mp_model_close(mp_model **model);
/* The same on a dry ledger: nothing is loaded, *out describes the model and holds the plan. */
mp_err mp_model_open_dry(const mp_model_options *options, mp_plan *plan, mp_model **out);

/* The steps of loading, run by both, in this order (load.c). On error the model is closed by whoever opened it. */
mp_err mp_model_describe(const mp_model_options *options, mp_ledger *ledger, mp_model **out); /* headers, architecture, tokenizer, names of tensors */
mp_err mp_model_spend(mp_model *m, size_t work_bytes, size_t host_bytes); /* dense weights, KV, device, work memory (dry: measured here) */
mp_err mp_model_open_routing(mp_model *m); /* part of spend; in model.c */
/* Slots in the host's memory, and with a GPU in its own, for so many bytes each. */
mp_err mp_model_open_experts(mp_model *m, uint64_t ram_bytes, uint64_t vram_bytes);
void   mp_model_close_experts(mp_model *m);
/* As many slots in RAM as a limit leaves, when everything else takes what was planned; few where VRAM holds every expert: there they only pass through. */
mp_err mp_model_resize_slots(mp_model *m, uint64_t limit);
/* While every page is in VRAM all of them may be held: then a layer's choices never leave the device. Before its slots are resized they must be released. Under the
 * model's lock. hold: does nothing when they are not all there, or it was not planned so. */
mp_err mp_model_hold(mp_model *m);
void   mp_model_release(mp_model *m);
/* What the host's pager is opened with, but budget and policy. Opens m->source. */
mp_err mp_model_pager_config(mp_model *m, mp_pager_config *out);
mp_err mp_model_price_experts(mp_model *m, mp_pager_cost *ram, mp_pager_cost *vram); /* vram: zeros without a GPU */
static inline mp_pager *mp_model_ram_pager(const mp_model *m) { return m->below ? m->below : m->pager; }

/* One forward of a batch. x [T,D] after the last layer stays in the work arena until mp_forward_end; in between, rows of it can be turned into logits. */
typedef struct mp_forward {
    mp_fwd    f;
    mp_tensor x;
    mp_fwd_marks mark;
    uint64_t  since_ns;
} mp_forward;
enum { MP_HEAD_ROWS = 16 }; /* rows of logits at once, at most */

/* Takes the model's lock (also on error: always call end). */
mp_err mp_forward_begin(mp_model *m, const mp_batch *batch, mp_tape *tape, mp_forward *out);
/* Logits [n,V] of rows [row, row + n) of the batch, n <= MP_HEAD_ROWS, in the host's memory, valid until the next call or end. */
mp_err mp_forward_logits(mp_model *m, mp_forward *fw, int64_t row, int64_t n, mp_tensor *out);
mp_err mp_forward_end(mp_model *m, mp_forward *fw); /* what failed, now or before */

/* Training (opt.train): every weight becomes a parameter of the tape, each expert's three matrices too. */
mp_err mp_model_params(mp_model *m, mp_tape *tape);

/* A segment of a batch over a conversation's cache: rows [row, row + n), positions from len on (already reserved). */
mp_segment mp_segment_of(mp_kv *kv, int32_t row, int32_t n);
#endif
