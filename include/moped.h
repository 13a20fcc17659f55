/* moped: language models bigger than the memory they are given. The one public header.
 *
 *   moped_plan     what a model will need, before anything is loaded
 *   moped_model    a loaded model under a hard memory budget
 *   moped_session  one timeline of tokens: hand in the whole prefix, get logits or text
 *   moped_vocab    text <-> token ids, chat templates (also without loading weights)
 *
 * A first program:
 *     moped_options opt = { .path = "model.gguf", .ram_bytes = 8ull << 30 };
 *     moped_model *m;  moped_session *s;  moped_result r;
 *     if (moped_model_open(&opt, &m)) return puts(moped_error()), 1;
 *     moped_session_open(m, 0, &s);
 *     moped_generate(s, &(moped_request){ .tokens = ids, .n_tokens = n, .max_tokens = 64 }, &r);
 *
 * Conventions. Functions return MOPED_OK or a negative moped_status; the sentence for a person is moped_error() of the same thread. Outputs come
 * last and are zero on error. Option structs: zero means the default. Bytes are bytes, times nanoseconds unless the name says otherwise.
 * Threads: a model may be used from any number of threads; a session by one at a time. */
#ifndef MOPED_H
#define MOPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOPED_API __attribute__((visibility("default")))
#else
#define MOPED_API
#endif

/* ---- errors ---- */
typedef enum moped_status {
    MOPED_OK = 0,
    MOPED_E_FAILED = -1,    /* anything without a code of its own */
    MOPED_E_USAGE = -2,     /* a value given by the caller is not usable */
    MOPED_E_BUDGET = -3,    /* does not fit the memory budget */
    MOPED_E_MODEL = -4,     /* the model file is bad or not supported */
    MOPED_E_GUARD = -5,     /* stopped by a guard */
    MOPED_E_CANCELLED = -6, /* a callback asked to stop */
    MOPED_E_CONTEXT = -7,   /* the context is full */
} moped_status;

MOPED_API const char *moped_error(void);   /* this thread's last sentence; valid until its next failing call */
MOPED_API const char *moped_version(void); /* "0.1.0" */
MOPED_API const char *moped_isa_at(int i); /* instruction sets that this processor can run, best last: "ref", "avx2", "avx512", or "ref", "neon", "dotprod"; NULL past the end */
MOPED_API void moped_free(void *p);        /* frees what moped handed out as `char **` or `int32_t **` */

/* ---- options, plan ---- */
typedef enum moped_kv_type { MOPED_KV_DEFAULT, MOPED_KV_F16, MOPED_KV_F32 } moped_kv_type; /* default: F32 for F32 files, else F16 */
typedef enum moped_prefetch { MOPED_PREFETCH_AUTO, MOPED_PREFETCH_OFF, MOPED_PREFETCH_ON } moped_prefetch; /* auto: while it pays */
typedef enum moped_log_level { MOPED_LOG_ERROR, MOPED_LOG_WARN, MOPED_LOG_INFO, MOPED_LOG_DEBUG } moped_log_level;

#define MOPED_VRAM_AUTO UINT64_MAX

