#include "mem/plan.h"

enum { SLACK_LEAST = 1792 << 10, SLACK_MOST = 8 << 20, SLACK_SHARE = 200 };

static uint64_t slack_of(uint64_t share)
{
    return share < SLACK_LEAST ? SLACK_LEAST : share > SLACK_MOST ? SLACK_MOST : share;
}

uint64_t mp_plan_slack(uint64_t budget_bytes)
{
    uint64_t slack = slack_of(budget_bytes / SLACK_SHARE);
    return slack < budget_bytes ? slack : budget_bytes;
}

uint64_t mp_plan_with_slack(uint64_t bytes)
{
    return bytes + slack_of(bytes / (SLACK_SHARE - 1) + 1);
}

static uint64_t sum_of(const mp_plan *p, mp_tier tier)
{
    uint64_t sum = 0;
    for (int o = 0; o < MP_OWN_COUNT; o++)
        sum += p->bytes[tier][o];
    return sum;
}

uint64_t mp_plan_ram(const mp_plan *p)
{
    return sum_of(p, MP_TIER_RAM);
}

uint64_t mp_plan_vram(const mp_plan *p)
{
    return sum_of(p, MP_TIER_VRAM);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

double mp_plan_bound(const mp_plan *p)
{
    bool gpu = p->vram_bps > 0;
    double pages = p->expert_pages ? (double)p->expert_pages : 1.0, bytes = (double)p->expert_tok_bytes;
    double above = gpu ? (double)p->expert_vram_slots / pages : 0.0, in_ram = (p->expert_pages ? (double)p->expert_slots / pages : 1.0);
    if (gpu)
        in_ram = above + in_ram > 1.0 ? 1.0 - above : in_ram; /* those that are above are not asked for below */
    double rest = bytes * (1.0 - above - in_ram);
    double experts = larger(bytes * in_ram / p->ram_bps, rest / p->disk_bps);
    double seconds = (double)p->dense_tok_bytes / (gpu ? p->vram_bps : p->ram_bps) + (gpu ? larger(experts, bytes * above / p->vram_bps) : experts);
    return seconds > 0 ? 1.0 / seconds : 0.0;
}
