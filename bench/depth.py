#!/usr/bin/env python3
"""moped and llama.cpp side by side behind a long prompt: decode in tokens/s with a context of --depth tokens.

  bench/depth.py MODEL.gguf [--depth 16384] [-n 32] [-t 2] [-r 7] [--flash -1|0|1]

Both processes fill their context once and stay; then they decode in turns, -n tokens each, from the same depth, so that a machine that gets slower or
busier does it to both. Medians count; the ratio is the median of the pairs' ratios. moped's half is bench/depth.c (see there how it is built);
llama.cpp is reached through llama-cpp-python. --flash: llama.cpp's flash attention, -1 as it likes.

On a busy machine two threads that wait for each other by spinning measure the others, not themselves. There: -t 1, and the processor time that the process took
(for one token more than -n: the prompt's last) is what counts; --cpu says so. Then both fill at the same time.
"""
import argparse, ctypes, os, statistics, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def llama_child(a):
    import llama_cpp as L
    quiet = L.llama_log_callback(lambda level, text, user: None)
    L.llama_log_set(quiet, ctypes.c_void_p(0))
    L.llama_backend_init()
    mp = L.llama_model_default_params()
    mp.n_gpu_layers = 0
    model = L.llama_model_load_from_file(a.model.encode(), mp)
    if not model:
        sys.exit("llama.cpp cannot load the model")
    cp = L.llama_context_default_params()
    cp.n_ctx = a.depth + a.gen + 2
    cp.n_batch = cp.n_ubatch = 512
    cp.n_threads, cp.n_threads_batch = a.threads, max(a.threads, 2 if a.cpu else 1)
    cp.flash_attn_type = a.flash
    ctx = L.llama_init_from_model(model, cp)
    if not ctx:
        sys.exit("llama.cpp makes no context")
    vocab = L.llama_model_get_vocab(model)
    memory = L.llama_get_memory(ctx)

    def decode(ids):
        array = (L.llama_token * len(ids))(*ids)
        if L.llama_decode(ctx, L.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama.cpp cannot decode")
        L.llama_synchronize(ctx)

    state, ids = 42, []
    for _ in range(a.depth):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        ids.append((state >> 33) % L.llama_vocab_n_tokens(vocab))
    start = time.perf_counter()
    for i in range(0, a.depth, 512):
        decode(ids[i:i + 512])
    print(f"{a.depth / (time.perf_counter() - start):.2f}", flush=True)
    for _ in sys.stdin:
        cpu = time.process_time()
        L.llama_memory_seq_rm(memory, 0, a.depth - 1, -1)
        decode(ids[-1:])
        chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
        L.llama_sampler_chain_add(chain, L.llama_sampler_init_top_k(40))
        L.llama_sampler_chain_add(chain, L.llama_sampler_init_dist(42))
        token = L.llama_sampler_sample(chain, ctx, -1)
        start = time.perf_counter()
        for _ in range(a.gen):
            decode([token])
            token = L.llama_sampler_sample(chain, ctx, -1)
        wall = a.gen / (time.perf_counter() - start)
        print(f"{wall:.2f} {(a.gen + 1) / (time.process_time() - cpu):.2f}", flush=True)
        L.llama_sampler_free(chain)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--depth", type=int, default=16384)
    p.add_argument("-n", dest="gen", type=int, default=32)
    p.add_argument("-t", dest="threads", type=int, default=2)
    p.add_argument("-r", dest="repeat", type=int, default=7)
    p.add_argument("--flash", type=int, default=-1)
    p.add_argument("--moped", default=os.path.join(ROOT, "build/depth"))
    p.add_argument("--python", default=sys.executable, help="an interpreter that has llama_cpp")
    p.add_argument("--cpu", action="store_true", help="processor time instead of time")
    p.add_argument("--llama-child", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.llama_child:
        return llama_child(a)
    sizes = [str(a.depth), str(a.gen), str(a.threads)]
    commands = {"moped": [a.moped, a.model] + sizes,
                "llama.cpp": [a.python, os.path.abspath(__file__), a.model, "--depth", sizes[0], "-n", sizes[1], "-t", sizes[2], "--flash", str(a.flash), "--llama-child"]}
    child, fill, runs = {}, {}, {"moped": [], "llama.cpp": []}
    for who, command in commands.items():
        child[who] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not a.cpu:  # one after the other: both want all processors
            fill[who] = float(child[who].stdout.readline())
    for who in child:
        if a.cpu:
            fill[who] = float(child[who].stdout.readline())
    for r in range(a.repeat + 1):  # the first warms up
        for who in (("moped", "llama.cpp"), ("llama.cpp", "moped"))[r % 2]:
            child[who].stdin.write("\n")
            child[who].stdin.flush()
            runs[who].append(float(child[who].stdout.readline().split()[a.cpu]))
    for c in child.values():
        c.stdin.close()
        c.wait()
    pairs = [m / l for m, l in zip(runs["moped"][1:], runs["llama.cpp"][1:])]
    print(f"{os.path.basename(a.model)}, {a.threads} threads, {a.depth} tokens of context, {a.repeat} pairs of {a.gen} tokens, flash {a.flash}" + (", processor time" if a.cpu else ""))
    print("  filling   " + "   ".join(f"{who} {fill[who]:8.2f} tok/s" for who in fill) + f"   {fill['moped'] / fill['llama.cpp']:.2f}x (once)")
    print("  decode    " + "   ".join(f"{who} {statistics.median(runs[who][1:]):8.2f} tok/s" for who in runs) +
          f"   {statistics.median(pairs):.2f}x (pairs {min(pairs):.2f} to {max(pairs):.2f})")


if __name__ == "__main__":
    sys.exit(main())