typedef struct moped_options {
    const char   *path;            /* a GGUF file, or the first part of a split one */
    uint64_t      ram_bytes;       /* hard limit of the whole process; 0: what is free, less headroom */
    uint64_t      vram_bytes;      /* hard limit of what is used of the first NVIDIA GPU, with what its driver takes; 0: no GPU; MOPED_VRAM_AUTO: what is free there,
                                      less 256 MiB or a twentieth, whichever is more */
    uint64_t      headroom_bytes;  /* left alone when ram_bytes is 0; 0: 1 GiB or a tenth, whichever is less */
    int           ctx_tok;         /* context; 0: the smaller of the model's and 8192 */
    int           batch_tok;       /* tokens of a forward; 0: 512 */
    int           threads;         /* 0: as many as there are usable processors */
    int           sessions;        /* how many sessions of ctx_tok have room at once; 0: 1 */
    moped_kv_type kv;
    bool          deterministic;   /* results do not depend on the batch either (on the CPU they never do); with a GPU: not on what lies where, and every
                                      miss is uploaded, while batches of more than eight tokens have sums in another order than smaller ones */
    bool          no_paging;       /* every expert stays where it was loaded; refused when they do not all fit. To measure against */
    bool          time_ops;        /* keep the counters of moped_model_times; off, they cost nothing */
    bool          no_weights_check;/* skip the scan of routers for NaN */
    const char   *isa;             /* NULL: the best */
    const char   *expert_policy;   /* whom to evict; NULL: the default of moped_policy_at(0) */
    /* Counts of use (see moped_profile), read before the first token: slots are warmed from it, pinned experts stay, `static` keeps to it. A file must
     * be there and be this model's; a folder, with a slash at its end, holds one for each model, and a missing or bad one there is no error. NULL: none */
    const char   *expert_profile;
    const char   *profile_out;     /* where the counts of this run are added when the model closes; file or folder (made when it is missing) likewise. NULL: nowhere */
    const char   *io;              /* how experts are read: "pread:8", "io_uring:16", "buffered:8"; NULL: pread with 8 readers */
    moped_prefetch prefetch;       /* guesses of the next layer's experts */
    const char   *trace;           /* record the routing into this file. NULL: nowhere */
    const char   *routing;         /* a trace whose choices replace the router's, for measuring (the answers are then nonsense). NULL: none */
    double        ram_bps, disk_bps; /* measured bandwidths for the bound; 0: assumed values */
    /* progress: stage "dense weights", "experts"; done of total bytes. Nonzero cancels. May be NULL. Called from the opening thread. */
    int         (*progress)(void *user, const char *stage, uint64_t done, uint64_t total);
    void        (*log)(void *user, moped_log_level level, const char *text);
    void         *user;
} moped_options;

/* Owners of memory, in the order of the tables below. */
typedef enum moped_owner { MOPED_OWN_WEIGHTS, MOPED_OWN_EXPERTS, MOPED_OWN_KV, MOPED_OWN_WORK, MOPED_OWN_TOKENIZER, MOPED_OWN_OVERHEAD, MOPED_OWN_COUNT } moped_owner;
typedef enum moped_tier { MOPED_TIER_VRAM, MOPED_TIER_RAM, MOPED_TIER_DISK, MOPED_TIER_COUNT } moped_tier;
MOPED_API const char *moped_owner_name(moped_owner owner);
MOPED_API const char *moped_tier_name(moped_tier tier);

typedef struct moped_model_info {
    char     name[128], arch[32], quant[32]; /* general.name; "qwen3moe"; the type of most bytes, "Q4_K" */
    uint64_t file_bytes, parameters;
    int      layers, width, heads, kv_heads, experts, experts_used, moe_layers, vocab;
    int      ctx_train;
    uint64_t expert_bytes;                   /* of all experts */
    uint64_t dense_bytes_per_tok, expert_bytes_per_tok; /* read from memory for one decoded token (KV apart) */
    uint64_t kv_bytes_per_tok;
    bool     has_vocab, has_template;
} moped_model_info;

typedef struct moped_plan_info {
    moped_model_info model;
    bool     fits;
    uint64_t budget_bytes;      /* the RAM limit planned for */
    bool     budget_chosen;     /* it was derived from what is free, not given */
    uint64_t need_bytes;        /* predicted peak with this budget; when it does not fit, the least for this context */
    uint64_t least_ram_bytes;   /* the smallest budget that works with this context */
    uint64_t vram_budget_bytes; /* the VRAM limit planned for; 0: no GPU */
    bool     vram_chosen;       /* it was derived from what is free there */
    uint64_t vram_need_bytes;   /* predicted peak there, as need_bytes */
    uint64_t least_vram_bytes;  /* as least_ram_bytes */
    int      ctx_tok, largest_ctx; /* planned for; the largest that would fit the budget (0: none) */
    int      batch_tok, threads, sessions;
    uint64_t bytes[MOPED_TIER_COUNT][MOPED_OWN_COUNT];
    uint32_t expert_pages, expert_slots, expert_vram_slots; /* slots: in RAM, in VRAM */
    double   bound_tok_s;       /* upper bound of decode: every byte once from where it lies */
    double   vram_bps, ram_bps, disk_bps; /* used for the bound; vram_bps is always assumed, 0 without a GPU */
    bool     bandwidth_assumed;
} moped_plan_info;

