/* Size classes: what slots cost, and how a budget is divided over them. Pure arithmetic on the descriptors, so that the planner and
 * the pager cannot disagree.
 *
 * Pages whose needs differ by up to 2 % share a class: one model's experts differ by their phases only. When that makes more than
 * MP_PAGER_CLASSES classes, the tolerance is widened until it does not. */
#include "mem/pager_int.h"

#include "base/size.h"

enum { CACHE_LINE = 64 };
static const uint64_t REGION_MAX_BYTES = 64u << 20; /* what shrinking gives back at a time, at most */
static const uint64_t HUGE_FROM_BYTES = 8u << 20;   /* smaller regions get no huge pages (base/ledger.h) */

static uint64_t round_up(uint64_t x, uint64_t unit) {
    return (x + unit - 1) / unit * unit;
}

uint64_t mp_pager_unit(const mp_source *source) {
    return source->align > CACHE_LINE ? source->align : CACHE_LINE;
}

uint64_t mp_pager_layout(const mp_source *source, const mp_page_desc *desc, uint64_t offset[MP_PAGE_SLICES]) {
    uint64_t at = 0, unit = mp_pager_unit(source);
    for (int i = 0; i < MP_PAGE_SLICES; i++) {
        const mp_slice *s = &desc->slice[i];
        uint64_t phase = source->align ? s->offset % source->align : 0;
        if (offset) offset[i] = at + phase;
        if (s->bytes) at += round_up(phase + s->bytes, unit);
    }
    return at ? at : unit;
}

/* ---- classes ---- */

/* The largest need below `below` (0: of all); 0 when there is none. */
static uint64_t largest_below(const mp_pager_config *c, uint64_t below) {
    uint64_t best = 0;
    for (uint32_t p = 0; p < c->pages; p++) {
        uint64_t need = mp_pager_layout(&c->source, &c->desc[p], NULL);
        if (need > best && (!below || need < below)) best = need;
    }
    return best;
}

/* The fewest slots to a region that waste at most 1 % of it, huge pages included where the class is large enough for them. */
static uint32_t choose_region_slots(const mp_memory *memory, uint64_t slot_bytes, uint32_t pages) {
    uint32_t best = 1;
    double least = 2;
    for (uint32_t k = 1; k <= pages && (k == 1 || k * slot_bytes <= REGION_MAX_BYTES); k++) {
        bool small = k * slot_bytes < HUGE_FROM_BYTES && pages * slot_bytes >= HUGE_FROM_BYTES;
        double bytes = (double)k * (double)slot_bytes;
        double waste = (double)mp_region_cost_in(memory, k * slot_bytes) / bytes - 1 + (small ? 1 : 0);
        if (waste < least) least = waste, best = k;
        if (waste <= 0.01) break;
    }
    return best;
}

/* Greedy from the largest down: the fewest classes for this tolerance. Returns how many, at most MP_PAGER_CLASSES + 1. */
static int cut_classes(const mp_pager_config *config, double tolerance, mp_pager_shape shape[MP_PAGER_CLASSES]) {
    int n = 0;
    for (uint64_t below = 0, top; (top = largest_below(config, below)) > 0; n++) {
        if (n == MP_PAGER_CLASSES) return n + 1;
        shape[n] = (mp_pager_shape){.slot_bytes = top};
        below = (uint64_t)((double)top * (1 - tolerance));
        if (!below) return n + 1;
    }
    return n;
}

int mp_pager_class_of(const mp_pager_shape *shape, int classes, uint64_t bytes) {
    int c = classes - 1;
    while (c > 0 && shape[c].slot_bytes < bytes) c--;
    return c;
}

int mp_pager_shapes(const mp_pager_config *config, mp_pager_shape shape[MP_PAGER_CLASSES]) {
    double tolerance = 0.02;
    int n = cut_classes(config, tolerance, shape);
    while (n > MP_PAGER_CLASSES) {
        tolerance = tolerance * 1.5 < 1 ? tolerance * 1.5 : 1;
        n = cut_classes(config, tolerance, shape);
    }
    for (uint32_t p = 0; p < config->pages; p++)
        shape[mp_pager_class_of(shape, n, mp_pager_layout(&config->source, &config->desc[p], NULL))].pages++;
    for (int c = 0; c < n; c++) {
        shape[c].memory = config->memory;
        shape[c].region_slots = choose_region_slots(config->memory, shape[c].slot_bytes, shape[c].pages);
    }
    return n;
}

