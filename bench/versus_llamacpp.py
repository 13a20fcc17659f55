#!/usr/bin/env python3
"""moped and llama.cpp side by side: prefill and decode in tokens/s on the same file.

  bench/versus_llamacpp.py MODEL.gguf [-p 512] [-n 32] [-t 2] [-r 5] [--cap 8G] [--out bench/results/NAME.json]

Pairs of runs, the order swapped from pair to pair, so that a machine that gets slower or busier does it to both. Each run is a process of
its own that warms up once and measures once; the medians count, and the ratio is the median of the pairs' ratios. What is measured:

  prefill  -p tokens in an empty context, and the logits of the last one
  decode   -n tokens after the first one, from an empty context; both sample (top-k 40, temperature 1, fixed seed), so that a model
           with experts uses about the same variety of them

With --cap both run inside a memory control group of that size (tools/capped.sh; root), moped with --ram of the same size.
llama.cpp is reached through llama-cpp-python: run this with an interpreter that has it, or name one with --python.
"""
import argparse, ctypes, json, os, platform, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)


def llama_child(a):
    """Measures llama.cpp once, in this process; prints one JSON object."""
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
    cp.n_ctx = max(a.prompt, a.gen + 2)
    cp.n_batch = max(a.prompt, 32)
    cp.n_ubatch = min(512, cp.n_batch)
    cp.n_threads = cp.n_threads_batch = a.threads
    ctx = L.llama_init_from_model(model, cp)
    vocab = L.llama_model_get_vocab(model)
    n_vocab = L.llama_vocab_n_tokens(vocab)
    memory = L.llama_get_memory(ctx)

    def decode(ids):
        array = (L.llama_token * len(ids))(*ids)
        if L.llama_decode(ctx, L.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama.cpp cannot decode")
        L.llama_synchronize(ctx)

    def prefill():
        L.llama_memory_clear(memory, True)
        state, ids = 42, []
        for _ in range(a.prompt):  # the ids of moped's own bench
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            ids.append((state >> 33) % n_vocab)
        start = time.perf_counter()
        decode(ids)
        return a.prompt / (time.perf_counter() - start)

    def generate():
        L.llama_memory_clear(memory, True)
        chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
        L.llama_sampler_chain_add(chain, L.llama_sampler_init_top_k(40))
        L.llama_sampler_chain_add(chain, L.llama_sampler_init_dist(42))
        bos = L.llama_vocab_bos(vocab)
        decode([bos if bos >= 0 else 0])
        token = L.llama_sampler_sample(chain, ctx, -1)
        start = time.perf_counter()
        for _ in range(a.gen):
            decode([token])
            token = L.llama_sampler_sample(chain, ctx, -1)
        rate = a.gen / (time.perf_counter() - start)
        L.llama_sampler_free(chain)
        return rate

    out = {}
    for name, fn, wanted in (("prefill_tok_s", prefill, a.prompt), ("decode_tok_s", generate, a.gen)):
        if wanted:
            fn()
            out[name] = fn()
    print(json.dumps(out))


def capped(a, command):
    return [os.path.join(ROOT, "tools/capped.sh"), a.cap] + command if a.cap else command


def measure(a, who):
    if who == "moped":
        command = [a.moped, "bench", a.model, "-p", str(a.prompt), "-n", str(a.gen), "-t", str(a.threads), "-r", "1", "--json"]
        command += ["--ram", a.cap or a.ram] if a.cap or a.ram else []
    else:
        command = [a.python, os.path.abspath(__file__), "--llama-child", a.model, "-p", str(a.prompt), "-n", str(a.gen), "-t", str(a.threads)]
    done = subprocess.run(capped(a, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{who} left with {done.returncode}: {done.stderr.strip()[-400:]}")
    result = json.loads(done.stdout)
    return (result["runs"][0] if who == "moped" else result), said(a, command)


def said(a, words):
    """A command as it is written down: without the folders of this machine."""
    known = {a.python: "python3", a.model: os.path.basename(a.model), a.moped: "build/moped", os.path.abspath(__file__): "bench/versus_llamacpp.py"}
    return " ".join(known.get(w, w.replace(ROOT + "/", "")) for w in words)


def compare(a):
    names = [n for n, wanted in (("prefill_tok_s", a.prompt), ("decode_tok_s", a.gen)) if wanted]
    runs, commands, failed = {"moped": [], "llama.cpp": []}, {}, {}
    for r in range(a.repeat):
        for who in (("moped", "llama.cpp"), ("llama.cpp", "moped"))[r % 2]:
            if who in failed:
                continue
            try:
                result, commands[who] = measure(a, who)
                runs[who].append({n: result[n] for n in names} | ({"ram_peak_bytes": result["ram_peak_bytes"]} if who == "moped" else {}))
            except RuntimeError as e:
                failed[who] = str(e)
                print(e, file=sys.stderr)
    out = {"model": os.path.basename(a.model), "machine": {"cpu": cpu_name(), "cpus": os.cpu_count()}, "threads": a.threads, "cap": a.cap,
           "prompt_tokens": a.prompt, "decode_tokens": a.gen, "commands": commands, "command": said(a, [os.path.abspath(__file__)] + sys.argv[1:]), "runs": runs, "failed": failed, "median": {}, "ratio": {}}
    print(f"{os.path.basename(a.model)}, {a.threads} threads{', capped at ' + a.cap if a.cap else ''}")
    for n in names:
        out["median"][n] = {who: statistics.median(x[n] for x in runs[who]) if runs[who] else None for who in runs}
        pairs = [m[n] / l[n] for m, l in zip(runs["moped"], runs["llama.cpp"])]
        out["ratio"][n] = statistics.median(pairs) if pairs else None
        show = lambda x: f"{x:9.2f}" if x else "   failed"
        ratio = f"{out['ratio'][n]:.2f}x (pairs {min(pairs):.2f} to {max(pairs):.2f})" if pairs else "-"
        print(f"  {n:14} moped {show(out['median'][n]['moped'])}   llama.cpp {show(out['median'][n]['llama.cpp'])}   {ratio}")
    return out


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("-p", dest="prompt", type=int, default=512)
    p.add_argument("-n", dest="gen", type=int, default=32)
    p.add_argument("-t", dest="threads", type=int, default=2)
    p.add_argument("-r", dest="repeat", type=int, default=5)
    p.add_argument("--cap", help="run both in a memory control group of this size")
    p.add_argument("--ram", help="moped's --ram without a cap")
    p.add_argument("--moped", default=os.path.join(ROOT, "build/moped"))
    p.add_argument("--python", default=sys.executable, help="an interpreter that has llama_cpp")
    p.add_argument("--out", help="write everything to this file as JSON")
    p.add_argument("--llama-child", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.llama_child:
        return llama_child(a)
    out = compare(a)
    if a.out:
        with open(a.out, "w") as f:
            json.dump(out, f, indent=1)
            f.write("\n")
    return 1 if out["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