/* Plans without loading: the loader run on a dry ledger. Reads headers only. When the model does not fit, returns MOPED_E_BUDGET with the numbers in
 * moped_error() AND fills *out (fits = false). Other errors: as moped_model_open. */
MOPED_API moped_status moped_plan(const moped_options *options, moped_plan_info *out);

/* Bytes a second at which the disk gives the experts of this model, read for about `seconds` as the engine reads them (options->io), past the page cache.
 * 0: it has none, or ram_bytes has no room to try. Takes the memory of about 150 experts meanwhile. Errors: as moped_plan, and the disk's. */
MOPED_API moped_status moped_disk_rate(const moped_options *options, double seconds, double *bytes_per_second);

/* ---- model ---- */
typedef struct moped_model moped_model;

/* Loads, or refuses before it loads. Errors: MOPED_E_BUDGET naming the least that works and the largest context that fits; MOPED_E_MODEL; MOPED_E_CANCELLED. */
MOPED_API moped_status moped_model_open(const moped_options *options, moped_model **out);
MOPED_API void moped_model_close(moped_model **model); /* after its sessions */
MOPED_API const moped_plan_info *moped_model_plan(const moped_model *model); /* the plan it was loaded by */

typedef struct moped_memory {
    uint64_t budget_bytes, plan_peak_bytes, peak_bytes, now_bytes; /* of the process: VmHWM + VmPTE, VmRSS + VmPTE */
    struct { uint64_t plan_bytes, used_bytes, peak_bytes; } owner[MOPED_OWN_COUNT]; /* RAM; overhead is what the process holds beyond the others */
    uint64_t vram_budget_bytes, vram_plan_bytes, vram_peak_bytes, vram_now_bytes; /* of the GPU, by what was taken and what its driver is believed to take; zeros without one */
} moped_memory;
MOPED_API void moped_model_memory(moped_model *model, moped_memory *out);

typedef struct moped_expert_stats { /* since loading; zeros when the model has no experts */
    uint64_t accesses, hits, misses;   /* accesses = hits + misses: an expert of a layer, once for each batch that needs it. With a GPU a hit was in VRAM */
    uint64_t disk_bytes, evictions;
    uint64_t upload_bytes;             /* to VRAM; 0 without a GPU */
    uint64_t computed;                 /* of the misses: computed by the processor, where they lay in RAM */
    uint64_t stall_ns;                 /* computing waited for reads */
    uint32_t slots, resident, pages;   /* with a GPU: of the slots in VRAM */
    double   bound_bytes;              /* the least that all this could take, in bytes at the speed of memory: of each layer's set the larger of what was
                                          read (times ram_bps / disk_bps) and what was resident, and one expert for the last to land */
    uint64_t loads;                    /* experts read */
    uint32_t reads_in_flight;          /* now: parts of experts, three to each */
    uint64_t prefetch_issued, prefetch_used, prefetch_late; /* guesses; resident when they were needed; still being read then */
    uint64_t prefetch_wasted_bytes;    /* of guesses that left before they were ever used */
    uint64_t tier_bytes[MOPED_TIER_COUNT]; /* where the experts' bytes are found first now: each expert counts once */
    uint32_t window_tok;               /* decoded tokens among the last 256: over these are */
    double   window_hit_rate;          /* the share of hits; 0 when there are none */
    double   oracle_hit_rate;          /* of the same tokens with the same slots, by a policy that knows what comes, whatever was resident before; 0: not known.
                                          Guesses that are read ahead count as hits of the window and can pass it */
} moped_expert_stats;
MOPED_API void moped_model_experts(moped_model *model, moped_expert_stats *out);

