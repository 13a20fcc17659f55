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

uint64_t mp_plan_ram(const mp_plan *p)
{
    uint64_t sum = 0;
    for (int o = 0; o < MP_OWN_COUNT; o++)
        sum += p->bytes[MP_TIER_RAM][o];
    return sum;
}

double mp_plan_bound(const mp_plan *p)
{
    double hit = p->expert_pages ? (double)p->expert_slots / (double)p->expert_pages : 1.0;
    double resident = (double)p->expert_tok_bytes * hit / p->ram_bps, missed = (double)p->expert_tok_bytes * (1.0 - hit) / p->disk_bps;
    double seconds = (double)p->dense_tok_bytes / p->ram_bps + (resident > missed ? resident : missed);
    return seconds > 0 ? 1.0 / seconds : 0.0;
}
