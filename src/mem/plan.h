/* The plan: what will be spent where, before it is spent. The planner fills it from a dry run of the loader (model/planner.c); here are the table and the arithmetic that
 * needs no model: what a budget leaves for experts, and how fast decode can be at best. */
#ifndef MP_MEM_PLAN_H
#define MP_MEM_PLAN_H

#include "base/ledger.h"

typedef struct mp_plan {
    bool     fits, budget_chosen;
    uint64_t budget_bytes;     /* RAM limit planned for */
    uint64_t vram_budget_bytes; /* VRAM limit planned for; 0: no GPU is used */
    bool     vram_chosen, vram_fits; /* chosen: by what was free there. fits: true without a GPU */
    uint64_t vram_need_bytes, least_vram_bytes; /* as need_bytes and least_ram_bytes */
    uint64_t need_bytes;       /* predicted peak; when it does not fit, the least for this context */
    uint64_t least_ram_bytes;  /* the smallest budget that works with this context */
    int64_t  ctx_tok, largest_ctx;
    int      batch_tok, threads, sessions;
    uint64_t bytes[MP_TIER_COUNT][MP_OWN_COUNT];
    uint32_t expert_pages, expert_slots, expert_vram_slots; /* slots: in RAM; in VRAM */
    uint64_t overhead_bytes;   /* of libraries, libc and threads: what the process held before it opened the model, and what running adds */
    uint64_t expert_budget_bytes, expert_vram_bytes; /* what is given to slots */
    uint64_t expert_least_bytes, expert_all_bytes; /* slots: least that works, everything resident */
    uint64_t expert_vram_least_bytes, expert_vram_all_bytes; /* the same of those in VRAM */
    uint64_t dense_tok_bytes, expert_tok_bytes;    /* weights that one decoded token reads */
    double   vram_bps, ram_bps, disk_bps, bound_tok_s; /* vram_bps 0: no GPU */
    bool     bandwidth_assumed;
} mp_plan;

/* What was assumed when nothing was measured: a modest desktop. */
#define MP_PLAN_VRAM_BPS 400e9
#define MP_PLAN_RAM_BPS 20e9
#define MP_PLAN_DISK_BPS 1.5e9

/* Kept free of everything, for what no ledger sees: kernel stacks and slab, pages that another C library touches (glibc 2.35: 0.8 MiB more than 2.36).
 * A two-hundredth of the budget, at least 1.75 MiB (with 1, a bench at 6M peaked 0.5 MiB above its budget on Ubuntu 22.04) and at most 8: in a
 * control group of 12G exactly, shared with the shell and the bench that started it, 4 were not enough once. */
uint64_t mp_plan_slack(uint64_t budget_bytes);
/* The smallest budget that leaves `bytes` beside its slack. */
uint64_t mp_plan_with_slack(uint64_t bytes);

/* Sums of all owners. */
uint64_t mp_plan_ram(const mp_plan *p);
uint64_t mp_plan_vram(const mp_plan *p);

/* tokens/s <= 1 / (dense bytes / RAM + max(resident expert bytes / RAM, missed expert bytes / disk)), experts hit in proportion to the slots. With a GPU: dense
 * bytes / VRAM, and the largest of three: of VRAM, of RAM (which is read whether its experts are computed there or go up), and of the disk. */
double mp_plan_bound(const mp_plan *p);
#endif