typedef struct moped_expert_layer { /* the same for one layer */
    int      layer;                    /* as the file numbers them: blk.N */
    uint64_t accesses, hits, misses, disk_bytes, stall_ns;
    uint32_t experts, used, resident;  /* in the layer; used at least once; resident now */
} moped_expert_layer;
/* Fills out[0..room) for the layers that have experts; returns how many those are. */
MOPED_API int moped_model_expert_layers(moped_model *model, moped_expert_layer *out, int room);
/* Adds what was counted since the last call to options.profile_out; closing does the same, but cannot say that it failed. MOPED_OK when there is
 * nothing to do. Errors: MOPED_E_FAILED (cannot be written: the file is as it was); MOPED_E_USAGE, MOPED_E_MODEL (something else is there now). */
MOPED_API moped_status moped_model_save_profile(moped_model *model);
/* Ends the file of options.trace. Closing does the same, but cannot say that it failed. MOPED_OK when there is no such file. Errors: the first that
 * writing it met (the disk was full); the file can be read as far as it got. */
MOPED_API moped_status moped_model_end_trace(moped_model *model);
/* Writes the routing of the last 256 tokens as a trace file. Errors: MOPED_E_USAGE (no experts; a file that is no trace), MOPED_E_FAILED. */
MOPED_API moped_status moped_model_trace(moped_model *model, const char *path);
MOPED_API moped_status moped_model_resize(moped_model *model, uint64_t ram_bytes); /* a new budget, both ways, at run time */
/* The same of VRAM: slots of experts come and go. Waits for the forward pass that runs, so not from a callback of one. What the card has not is not taken, and no error. Errors: MOPED_E_BUDGET: less than the least;
 * MOPED_E_USAGE: it was opened without a GPU, or without paging. */
MOPED_API moped_status moped_model_resize_vram(moped_model *model, uint64_t vram_bytes);

/* ---- where time goes (options.time_ops) ---- */
typedef enum moped_phase { MOPED_PHASE_PREFILL, MOPED_PHASE_DECODE, MOPED_PHASE_COUNT } moped_phase;
typedef enum moped_arith { MOPED_ARITH_INT8, MOPED_ARITH_BF16, MOPED_ARITH_F32, MOPED_ARITH_COUNT } moped_arith; /* what products are computed with */
MOPED_API const char *moped_arith_name(moped_arith arith); /* "int8" "bf16" "float32" */

typedef struct moped_time { /* one row: an operation, or what is none, of one layer (of all its calls) */
    const char *what;       /* "q k v", "attention", "experts", ...; not operations: "guesses" (of the next layer's experts), "grouping" (of tokens by
                               expert), "pager", "stall" (waiting for reads), "sampling", "text" (tokens to bytes, stop strings), "caller" (callbacks), "other" */
    int         layer;      /* -1: outside of the layers */
    bool        op;         /* an operation of the forward pass */
    uint64_t    calls, ns;
    uint64_t    weight_bytes, kv_bytes;    /* that had to be read, each byte once a call */
    uint64_t    ops[MOPED_ARITH_COUNT];    /* two for each multiply-add of the mathematics, by the arithmetic that its weights' type uses */
} moped_time;
typedef struct moped_times {
    uint64_t tokens, forwards; /* that went through the model */
    int      rows;
} moped_times;
/* What one phase of all generations since the last reset took, row by row: out[0..room) of those that were ever entered, by layer. The rows of a phase add
 * up to all of its time. *total may be NULL. Of sessions that generate at the same time one is counted. Returns how many rows there are, 0 without
 * options.time_ops. No session of the model may be at work. */