/* ---- costs ---- */

uint64_t mp_pager_slots_cost(const mp_pager_shape *shape, uint32_t slots) {
    uint32_t whole = slots / shape->region_slots, rest = slots % shape->region_slots;
    uint64_t all = whole * mp_region_cost_in(shape->memory, shape->region_slots * shape->slot_bytes);
    return all + (rest ? mp_region_cost_in(shape->memory, rest * shape->slot_bytes) : 0);
}

/* The most slots that bytes pay for. The cost grows with the slots, so it is searched by halving. */
static uint32_t slots_for(const mp_pager_shape *shape, uint64_t bytes) {
    uint32_t low = 0, high = shape->pages;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (mp_pager_slots_cost(shape, middle) <= bytes) low = middle;
        else high = middle - 1;
    }
    return low;
}

uint32_t mp_pager_least_slots(const mp_pager_shape *shape, int class, uint32_t min_slots) {
    uint32_t least = class == 0 && min_slots > 1 ? min_slots : 1;
    return least < shape->pages ? least : shape->pages;
}

static mp_pager_cost price(const mp_pager_shape *shape, int classes, uint32_t min_slots) {
    mp_pager_cost cost = {0};
    for (int c = 0; c < classes; c++) {
        cost.least_bytes += mp_pager_slots_cost(&shape[c], mp_pager_least_slots(&shape[c], c, min_slots));
        cost.all_bytes += mp_pager_slots_cost(&shape[c], shape[c].pages);
    }
    return cost;
}

mp_err mp_pager_check(const mp_pager_config *config) {
    uint32_t align = config->source.align;
    if (!config->source.load || (align & (align - 1))) return mp_fail(MP_E_USAGE, "pages need a source that loads, with an alignment of 2^n");
    for (uint32_t p = 0; p < config->pages; p++) {
        uint64_t bytes = 0;
        for (int i = 0; i < MP_PAGE_SLICES; i++) bytes += config->desc[p].slice[i].bytes;
        if (!bytes) return mp_fail(MP_E_USAGE, "page %u has no bytes", p);
    }
    return MP_OK;
}

mp_err mp_pager_price(const mp_pager_config *config, uint32_t min_slots, mp_pager_cost *out) {
    mp_pager_shape shape[MP_PAGER_CLASSES];
    *out = (mp_pager_cost){0};
    mp_err err = mp_pager_check(config);
    if (!err) *out = price(shape, mp_pager_shapes(config, shape), min_slots);
    return err;
}

/* Every class gets its least; what is left goes to the classes in proportion to the bytes of their pages, and what that leaves over
 * to the first that can use it. */
mp_err mp_pager_divide(const mp_pager_shape *shape, int classes, uint32_t min_slots, uint64_t budget_bytes, uint32_t slots[MP_PAGER_CLASSES]) {
    mp_pager_cost cost = price(shape, classes, min_slots);
    char budget_text[MP_SIZE_TEXT], least_text[MP_SIZE_TEXT];
    if (budget_bytes < cost.least_bytes)
        return mp_fail(MP_E_BUDGET, "%s for experts is too little: the least that works is %s", mp_size_format(budget_bytes, budget_text),
                       mp_size_format(cost.least_bytes, least_text));
    double all = 0;
    for (int c = 0; c < classes; c++) all += (double)shape[c].slot_bytes * shape[c].pages;
    uint64_t left = budget_bytes - cost.least_bytes, spare = left;
    for (int c = 0; c < classes; c++) {
        uint32_t least = mp_pager_least_slots(&shape[c], c, min_slots);
        uint64_t share = (uint64_t)((double)spare * ((double)shape[c].slot_bytes * shape[c].pages / all));
        if (share > left) share = left; /* rounding */
        uint64_t base = mp_pager_slots_cost(&shape[c], least);
        slots[c] = slots_for(&shape[c], base + share);
        left -= mp_pager_slots_cost(&shape[c], slots[c]) - base;
    }
    for (int c = 0; c < classes; c++) {
        uint64_t base = mp_pager_slots_cost(&shape[c], slots[c]);
        slots[c] = slots_for(&shape[c], base + left);
        left -= mp_pager_slots_cost(&shape[c], slots[c]) - base;
    }
    return MP_OK;
}
