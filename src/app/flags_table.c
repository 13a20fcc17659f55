/* table: every flag of every command. Names are llama.cpp's where it has one. */
#include "app/flags.h"

#include <math.h>
#include <string.h>

#define GENERATES (APP_RUN)
#define LOADS (APP_RUN | APP_PLAN | APP_BENCH | APP_LOGITS | APP_PERPLEXITY | APP_PROFILE)
#define BIG 2147483647.0

static const app_flag TABLE[] = {
    /* what to run */
    {F_MODEL, APP_TEXT, APP_ALL & ~APP_REPLAY, "model", "-m", "FILE", 0, 0, "", false, "the small one that ships (run, bench)", "a GGUF file, or the first part of a split one (doctor: any large file, to measure its disk)"},
    {F_PROMPT, APP_TEXT, APP_RUN | APP_TOKENIZE | APP_LOGITS, "prompt", "-p", "TEXT", 0, 0, "", false, "", "the prompt; run then answers once and leaves"},
    {F_FILE, APP_TEXT, APP_RUN | APP_TOKENIZE | APP_TEMPLATE | APP_PERPLEXITY | APP_PROFILE, "file", "-f", "FILE", 0, 0, "", false, "", "read the prompt (template: the request) from a file; - is standard input"},
    {F_SYSTEM, APP_TEXT, APP_RUN, "system-prompt", "-sys --system", "TEXT", 0, 0, "", false, "", "the system's turn, before yours"},
    {F_PREDICT, APP_INT, APP_RUN, "n-predict", "-n --predict", "N", -1, BIG, "", false, "-1 (until the end)", "at most this many tokens of answer"},
    /* memory and machine */
    {F_RAM, APP_SIZE, LOADS & ~APP_BENCH, "ram", "", "SIZE", 1, 0, "", false, "what is free, less --headroom", "hard limit of the whole process: 8G, 512M, 8GB"},
    {F_BENCH_RAM, APP_SIZES, APP_BENCH, "ram", "", "SIZE,...", 1, 0, "", false, "what is free, less --headroom", "budgets to measure: 4G,8G"},
    {F_VRAM, APP_TEXT, LOADS, "vram", "", "SIZE|auto", 0, 0, "", false, "no GPU is used", "hard limit on the first GPU, with what its driver takes: 11G; auto: what is free there, less a twentieth"},
    {F_HEADROOM, APP_SIZE, LOADS, "headroom", "", "SIZE", 1, 0, "", false, "1G or a tenth, the smaller", "left alone when --ram is not given"},
    {F_CTX, APP_INT, LOADS, "ctx-size", "-c --ctx", "N", 0, BIG, "", false, "the smaller of the model's and 8192", "tokens of context"},
    {F_BATCH, APP_INT, LOADS | APP_REPLAY, "batch-size", "-b", "N", 1, 65536, "", false, "512", "tokens of a forward pass"},
    {F_THREADS, APP_INT, LOADS & ~APP_BENCH, "threads", "-t", "N", 1, 1024, "", false, "all usable processors", "threads that compute"},
    {F_BENCH_THREADS, APP_INTS, APP_BENCH, "threads", "-t", "N,...", 1, 1024, "", false, "all usable processors", "numbers of threads to measure: 1,2"},
    {F_KV, APP_CHOICE, LOADS, "kv", "", "TYPE", 0, 0, "f16 f32", false, "f32 for F32 files, else f16", "type of the cache of keys and values: f16, f32"},
    {F_CTK, APP_CHOICE, LOADS, "cache-type-k", "-ctk", "TYPE", 0, 0, "f16 f32", false, "", "the same as --kv; must agree with -ctv"},
    {F_CTV, APP_CHOICE, LOADS, "cache-type-v", "-ctv", "TYPE", 0, 0, "f16 f32", false, "", "the same as --kv; must agree with -ctk"},
    {F_POLICY, APP_TEXT, LOADS, "expert-policy", "", "NAME", 0, 0, "", false, "adaptive", "which expert leaves when a slot is needed"},
    {F_EXPERT_PROFILE, APP_TEXT, (LOADS & ~APP_PROFILE) | APP_STATS | APP_PIN, "expert-profile", "", "FILE", 0, 0, "", false, "one for each model, kept in the cache (bench, logits: none)", "which experts are hot: slots are warmed from it; none: no profile"},
    {F_PREFETCH, APP_CHOICE, LOADS, "prefetch", "", "auto|on|off", 0, 0, "auto on off", false, "auto", "read the next layer's likely experts ahead; auto: while it pays"},
    {F_IO, APP_TEXT, LOADS, "io", "", "METHOD[:N]", 0, 0, "", false, "what doctor found best", "how experts are read: pread:8, io_uring:16, buffered:8"},
    {F_NO_PAGING, APP_BOOL, LOADS, "no-paging", "", "", 0, 0, "", false, "off", "every expert stays in memory; refused when they do not all fit"},
    {F_TRACE, APP_TEXT, LOADS & ~APP_PLAN, "trace", "", "FILE", 0, 0, "", false, "", "record which experts are chosen (.mtr)"},
    {F_DETERMINISTIC, APP_BOOL, LOADS, "deterministic", "", "", 0, 0, "", false, "off", "results do not depend on the batch either; with --vram: not on what lies where"},
    {F_ISA, APP_TEXT, LOADS, "isa", "", "NAME", 0, 0, "", false, "the best here", "instruction set: ref, avx2, avx512, neon, dotprod"},
    /* sampling */
    {F_SEED, APP_INT, APP_RUN, "seed", "-s", "N", -1, 9007199254740991.0, "", false, "-1 (random; printed)", "the same seed gives the same text"},
    {F_TEMP, APP_REAL, GENERATES, "temp", "--temperature", "X", 0, 100, "", false, "0.8 or the model's", "temperature; 0 always takes the likeliest"},
    {F_TOP_K, APP_INT, GENERATES, "top-k", "", "N", 0, BIG, "", false, "40 or the model's", "keep the N likeliest; 0: off"},
    {F_TOP_P, APP_REAL, GENERATES, "top-p", "", "X", 0, 1, "", false, "0.95 or the model's", "keep the likeliest that make up X; 1: off"},
    {F_MIN_P, APP_REAL, GENERATES, "min-p", "", "X", 0, 1, "", false, "0.05 or the model's", "drop what is below X of the likeliest; 0: off"},
    {F_TYPICAL, APP_REAL, GENERATES, "typical", "--typical-p", "X", 0, 1, "", false, "1 (off)", "locally typical sampling"},
    {F_REPEAT_PENALTY, APP_REAL, GENERATES, "repeat-penalty", "", "X", 0.01, 100, "", false, "1 (off)", "penalty of tokens seen lately"},
    {F_REPEAT_LAST_N, APP_INT, GENERATES, "repeat-last-n", "", "N", -1, BIG, "", false, "64", "how far penalties look back; 0: off, -1: everything"},
    {F_PRESENCE, APP_REAL, GENERATES, "presence-penalty", "", "X", -100, 100, "", false, "0 (off)", "taken off the logit of tokens seen lately"},
    {F_FREQUENCY, APP_REAL, GENERATES, "frequency-penalty", "", "X", -100, 100, "", false, "0 (off)", "the same for each time seen"},
    {F_BIAS, APP_BIAS, GENERATES, "logit-bias", "", "ID(+|-)X", 0, 0, "", true, "", "add X to a token's logit: 15043+1, 15043-inf; may repeat"},
    /* the answer */
    {F_STOP, APP_TEXT, GENERATES, "stop", "-r --reverse-prompt", "STRING", 0, 0, "", true, "", "end the answer before this text; may repeat"},
    {F_IGNORE_EOS, APP_BOOL, GENERATES, "ignore-eos", "", "", 0, 0, "", false, "off", "end tokens do not end the answer"},
    {F_SHIFT, APP_BOOL, GENERATES, "context-shift", "", "", 0, 0, "", false, "off", "when the context is full, drop the older half and go on"},
    {F_KEEP, APP_INT, GENERATES, "keep", "", "N", -1, BIG, "", false, "0", "tokens of the prompt that --context-shift keeps; -1: all"},
    {F_THINKING, APP_CHOICE, GENERATES, "thinking", "", "on|off", 0, 0, "on off", false, "as the template does", "tells the chat template enable_thinking"},
    {F_NO_CHAT, APP_BOOL, GENERATES, "no-chat", "--no-cnv", "", 0, 0, "", false, "off", "no chat template: complete the prompt as it is"},
    {F_SPECIAL, APP_BOOL, GENERATES, "special", "-sp", "", 0, 0, "", false, "off", "show special tokens in the text"},
    /* bench */
    {F_BENCH_PROMPT, APP_INT, APP_BENCH, "n-prompt", "-p", "N", 0, BIG, "", false, "512", "tokens of the prefill that is measured; 0: none"},
    {F_BENCH_GEN, APP_INT, APP_BENCH, "n-gen", "-n", "N", 0, BIG, "", false, "32", "tokens of the decode that is measured; 0: none"},
    {F_BENCH_REPEAT, APP_INT, APP_BENCH, "repetitions", "-r", "N", 1, 1000, "", false, "5", "times each is measured; the median counts"},
    {F_BENCH_PROFILE, APP_BOOL, APP_BENCH, "profile", "", "", 0, 0, "", false, "off", "show where the time goes, by operation and by layer, beside this machine's limits"},
    {F_ROUTING, APP_TEXT, APP_BENCH, "routing", "", "TRACE", 0, 0, "", false, "the model's own", "a trace whose choices replace the router's: real locality"},
    {F_LIKE, APP_TEXT, APP_BENCH, "like", "", "SHAPE", 0, 0, "", false, "", "measure a model of this shape with random weights: NAME, or NAME@N for its first N layers; list names them"},
    {F_TYPE, APP_TEXT, APP_BENCH, "type", "", "TYPE", 0, 0, "", false, "Q4_K_M", "type of the weights of --like"},
    {F_KEEP_FILE, APP_TEXT, APP_BENCH, "keep-file", "--keep", "FILE", 0, 0, "", false, "made, measured, deleted", "keep the GGUF of --like here"},
    /* experts replay */
    {F_REPLAY_POLICY, APP_TEXT, APP_REPLAY, "policy", "", "NAME,...", 0, 0, "", false, "all, and oracle", "adaptive, lru, lfu, static, none; oracle is the clairvoyant bound"},
    {F_SLOTS, APP_TEXT, APP_REPLAY, "slots", "", "N,...", 0, BIG, "", false, "3 to 75 % of the experts", "experts resident per layer on average"},
    {F_SCOPE, APP_CHOICE, APP_REPLAY, "scope", "", "layer|global", 0, 0, "layer global", false, "global", "slots of each layer, or shared by all"},
    {F_ONE_BY_ONE, APP_BOOL, APP_REPLAY, "one-by-one", "", "", 0, 0, "", false, "off", "feed a token's experts one at a time, not as a set"},
    {F_PLOT, APP_TEXT, APP_REPLAY, "plot", "", "FILE", 0, 0, "", false, "", "draw hit rate over capacity: .svg or .png"},
    /* experts stats */
    {F_TOP, APP_INT, APP_STATS, "top", "", "N", 0, 65536, "", false, "5", "name the N hottest experts of each layer"},
    /* tokenize, logits, template, plan, doctor */
    {F_NO_SPECIAL, APP_BOOL, APP_TOKENIZE | APP_LOGITS, "no-special", "", "", 0, 0, "", false, "off", "special tokens in the text are plain text"},
    {F_NO_BOS, APP_BOOL, APP_TOKENIZE | APP_LOGITS, "no-bos", "", "", 0, 0, "", false, "off", "no begin or end token, whatever the file says"},
    {F_BOS_FIRST, APP_BOOL, APP_TOKENIZE, "bos", "", "", 0, 0, "", false, "as the file says", "the begin token first, whatever the file says"},
    {F_TOKENS, APP_INTS, APP_LOGITS, "tokens", "", "N,...", 0, BIG, "", false, "", "token ids instead of text; no begin token is added"},
    {F_OUT, APP_TEXT, APP_LOGITS | APP_PROFILE, "output", "-o", "FILE", 0, 0, "", false, "experts profile: the automatic profile", "where to write: float32 [tokens, vocabulary] as .npy (logits), the counts (experts profile)"},
    {F_TEMPLATE, APP_TEXT, APP_TEMPLATE, "template", "", "FILE", 0, 0, "", false, "the model's", "a Jinja template"},
    {F_BOS, APP_TEXT, APP_TEMPLATE, "bos", "", "TEXT", 0, 0, "", false, "the model's", "the value of bos_token"},
    {F_EOS, APP_TEXT, APP_TEMPLATE, "eos", "", "TEXT", 0, 0, "", false, "the model's", "the value of eos_token"},
    {F_NOW, APP_TEXT, APP_TEMPLATE, "now", "", "DATE", 0, 0, "", false, "the clock", "what strftime_now sees: YYYY-MM-DD or \"YYYY-MM-DD HH:MM:SS\""},
    {F_SOLVE, APP_CHOICE, APP_PLAN, "solve", "", "WHAT", 0, 0, "ctx", false, "", "print only the largest context that fits: ctx"},
    {F_QUICK, APP_BOOL, APP_DOCTOR, "quick", "", "", 0, 0, "", false, "off", "smaller measurements, rougher figures"},
    /* everywhere */
    {F_JSON, APP_BOOL, APP_ALL, "json", "", "", 0, 0, "", false, "off", "one JSON object on standard output"},
    {F_CONFIG, APP_TEXT, APP_ALL, "config", "", "FILE", 0, 0, "", false, "$XDG_CONFIG_HOME/moped/config", "lines of `name = value`"},
    {F_DRY_RUN, APP_BOOL, APP_ALL, "dry-run", "", "", 0, 0, "", false, "off", "print each value and where it came from, then leave"},
    {F_VERBOSE, APP_BOOL, APP_ALL, "verbose", "-v", "", 0, 0, "", false, "off", "say more on standard error"},
    {F_HELP, APP_BOOL, APP_ALL, "help", "-h", "", 0, 0, "", false, "off", "this text"},
};

const app_flag *app_flag_at(size_t i) {
    return i < sizeof TABLE / sizeof *TABLE ? &TABLE[i] : NULL;
}

/* Is `word` one of the words of `list`? */
static bool listed(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; *p != '\0';) {
        size_t k = strcspn(p, " ");
        if (k == n && memcmp(p, word, n) == 0) return true;
        p += k + strspn(p + k, " ");
    }
    return false;
}

const app_flag *app_flag_find(unsigned command, const char *word) {
    const char *name = strncmp(word, "--", 2) == 0 ? word + 2 : word;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        const app_flag *f = &TABLE[i];
        if ((f->commands & command) && (strcmp(f->name, name) == 0 || listed(f->aliases, word))) return f;
    }
    return NULL;
}