MOPED_API int moped_model_times(moped_model *model, moped_phase phase, moped_times *total, moped_time *out, int room);
MOPED_API void moped_model_reset_times(moped_model *model); /* likewise */

/* What this machine can do at most, measured now: the best of several tries. */
typedef struct moped_limits_options { /* zero: default */
    const char *isa;         /* NULL: the best */
    int         threads;     /* 0: as many as there are usable processors */
    uint64_t    bytes;       /* of memory to read, taken meanwhile; 0: 256 MiB. Much more than the caches hold, to mean anything */
    int         rounds;      /* passes over it; 0: 15 */
    bool        small_pages; /* measure read_small_bps too */
} moped_limits_options;
typedef struct moped_limits {
    int    threads;
    double read_bps, read_one_bps, read_small_bps;             /* bytes a second from memory in huge pages: all threads, one; all from small pages */
    double one_ops[MOPED_ARITH_COUNT]; /* operations a second of one thread, by chains of the instruction that multiplies and adds; 0: there is none */
    double ops[MOPED_ARITH_COUNT];     /* the same times threads: more than there is where two threads share a core */
} moped_limits;
/* options NULL: all defaults. Takes less than a second with these. Errors: MOPED_E_USAGE (instruction set), MOPED_E_FAILED (memory, threads). */
MOPED_API moped_status moped_measure_limits(const moped_limits_options *options, moped_limits *out);

/* ---- NVIDIA cards ---- */
enum { /* what holds a card's clocks down, as bits; more than one may */
    MOPED_THROTTLE_IDLE = 1 << 0,             /* nothing to do: no fault */
    MOPED_THROTTLE_CLOCK_SETTING = 1 << 1,    /* somebody set them lower */
    MOPED_THROTTLE_POWER = 1 << 2,            /* the power limit */
    MOPED_THROTTLE_HARDWARE = 1 << 3,         /* halved at least, for heat, the power supply or too much power at once */
    MOPED_THROTTLE_SYNC_BOOST = 1 << 4,       /* the slowest of a group of cards */
    MOPED_THROTTLE_THERMAL = 1 << 5,          /* the temperature limit */
    MOPED_THROTTLE_HARDWARE_THERMAL = 1 << 6, /* halved at least, for heat */
    MOPED_THROTTLE_POWER_BRAKE = 1 << 7,      /* halved at least, for the power supply */
    MOPED_THROTTLE_DISPLAY = 1 << 8,
    MOPED_THROTTLE_OTHER = 1 << 9,            /* a reason newer than this library */
};
MOPED_API const char *moped_throttle_name(int bit); /* of 1 << bit: "idle" "clock setting" "power limit" ...; NULL past the end */

typedef struct moped_gpu { /* one card, now. Doubles that are not known are NaN, bytes that are not known -1, text "" */
    int      index;                        /* as nvidia-smi counts; CUDA may count otherwise: match by pci */
    char     name[96], uuid[96], pci[24];  /* "NVIDIA H200"; "GPU-..."; "0000:3b:00.0", as in /sys/bus/pci/devices */
    char     fault[96];                    /* why the card does not answer: then nothing else is known; "": it does */
    int64_t  total_bytes, used_bytes, free_bytes;
    int64_t  process_bytes;                /* of these used by this process; -1 also when the driver does not list it: it does not use the card, or is in a container */
    double   temperature_c;                /* Celsius, of the chip */
    double   power_w, power_limit_w;       /* of the card, on most the mean of the last second; the limit in force */
    double   energy_j;                     /* joules since the driver was loaded: only differences mean something. Moves in steps, of 20 to 100 ms as others found; cards before Volta have none */
    double   busy_percent, memory_busy_percent; /* share of the last 1/6 to 1 second in which it computed; in which its memory was read or written */
    double   clock_mhz, max_clock_mhz, memory_clock_mhz; /* of its multiprocessors, now and at most; of its memory */
    bool     throttle_known;
    uint32_t throttle;                     /* MOPED_THROTTLE_* */
} moped_gpu;
/* Readings of the i-th card, from 0. For a look now and then, not for a fast loop: the driver's library is opened and started for each call, and is part of
 * the process's memory while it lasts. What a card does not give is not known, which is no error. Errors: MOPED_E_USAGE: no such card, or
 * no NVIDIA driver on this machine; MOPED_E_FAILED: there is a driver but it does not start. Threads: any. Source: NVML API reference, "Device Queries". */
