/* moped: the program. Finds the command, reads its flags, calls it. */
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"

typedef struct command {
    const char *name;
    unsigned    bit;
    int         words; /* arguments without a dash that it takes */
    int       (*call)(app_flags *flags);
    const char *usage, *summary, *more;
} command;

static const command COMMANDS[] = {
    {"run", APP_RUN, 2, app_run, "moped run [MODEL] [PROMPT] [flags]", "chat, or answer once",
     "With a prompt (-p, -f, PROMPT, or text on standard input) it answers once and leaves; else it chats.\n"
     "With no MODEL it takes the small one that ships. In the chat, /help lists what it understands.\n"},
    {"plan", APP_PLAN, 1, app_plan, "moped plan MODEL [--ram SIZE] [-c N] [flags]", "what a model will need, where it will go, how fast it can be",
     "Reads the headers of the file and loads nothing. Exit code 3: it does not fit.\n"},
    {"bench", APP_BENCH, 1, app_bench, "moped bench [MODEL | --like SHAPE] [-p N] [-n N] [--ram SIZE,...] [-t N,...] [-r N]",
     "prefill and decode speed over budgets and threads",
     "Prefill: one forward of N fixed random tokens in an empty context, with the logits of the last. Decode: N tokens after the first,\n"
     "from an empty context, sampled with a fixed seed. Each is warmed up once and repeated; the median counts.\n"
     "--like measures a model that you don't have: its shape with random weights, written to $TMPDIR (or here) and removed again.\n"},
    {"tokenize", APP_TOKENIZE, 1, app_tokenize, "moped tokenize MODEL -p TEXT | -f FILE", "text to token ids", ""},
    {"logits", APP_LOGITS, 1, app_logits, "moped logits MODEL -p TEXT | --tokens 1,2,3 -o OUT.npy", "the logits of every position, as a NumPy file",
     "Keys and values are kept in f32 unless --kv says otherwise.\n"},
    {"template", APP_TEMPLATE, 1, app_template, "moped template MODEL | --template FILE -f REQUEST.json", "render a chat template",
     "REQUEST.json is an object of the template's variables: messages, tools, add_generation_prompt, ...\n"
     "What it prints is exactly what the model would see, with no newline added.\n"},
    {"perplexity", APP_PERPLEXITY, 1, app_perplexity, "moped perplexity MODEL -f TEXT [-c N]", "how well a model predicts a text",
     "Windows of N tokens (512) that don't overlap; the second half of each is scored. The same figure as llama.cpp's.\n"},
    {"experts replay", APP_REPLAY, 1, app_experts_replay, "moped experts replay TRACE [--policy NAME,...] [--slots N,...] [--plot FILE]",
     "what a cache policy would have done on a recorded trace", ""},
    {"experts profile", APP_PROFILE, 1, app_experts_profile, "moped experts profile MODEL -f TEXT [-o FILE] [--ram SIZE]", "count which experts a text uses",
     "Runs the text through the model, in windows of -c tokens (512) that don't overlap, and adds the counts per layer and expert to the model's\n"
     "automatic profile, from which the next run starts warm, or to FILE, which --expert-profile takes.\n"},
    {"experts stats", APP_STATS, 1, app_experts_stats, "moped experts stats MODEL [--top N] [--json]", "who is hot: what runs of this model have counted",
     "Of each layer: the entropy of its use in bits, how many experts make up 90 % of it, and the hottest with their shares; a * means pinned.\n"},
    {"experts pin", APP_PIN, 2, app_experts_pin, "moped experts pin MODEL LAYER:EXPERT,...", "keep experts in memory whatever the policy says",
     "From the next run on, in at most half of the slots. Layers and experts are numbered from 0, as `moped experts stats` shows them.\n"},
    {"experts unpin", APP_PIN, 2, app_experts_unpin, "moped experts unpin MODEL LAYER:EXPERT,...|all", "let the policy decide again", ""},
    {"doctor", APP_DOCTOR, 1, app_doctor, "moped doctor [FOLDER | -m FILE] [--quick]", "what this machine is: bandwidths, limits, instruction sets",
     "Measures memory, and the disk that holds FILE, a model or another large file, in random places; or that of FOLDER (this one) with a file of its own, which caches\n"
     "below may hold: such figures choose no --io. Remembers both for plan, run and bench.\n"},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static void help(FILE *to) {
    fputs("moped: language models bigger than the memory they are given\n\n", to);
    for (int i = 0; i < N_COMMANDS; i++) fprintf(to, "  moped %-16s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    fputs("\n  moped COMMAND --help   the flags of a command\n"
          "  moped --version\n\n"
          "Try:  moped run                     talk to the small model that ships\n"
          "      moped plan model.gguf --ram 8G\n"
          "      moped run model.gguf --ram 8G\n\n"
          "Sizes take K M G T (1024) or KB MB GB TB (1000). Every flag is also a MOPED_* variable and a line of\n"
          "$XDG_CONFIG_HOME/moped/config; a flag beats a variable, a variable beats the file; --dry-run shows who won.\n"
          "Exit codes: 0 fine, 1 failed, 2 usage, 3 does not fit, 4 the model file is bad, 5 stopped by a guard, 6 a target was missed.\n",
          to);
}

static int unknown_command(const char *word) {
    const char *near = NULL;
    int least = 4;
    for (int i = 0; i < N_COMMANDS; i++) {
        int d = app_distance(word, COMMANDS[i].name);
        if (d < least && d < (int)strlen(COMMANDS[i].name)) least = d, near = COMMANDS[i].name;
    }
    if (near) return app_report(mp_fail(MP_E_USAGE, "there is no command \"%s\"; did you mean %s?", word, near));
    return app_report(mp_fail(MP_E_USAGE, "there is no command \"%s\"; `moped --help` lists those that there are", word));
}

/* How many words of argv name the command: "experts replay" is two. 0: it is another. */
static int names(const command *c, int argc, char **argv) {
    const char *space = strchr(c->name, ' ');
    if (!space) return strcmp(argv[1], c->name) == 0;
    size_t n = (size_t)(space - c->name);
    return strlen(argv[1]) == n && !memcmp(argv[1], c->name, n) && argc > 2 && !strcmp(argv[2], space + 1) ? 2 : 0;
}

static int call(const command *c, int argc, char **argv) {
    app_flags flags;
    int code = 0;
    mp_err e = app_flags_parse(&flags, c->bit, c->words, argc, argv);
    if (e) {
        code = app_report(e);
    } else if (app_on(&flags, F_HELP)) {
        printf("%s\n\n%c%s.\n%s\n", c->usage, c->summary[0] - 'a' + 'A', c->summary + 1, c->more);
        app_help_flags(stdout, c->bit);
    } else if (app_on(&flags, F_DRY_RUN)) {
        app_help_dry_run(stdout, &flags);
    } else {
        code = c->call(&flags);
    }
    app_flags_deinit(&flags);
    return code;
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, ""); /* how wide a typed character is; numbers stay as in C */
    app_signals_install();
    if (argc < 2) return help(stdout), APP_EXIT_FINE;
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) return help(stdout), APP_EXIT_FINE;
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) return printf("moped %s\n", moped_version()), APP_EXIT_FINE;
    for (int i = 0; i < N_COMMANDS; i++) {
        int words = names(&COMMANDS[i], argc, argv);
        if (words) {
            int code = call(&COMMANDS[i], argc - 1 - words, argv + 1 + words);
            if (fflush(stdout) != 0 && code == APP_EXIT_FINE) code = app_report(mp_fail(MP_E_FAILED, "cannot write the result: %s", strerror(errno)));
            return code;
        }
    }
    return unknown_command(word);
}
