#include "dev/op.h"

static const char *const op_names[MP_OP_COUNT] = {
    [MP_OP_NONE] = "none",       [MP_OP_EMBED] = "embed",   [MP_OP_RMSNORM] = "rmsnorm",   [MP_OP_LINEAR] = "linear",
    [MP_OP_ADD] = "add",         [MP_OP_SWIGLU] = "swiglu", [MP_OP_GATE] = "gate",         [MP_OP_CLAMP] = "clamp",
    [MP_OP_ROPE] = "rope",       [MP_OP_KV_WRITE] = "kv",   [MP_OP_ATTN] = "attention",    [MP_OP_ROUTE] = "route",
    [MP_OP_EXPERTS] = "experts", [MP_OP_COMBINE] = "combine", [MP_OP_XENT] = "cross-entropy",
};

const char *mp_op_name(mp_op_kind kind)
{
    return kind >= 0 && kind < MP_OP_COUNT ? op_names[kind] : "?";
}