MOPED_API moped_status moped_gpu_read(int i, moped_gpu *out);

/* ---- profiles: how often each expert was used, and which must stay in memory ---- */
typedef struct moped_profile moped_profile;

typedef struct moped_profile_info {
    const char *path;    /* of the file; owned by the profile */
    bool        found;   /* it is there */
    uint64_t    tokens;  /* counted; old ones fade, so it never grows past 2^18 */
    int         layers, experts, experts_used; /* layers with experts; experts of each; how many a token uses */
    int         pinned;
} moped_profile_info;

/* The profile of a model: reads the model's headers and the profile's file, which need not be there. profile: as in options.expert_profile.
 * Errors: those of moped_plan; MOPED_E_USAGE (no experts; another model's profile), MOPED_E_MODEL (a damaged profile). */
MOPED_API moped_status moped_profile_open(const char *model, const char *profile, moped_profile **out);
MOPED_API void moped_profile_close(moped_profile **profile);
MOPED_API void moped_profile_get(const moped_profile *profile, moped_profile_info *out);
/* i from 0 to layers - 1. The layer's number in the file (blk.N), and of each expert how often it was used and whether it is pinned; counts and pins
 * have room for `experts`, or are NULL. */
MOPED_API int  moped_profile_layer(const moped_profile *profile, int i, uint64_t *counts, bool *pins);
/* layer as the file numbers them. Errors: MOPED_E_USAGE when there is no such layer or expert. */
MOPED_API moped_status moped_profile_pin(moped_profile *profile, int layer, int expert, bool on);
MOPED_API void moped_profile_unpin_all(moped_profile *profile);
MOPED_API moped_status moped_profile_save(moped_profile *profile); /* Errors: MOPED_E_FAILED; the file is then as it was */

/* ---- experts: policies, routing traces, the simulator ---- */
MOPED_API const char *moped_policy_at(int i); /* policies by name, the default first: "adaptive", "lru", ...; NULL past the end */

/* A recording of which experts a model chose, token by token (an .mtr file). */
typedef struct moped_trace moped_trace;
typedef struct moped_trace_info {
    int      layers, experts, experts_used, sequences; /* layers: those with experts */
    uint64_t tokens, prompt_tokens;                    /* in all; of these, what is marked as a prompt's */
} moped_trace_info;
/* Errors: MOPED_E_USAGE: no such file; MOPED_E_MODEL: not a trace, or damaged. */
MOPED_API moped_status moped_trace_open(const char *path, moped_trace **out);
MOPED_API void moped_trace_close(moped_trace **trace);
MOPED_API void moped_trace_get_info(const moped_trace *trace, moped_trace_info *out);

typedef struct moped_replay_options {
    const char *policy;     /* of moped_policy_at, or "oracle": the clairvoyant bound under the same rules; NULL: the default */
    double      slots;      /* experts resident per layer, on average */
    bool        per_layer;  /* each layer has its own (whole) slots; false: all layers share them */
    bool        one_by_one; /* feed a token's experts one at a time, not as a set */
    int         batch_tok;  /* prompt tokens that are routed together; 0: 512 */
    int       (*progress)(void *user, uint64_t done, uint64_t total); /* now and then; nonzero cancels. May be NULL */
    void       *user;
} moped_replay_options;
typedef struct moped_replay_result {
    uint64_t accesses, hits; /* a hit was resident before the set of its token and layer was admitted */
    uint32_t slots;          /* in all */
} moped_replay_result;
/* What a cache would have done on the trace. layer: each layer's figures too, [moped_trace_info.layers]; NULL: not wanted. One thread at a time for each trace.
 * Errors: MOPED_E_USAGE (no such policy, no slots), MOPED_E_CANCELLED. */
MOPED_API moped_status moped_replay(const moped_trace *trace, const moped_replay_options *options, moped_replay_result *layer, moped_replay_result *out);

/* ---- vocabulary ---- */
typedef struct moped_vocab moped_vocab;

/* Reads only the vocabulary of a model file. Errors: MOPED_E_MODEL when it has none that can be used. */
MOPED_API moped_status moped_vocab_open(const char *path, moped_vocab **out);
MOPED_API void moped_vocab_close(moped_vocab **vocab);
MOPED_API moped_vocab *moped_model_vocab(moped_model *model); /* owned by the model; NULL when the file has none */

enum { MOPED_TOK_BOS = 1, MOPED_TOK_SPECIAL = 2 }; /* add BOS/EOS as the file says; recognise special tokens in the text */
MOPED_API moped_status moped_tokenize(const moped_vocab *vocab, const char *text, size_t n, unsigned flags, int32_t **tokens, size_t *n_tokens);
MOPED_API moped_status moped_detokenize(const moped_vocab *vocab, const int32_t *tokens, size_t n, bool special, char **text, size_t *n_text);
MOPED_API int  moped_vocab_size(const moped_vocab *vocab);
MOPED_API int32_t moped_vocab_bos(const moped_vocab *vocab);      /* -1: none */
MOPED_API bool moped_vocab_is_eog(const moped_vocab *vocab, int32_t id); /* does this token end an answer? */
MOPED_API const char *moped_vocab_template(const moped_vocab *vocab);    /* the file's Jinja text, or NULL */

/* Renders a Jinja chat template with the members of the JSON object `json` as variables (messages, tools, add_generation_prompt, bos_token, ...).
 * now: "YYYY-MM-DD" or "YYYY-MM-DD HH:MM:SS" for strftime_now, NULL: the current time. Errors: the template's own, in a sentence with the line. */
MOPED_API moped_status moped_template_render(const char *tmpl, const char *json, const char *now, char **text, size_t *n);
/* The same with the vocabulary's own template (ChatML-like fallback when it has none), with bos_token and eos_token set unless json does. */
MOPED_API moped_status moped_chat_render(const moped_vocab *vocab, const char *json, const char *now, char **text, size_t *n);

/* ---- sessions and generation ---- */
typedef struct moped_session moped_session;

typedef struct moped_bias { int32_t token; float bias; } moped_bias;
/* The one struct in which zero is a value: start from moped_sampling_default. */
typedef struct moped_sampling {
    float    temperature;       /* 0: greedy */
    int      top_k;             /* 0: off */
    float    top_p, min_p, typical_p; /* 1, 0, 1: off */
    float    repeat_penalty;    /* 1: off */
    int      repeat_last_n;     /* tokens that penalties look back; 0: off, -1: the whole context */
    float    presence_penalty, frequency_penalty;
    const moped_bias *bias;
    int      n_bias;
    uint64_t seed;              /* the same seed gives the same text, whatever the threads and the budget */
} moped_sampling;
/* temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, others off, or what the model's metadata recommends. model may be NULL. */
MOPED_API void moped_sampling_default(const moped_model *model, moped_sampling *out);

typedef enum moped_finish { MOPED_FINISH_NONE, MOPED_FINISH_STOP, MOPED_FINISH_LENGTH, MOPED_FINISH_CONTEXT, MOPED_FINISH_CANCELLED } moped_finish;
MOPED_API const char *moped_finish_name(moped_finish finish); /* "stop" "length" "context" "cancelled" */

typedef struct moped_request {
    const int32_t *tokens;          /* the whole prefix: what the session already holds of it is reused */
    size_t         n_tokens;
    int            max_tokens;      /* 0: until the context is full */
    const moped_sampling *sampling; /* NULL: defaults */
    const char *const *stop;        /* stop strings */
    int            n_stop;
    bool           ignore_eos;      /* end-of-text tokens do not end it (and are not sampled) */
    bool           show_special;    /* special tokens appear in the text */
    bool           context_shift;   /* when full: keep the first keep_tok tokens and the newer half of the rest, rebuild, go on */
    int            keep_tok;
    /* A piece of text (whole characters; may be empty) for each token. Nonzero stops: MOPED_FINISH_CANCELLED. May be NULL. */
    int          (*on_token)(void *user, int32_t token, const char *text, size_t n);
    int          (*on_prefill)(void *user, int64_t done, int64_t total); /* nonzero stops */
    void          *user;
} moped_request;

typedef struct moped_result {
    char        *text;     /* owned by the session until its next call; without the stop string */
    size_t       n_text;
    const int32_t *tokens; /* generated ones (an end token included), likewise */
    size_t       n_tokens;
    size_t       prompt_tokens, reused_tokens;
    moped_finish finish;
    uint64_t     prefill_ns, decode_ns; /* decode: from the first token on */
    uint64_t     expert_accesses, expert_hits, disk_bytes;
} moped_result;

MOPED_API moped_status moped_session_open(moped_model *model, int ctx_tok /* 0: the model's */, moped_session **out);
MOPED_API void moped_session_close(moped_session **session);
/* Errors leave the session usable. MOPED_E_CONTEXT: the prompt is longer than the context. */
MOPED_API moped_status moped_generate(moped_session *session, const moped_request *request, moped_result *out);

/* Runs the whole prefix and calls on_logits for each position from `first` on, in order: logits is float32[vocab], valid during the call. Nonzero
 * stops. The callback runs while the model computes: it must not call into a session of the same model. */
MOPED_API moped_status moped_logits(moped_session *session, const int32_t *tokens, size_t n, size_t first,
                                    int (*on_logits)(void *user, size_t position, const float *logits, int vocab), void *user);
/* Tokens held. Truncation reaches a position <= n, which is returned. */
MOPED_API size_t moped_session_length(const moped_session *session);
MOPED_API size_t moped_session_truncate(moped_session *session, size_t n);
/* The timeline's tokens, for saving. Owned by the session. */
MOPED_API const int32_t *moped_session_tokens(const moped_session *session, size_t *n);

/* ---- model files with random weights ---- */
/* To measure what a model will do on this machine before it is downloaded: a GGUF file of its shape, which other engines load too. */
MOPED_API const char *moped_shape_at(int i);      /* "qwen3-30b-a3b"; NULL past the end */
MOPED_API const char *moped_synth_type_at(int i); /* "Q4_K_M": mixes of types as llama.cpp names them, the default first; NULL past the end */

typedef struct moped_shape_info {
    char     name[64], arch[32], type[16];
    int      layers, all_layers;  /* of the file; of the model that it is like */
    int      width, experts, experts_used;
    uint64_t parameters, active_parameters; /* all; without the experts that a token does not use */
    uint64_t file_bytes;
} moped_shape_info;

/* name: of the list, or NAME@N for its first N layers. type: NULL for the default. Errors: MOPED_E_USAGE. */
MOPED_API moped_status moped_shape_find(const char *name, const char *type, moped_shape_info *out);

typedef struct moped_synth_options {
    const char *shape, *type, *path; /* as above; where to write */
    uint64_t    seed;                /* the same seed gives the same file */
    int       (*progress)(void *user, const char *stage, uint64_t done, uint64_t total); /* nonzero cancels. May be NULL */
    void       *user;
} moped_synth_options;

/* Writes the file; when it fails there is none. Errors: MOPED_E_USAGE; MOPED_E_FAILED, on a full disk with how much is needed; MOPED_E_CANCELLED. */
MOPED_API moped_status moped_synth(const moped_synth_options *options);

#ifdef __cplusplus
}
#endif
#endif
