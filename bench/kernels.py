#!/usr/bin/env python3
"""The kernels against llama.cpp and against the machine: decode and prefill with the weights in memory, cell by cell, pairs in one run.

  bench/kernels.py --plan                                  the cells, and how long each will take
  bench/kernels.py --cells 'small:*,qwen3-30b-a3b@8:Q8_0'  measures these; '*' for all
  bench/kernels.py --cells small:Q4_K_M --items tg32@16384 --threads 1 --pairs 3
  bench/kernels.py --table                                 only writes the table again from what was measured

A cell is SHAPE[@LAYERS]:TYPE: the file is made by `moped bench --like` and removed afterwards, or found where --file CELL=PATH says. Its items: ppN, prefill of N
tokens; tgN, decode of N tokens after the first; tgN@D, the same with D tokens of context before.

Both engines stay loaded and take turns where memory has room for both; else each is started anew for every pair ("apart" in the table), and items with
a context are measured in one visit. llama.cpp, with repacking, is first tried with and without a memory map and flash attention: the pairs use the better
way to load over all items, and each item's better attention. The machine's limits are measured too (bench/turns.c): reading memory through huge pages
right before and after every decode of moped's, because a shared machine's memory gives 35 GB/s in one minute and 55 in the next; and peaks of arithmetic before
and after the cell.

Bytes a token: every weight that a token needs once, and the keys and values before it. Operations: two for every multiply-add of the forward pass, the
logits of the last token only; the limit of a prefill is what it would do if every operation took the time that it takes at the peak of its own arithmetic
(int8 for quantized weights; float32 for float weights, and for the scores and sums of attention). Appends one line of JSON for each cell to bench/results/kernels.jsonl and writes bench/results/kernels.md.
Needs llama-cpp-python and gguf. Stop other work first.
"""
import argparse, ctypes, datetime, fnmatch, json, math, os, platform, re, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
RESULTS = os.path.join(HERE, "results")
TYPES = "Q4_K_M Q8_0 Q4_0 Q6_K IQ4_XS F16".split()
SUITE = [f"qwen3-30b-a3b:{t}" for t in ("Q4_K_M", "Q4_0", "IQ4_XS")] + \
        [f"{s}:{t}" for s in ("small", "llama-3.2-1b", "qwen3-30b-a3b@8", "mixtral-8x7b@4") for t in TYPES]
FLOATS = {"F32", "F16", "BF16"}  # their products are float32's, nothing is rounded to bf16; all others' are int8's

# What the project wants (issue 4). Shares are of the limit that was measured beside them.
DECODE_RATIO, DECODE_SHARE, DECODE_LEAST, SMALL_LEAST = 1.12, 0.95, 0.90, 0.80
PREFILL_RATIO, PREFILL_MEAN, PREFILL_SHARE, DEEP_RATIO, SINGLE_RATIO = 1.3, 2.0, 0.4, 1.2, 0.95


# ---- llama.cpp's side ----

class Llama:
    """One loaded model; a turn is what bench/turns.c calls one."""

    def __init__(self, path, threads, context, use_mmap):
        import llama_cpp as L
        self.L, self.threads, self.context, self.ctx, self.held = L, threads, context, None, 0
        self.quiet = L.llama_log_callback(lambda level, text, user: None)
        L.llama_log_set(self.quiet, ctypes.c_void_p(0))
        L.llama_backend_init()
        mp = L.llama_model_default_params()
        mp.n_gpu_layers = 0
        mp.load_mode = L.LLAMA_LOAD_MODE_MMAP if use_mmap else L.LLAMA_LOAD_MODE_DIRECT_IO  # the latter into buffers of its own, past the page cache
        mp.use_extra_bufts = True  # repacking
        self.model = L.llama_model_load_from_file(path.encode(), mp)
        if not self.model:
            sys.exit("llama.cpp cannot load the model")
        self.vocab = L.llama_model_get_vocab(self.model)
        state, self.ids = 42, []
        for _ in range(context):  # the ids of moped's own bench
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            self.ids.append((state >> 33) % L.llama_vocab_n_tokens(self.vocab))

    def flash(self, on):
        L = self.L
        if self.ctx:
            L.llama_free(self.ctx)
        cp = L.llama_context_default_params()
        cp.n_ctx, cp.n_batch, cp.n_ubatch = self.context, 512, 512
        cp.n_threads = cp.n_threads_batch = self.threads
        cp.flash_attn_type = 1 if on else 0
        self.ctx, self.held = L.llama_init_from_model(self.model, cp), 0
        if not self.ctx:
            sys.exit("llama.cpp makes no context")

    def run(self, ids):
        for at in range(0, len(ids), 512):
            part = ids[at:at + 512]
            array = (self.L.llama_token * len(part))(*part)  # the batch only points at it
            if self.L.llama_decode(self.ctx, self.L.llama_batch_get_one(array, len(part))) != 0:
                sys.exit("llama.cpp cannot decode")
        self.L.llama_synchronize(self.ctx)

    def keep(self, n):
        memory = self.L.llama_get_memory(self.ctx)
        if n == 0 or self.held < n:
            self.L.llama_memory_clear(memory, True)
            self.held = 0
        else:
            self.L.llama_memory_seq_rm(memory, 0, n, -1)
            self.held = n

    def prefill(self, n):
        self.keep(0)
        start = time.perf_counter()
        self.run(self.ids[:n])
        return n / (time.perf_counter() - start)

    def decode(self, n, depth):
        L = self.L
        begin = L.llama_vocab_bos(self.vocab)
        first = self.ids[:depth] if depth else [max(begin, 0)]
        self.keep(depth - 1 if depth else 0)
        self.run(first[self.held:])
        self.held = len(first)
        chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
        L.llama_sampler_chain_add(chain, L.llama_sampler_init_top_k(40))
        L.llama_sampler_chain_add(chain, L.llama_sampler_init_dist(42))
        token = L.llama_sampler_sample(chain, self.ctx, -1)
        start = time.perf_counter()
        for _ in range(n):
            self.run([token])
            token = L.llama_sampler_sample(chain, self.ctx, -1)
        rate = n / (time.perf_counter() - start)
        self.held += n
        L.llama_sampler_free(chain)
        return rate


def llama_child(path, threads, context, use_mmap):
    engine = Llama(path, int(threads), int(context), use_mmap == "1")
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        what, *n = line.split()
        out = getattr(engine, what)(*map(int, n))
        print(json.dumps({"tok_s": out}), flush=True)


class Engine:
    """A child that takes turns. `with` ends it."""

    def __init__(self, words):
        self.words = words

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        start = time.monotonic()
        self.info = self.answer()
        self.load_s = time.monotonic() - start
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()
        self.log.close()

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{os.path.basename(self.words[0])} left: {self.log.read().strip()[-400:]}")
        return json.loads(line)

    def turn(self, text):
        self.child.stdin.write(text + "\n")
        self.child.stdin.flush()
        return self.answer().get("tok_s")


# ---- items, bytes, operations: no machine needed ----

def parse_item(text):
    """("prefill", n, 0) or ("decode", n, depth)."""
    m = re.fullmatch(r"(pp|tg)(\d+)(?:@(\d+))?", text)
    if not m or int(m[2]) < 1 or (m[1] == "pp" and m[3]):
        raise ValueError(f'"{text}" is no item: pp512, tg32 or tg32@16384')
    return ("prefill" if m[1] == "pp" else "decode"), int(m[2]), int(m[3] or 0)


def said_turn(item):
    what, n, depth = parse_item(item)
    return f"prefill {n}" if what == "prefill" else f"decode {n} {depth}"


def warm_turn(item, file_bytes):
    """What comes before the first measurement in a child: the same, but of a long prefill of a large model only a part."""
    what, n, _ = parse_item(item)
    return f"prefill {min(n, 128)}" if what == "prefill" and file_bytes > 2 << 30 else said_turn(item)


def context_for(items):
    return max(n + depth + 2 for _, n, depth in map(parse_item, items)) + 62


def tally(tensors, used, experts):
    """What one token reads and computes. tensors: (name, elements, bytes, rows, type) with rows of the embedding's own kind. A dict: bytes (decode), macs
    (of one token in a prompt, the head apart), head_macs; float_macs and head_float_macs: those of them with float weights."""
    names = {t[0] for t in tensors}
    out = {"bytes": 0, "macs": 0, "head_macs": 0, "float_macs": 0, "head_float_macs": 0}

    def computes(key, macs, kind):
        out["head_macs" if key == "head" else "macs"] += macs
        if kind in FLOATS:
            out["head_float_macs" if key == "head" else "float_macs"] += macs

    for name, elements, size, rows, kind in tensors:
        share = used / experts if experts and "_exps." in name else 1
        if name == "token_embd.weight":
            tied = "output.weight" not in names
            out["bytes"] += size if tied else size // max(rows, 1)  # else one row of it
            computes("head", elements if tied else 0, kind)
        elif name == "output.weight":
            out["bytes"] += size
            computes("head", elements, kind)
        else:
            out["bytes"] += size * share
            computes("body", elements * share if rows > 1 and not name.startswith("rope") else 0, kind)  # norms and biases are no products
    return {k: int(v) for k, v in out.items()}


def item_bytes(item, cell):
    """Bytes that decoding one token touches, in the middle of the item."""
    _, n, depth = parse_item(item)
    return cell["bytes"] + cell["kv_bytes_per_tok"] * (depth + n / 2)


def item_ops(item, cell):
    """Operations of the whole item, for a prefill: all, and those in float32."""
    _, n, _ = parse_item(item)
    attention = 2 * cell["layers"] * cell["heads"] * cell["head_dim"] * n * (n + 1) / 2  # scores and sums
    return 2 * (cell["macs"] * n + attention + cell["head_macs"]), 2 * (cell["float_macs"] * n + attention + cell["head_float_macs"])


def item_peak(item, cell, limits):
    """Operations a second if each takes the time that it takes at its arithmetic's peak; None where that was not measured."""
    every, floats = item_ops(item, cell)
    if "int8_ops" not in limits or "f32_ops" not in limits:
        return None
    return every / ((every - floats) / limits["int8_ops"] + floats / limits["f32_ops"])


def ratios(moped, llama):
    return [m / l for m, l in zip(moped, llama)]


def judge(record, item):
    """What of the project's aims this item misses, in words; "" when nothing."""
    what, _, depth = parse_item(item)
    x, missed = record["items"][item], []
    ratio, share, one = x["ratio"], x["share"], record["threads"] == 1
    if one:
        return f"ratio < {SINGLE_RATIO}" if ratio < SINGLE_RATIO else ""
    if what == "prefill":
        missed += [f"ratio < {PREFILL_RATIO}"] if ratio < PREFILL_RATIO else []
        missed += [f"share < {PREFILL_SHARE:.0%}"] if share is not None and share < PREFILL_SHARE else []
    elif depth:
        missed += [f"ratio < {DEEP_RATIO}"] if ratio < DEEP_RATIO else []
    else:
        least = SMALL_LEAST if record["cell"].startswith("small") else DECODE_LEAST
        missed += [f"ratio < {DECODE_RATIO}, share < {DECODE_SHARE:.0%}"] if ratio < DECODE_RATIO and share < DECODE_SHARE else []
        missed += [f"share < {least:.0%}"] if share < least else []
    return "; ".join(missed)


def summed(record, item, runs):
    """The item's figures from its runs, {"moped": [...], "llama": [...], "read_bps": [...]}: the last beside each of moped's, for a decode."""
    what, n, _ = parse_item(item)
    each = ratios(runs["moped"], runs["llama"])
    x = {"moped": runs["moped"], "llama": runs["llama"], "moped_tok_s": statistics.median(runs["moped"]), "llama_tok_s": statistics.median(runs["llama"]),
         "ratio": statistics.median(each), "ratio_least": min(each), "ratio_most": max(each)}
    if what == "decode":
        x["bytes_per_tok"], x["read_bps"] = item_bytes(item, record["model"]), runs["read_bps"]
        x["rate"], x["limit"] = x["bytes_per_tok"] * x["moped_tok_s"], statistics.median(runs["read_bps"])
        x["share"] = statistics.median(x["bytes_per_tok"] * m / read for m, read in zip(runs["moped"], runs["read_bps"]))
    else:
        x["ops"] = item_ops(item, record["model"])[0]
        x["rate"], x["limit"] = x["ops"] / n * x["moped_tok_s"], item_peak(item, record["model"], record["limits"])
        x["share"] = x["rate"] / x["limit"] if x["limit"] else None
    return x


def newest(records):
    """The last record of each (cell, threads); items that it lacks come from earlier ones."""
    out = {}
    for r in records:
        key = (r["cell"], r["threads"])
        old = out.get(key)
        out[key] = dict(r, items={**{k: dict(v, at=v.get("at", old["at"])) for k, v in old["items"].items()}, **r["items"]} if old else r["items"])
    return list(out.values())


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def table(records):
    """The whole of kernels.md."""
    records = sorted(newest(records), key=lambda r: (-r["threads"], SUITE.index(r["cell"]) if r["cell"] in SUITE else len(SUITE), r["cell"]))
    lines = ["# Kernels against llama.cpp and the machine", "",
             "Written by `bench/kernels.py --table` from `kernels.jsonl`, which holds every single run, the settings that llama.cpp was tried with, and the limits of each cell.",
             "Medians of the pairs, in parentheses the least and the most. Random weights; everything in memory.", ""]
    parts = [("Decode", "GB a token", "GB/s", lambda r, i: i[0] == "decode" and not i[2] and r["threads"] > 1),
             ("Decode with a context", "GB a token", "GB/s", lambda r, i: i[0] == "decode" and i[2] and r["threads"] > 1),
             ("Prefill", "Gop a token", "Gop/s", lambda r, i: i[0] == "prefill" and r["threads"] > 1),
             ("One thread", "GB or Gop a token", "G/s", lambda r, i: r["threads"] == 1)]
    for title, per_token, unit, belongs in parts:
        rows = [(r, item) for r in records for item in r["items"] if belongs(r, parse_item(item))]
        if not rows:
            continue
        lines += [f"## {title}", "", f"| cell | item | moped tok/s | llama.cpp tok/s | ratio | {per_token} | {unit} | limit | share | pairs | missed |",
                  "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
        lines += [row_of(r, item) for r, item in rows]
        middle = geometric([r["items"][item]["ratio"] for r, item in rows])
        aim = f"; asked {PREFILL_MEAN:.0f}" if title == "Prefill" else ""
        lines += ["", f"Geometric mean of the ratios: {middle:.2f}{aim}.", ""]
    lines += ["## Commands", ""] + [f"    {c}" for c in dict.fromkeys(r["command"] for r in records)]
    machines = dict.fromkeys(f"{r['machine']['cpu']}, {r['machine']['cpus']} processors; moped {r['commit']}, llama-cpp-python {r['llama_cpp']}; {r['at'][:10]}" for r in records)
    return "\n".join(lines + [""] + list(machines)) + "\n"


def row_of(record, item):
    x = record["items"][item]
    n = parse_item(item)[1]
    per_token = x["bytes_per_tok"] / 1e9 if "bytes_per_tok" in x else x["ops"] / n / 1e9
    spread = lambda v: f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})"
    limit = f"{x['limit'] / 1e9:.1f}" if x["limit"] else "-"
    share = f"{x['share']:.0%}" if x["share"] is not None else "-"
    apart = "" if record["together"] else ", apart"
    return (f"| {record['cell']} | {item} | {spread(x['moped'])} | {spread(x['llama'])} | {x['ratio']:.3f} ({x['ratio_least']:.2f} to {x['ratio_most']:.2f}) | "
            f"{per_token:.3f} | {x['rate'] / 1e9:.1f} | {limit} | {share} | {len(x['moped'])}{apart} | {judge(record, item)} |")


# ---- time ----

LOAD_BPS, MAKE_BPS, DECODE_BPS, PREFILL_OPS, TURNS = 0.9e9, 0.25e9, 20e9, 150e9, 1.7  # of a slow day, both engines taken as equal; TURNS: moped's and llama.cpp's


def seconds(info, items, pairs, maps, together):
    """How long a cell takes at most, roughly. info: file_bytes, parameters, active_parameters."""
    per_token = info["file_bytes"] * info["active_parameters"] / info["parameters"]
    once, deep = 0.0, 0.0  # one measurement of each item; contexts
    for what, n, depth in map(parse_item, items):
        once += n * 2 * info["active_parameters"] / PREFILL_OPS if what == "prefill" else n * per_token / DECODE_BPS
        deep += depth * 2 * info["active_parameters"] / PREFILL_OPS * 1.5
    load = info["file_bytes"] / LOAD_BPS + 3
    tune = maps * (load + 2 * (1.5 * once + deep))
    visits = (1 if together else pairs) * 2 * (load + once) + 2 * deep
    return info["file_bytes"] / MAKE_BPS * info["make"] + 8 + tune + visits + pairs * TURNS * once


# ---- a cell ----

class Bench:
    def __init__(self, a):
        self.a = a
        self.turns = os.path.join(a.build, "turns")
        self.moped = os.path.join(a.build, "moped")

    def build(self):
        source = os.path.join(HERE, "turns.c")
        subprocess.run(["cc", "-O3", "-march=native", "-I" + os.path.join(ROOT, "include"), source, "-o", self.turns, "-L" + self.a.build, "-lmoped",
                        "-Wl,-rpath," + os.path.abspath(self.a.build), "-lpthread"], check=True)

    def shape(self, cell):
        """file_bytes, parameters, active_parameters; make: whether the file must be made."""
        name, kind = cell.split(":")
        path = self.a.file.get(cell)
        done = subprocess.run([self.turns, "shape", name, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode and not path:
            raise RuntimeError(done.stderr.strip())
        size = os.path.getsize(path) if path else 0
        info = {"parameters": 1, "active_parameters": 1, "file_bytes": size} if done.returncode else json.loads(done.stdout)
        if done.returncode:
            info["parameters"] = info["active_parameters"] = size * 1.7  # a file of no known shape: as if it were dense, of 4.7 bits
        return dict(info, make=0 if path else 1, **({"file_bytes": size} if path else {}))

    def fits_twice(self, file_bytes, kv_bytes):
        return 2.15 * file_bytes + 3 * kv_bytes + (3 << 29) < 0.92 * available()

    def maps(self, file_bytes):
        """Ways to load for llama.cpp. Without the map, its buffers and the page cache of what it reads are there at once: the largest file only gets the map."""
        return self.a.maps or (["1"] if file_bytes > 0.7 * available() else ["0", "1"])

    def file_of(self, cell):
        """(path, is ours to remove)."""
        if cell in self.a.file:
            return self.a.file[cell], False
        name, kind = cell.split(":")
        path = os.path.join(self.a.dir, f"kernels-{name.replace('@', '-')}-{kind}.gguf")
        start = time.monotonic()
        if not os.path.exists(path):
            subprocess.run([self.moped, "bench", "--like", name, "--type", kind, "--keep", path, "-p", "1", "-n", "0", "-r", "1", "--json"],
                           check=True, stdout=subprocess.DEVNULL)
        self.say(f"  made {os.path.getsize(path) / 1e9:.2f} GB in {time.monotonic() - start:.0f} s")
        return path, not self.a.keep

    def say(self, text):
        print(text, flush=True)

    def engine(self, who, path, use_mmap="1"):
        n = [str(self.a.threads), str(context_for(self.a.items))]
        return Engine([self.turns, path, *n] if who == "moped" else [sys.executable, os.path.abspath(__file__), "--llama-child", path, *n, use_mmap])

    def tune(self, path, size):
        """{item: {"mmap", "flash", "tok_s"}} the best for each, and all that was tried."""
        tried, ways = [], self.maps(size)  # asked once: what is available changes
        for use_mmap in ways:
            with self.engine("llama", path, use_mmap) as e:
                for flash in (0, 1):
                    e.turn(f"flash {flash}")
                    for item in self.a.items:
                        e.turn(warm_turn(item, size))
                        tried.append({"item": item, "mmap": use_mmap, "flash": flash, "tok_s": e.turn(said_turn(item))})
        best = {item: max((t for t in tried if t["item"] == item), key=lambda t: t["tok_s"]) for item in self.a.items}
        # One child cannot be loaded in two ways: the way that is better over all items is taken, weighed by how much it is.
        share = {m: sum(math.log(max(t["tok_s"] for t in tried if t["item"] == i and t["mmap"] == m) / best[i]["tok_s"]) for i in self.a.items) for m in ways}
        way = max(share, key=share.get)
        best = {item: max((t for t in tried if t["item"] == item and t["mmap"] == way), key=lambda t: t["tok_s"]) for item in self.a.items}
        return best, tried

    def visit(self, who, e, best, runs, item, warm):
        """One measurement, after a warm-up in a child that is new to the item. llama.cpp's flash attention is a context's, so it is set when it changes."""
        if who == "llama" and getattr(e, "flash", None) != best[item]["flash"]:
            e.flash = best[item]["flash"]
            e.turn(f"flash {e.flash}")
            warm = True
        if warm:
            e.turn(warm_turn(item, self.size))
        reads = who == "moped" and parse_item(item)[0] == "decode"
        before = self.limits()["read_bps"] if reads else 0
        runs[item][who].append(e.turn(said_turn(item)))
        if reads:
            runs[item]["read_bps"].append((before + self.limits()["read_bps"]) / 2)

    def limits(self):
        return json.loads(subprocess.check_output([self.turns, "limits", str(self.a.threads)]))

    def together(self, path, best, runs):
        """Both loaded. One item after the other, so that a context is computed once."""
        way = next(iter(best.values()))["mmap"]
        with self.engine("moped", path) as m, self.engine("llama", path, way) as l:
            engines = {"moped": m, "llama": l}
            for item in self.a.items:
                for pair in range(self.a.pairs):
                    for who in (("moped", "llama"), ("llama", "moped"))[pair % 2]:
                        self.visit(who, engines[who], best, runs, item, pair == 0)
                self.progress(item, runs)
            return m.info

    def apart(self, path, best, runs):
        way = next(iter(best.values()))["mmap"]
        for pair in range(self.a.pairs):
            for who in (("moped", "llama"), ("llama", "moped"))[pair % 2]:
                with self.engine(who, path, way) as e:
                    info = e.info if who == "moped" else info
                    for item in self.a.items:
                        deep = parse_item(item)[2] > 0
                        for i in range(self.a.pairs if deep and pair == 0 else 0 if deep else 1):
                            self.visit(who, e, best, runs, item, i == 0)
            self.say(f"  pair {pair + 1} of {self.a.pairs}: " + ", ".join(f"{i} {runs[i]['moped'][-1]:.1f} / {runs[i]['llama'][-1]:.1f}" for i in self.a.items))
        return info

    def progress(self, item, runs):
        r = runs[item]
        self.say(f"  {item:12} moped {statistics.median(r['moped']):8.2f}  llama.cpp {statistics.median(r['llama']):8.2f}  "
                 f"ratio {statistics.median(ratios(r['moped'], r['llama'])):.3f}  ({len(r['moped'])} pairs)")

    def measure(self, cell):
        start = time.monotonic()
        path, ours = self.file_of(cell)
        try:
            size = self.size = os.path.getsize(path)
            limits = self.limits()
            model = read_model(path)
            both = self.fits_twice(size, model["kv_bytes_per_tok"] * context_for(self.a.items)) and not self.a.apart
            best, tried = self.tune(path, size)
            runs = {item: {"moped": [], "llama": [], "read_bps": []} for item in self.a.items}
            info = (self.together if both else self.apart)(path, best, runs)
        finally:
            if ours:
                os.remove(path)
        model.update(bytes_by_moped=info["bytes_per_tok"], kv_bytes_per_tok=info["kv_bytes_per_tok"])
        again = self.limits()  # the better of both: a limit is a limit
        limits = {k: max(v, again[k]) for k, v in limits.items()}
        record = {"cell": cell, "type": cell.split(":")[1], "threads": self.a.threads, "at": datetime.datetime.now().isoformat(timespec="seconds"), "seconds": round(time.monotonic() - start),
                  "together": both, "limits": limits, "model": model, "llama_best": best, "llama_tried": tried, "machine": {"cpu": cpu_name(), "cpus": os.cpu_count()},
                  "commit": commit(), "llama_cpp": llama_version(), "command": said_command(self.a)}
        record["items"] = {item: summed(record, item, runs[item]) for item in self.a.items}
        return record


def read_model(path):
    import gguf
    r = gguf.GGUFReader(path)
    value = lambda key, other=0: int(r.fields[f"{arch}.{key}"].parts[-1][0]) if f"{arch}.{key}" in r.fields else other
    arch = bytes(r.fields["general.architecture"].parts[-1]).decode()
    tensors = [(t.name, int(t.n_elements), int(t.n_bytes), int(t.shape[1]) if len(t.shape) > 1 else 1, t.tensor_type.name) for t in r.tensors]
    heads = value("attention.head_count")
    head_dim = value("attention.key_length", value("embedding_length") // heads)
    out = tally(tensors, value("expert_used_count"), value("expert_count"))
    return dict(out, layers=value("block_count"), heads=heads, head_dim=head_dim, file_bytes=os.path.getsize(path),
                kv_bytes_per_tok=4 * value("block_count") * value("attention.head_count_kv", heads) * head_dim)


def available():
    for line in open("/proc/meminfo"):
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit():
    git = lambda *words: subprocess.run(["git", "-C", ROOT, *words], stdout=subprocess.PIPE, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain", "--untracked-files=no", "src") else "")


def llama_version():
    import llama_cpp
    return llama_cpp.__version__


def said_command(a):
    more = "".join([f" --file {c}={os.path.basename(p)}" for c, p in a.file.items()] + [" --apart"] * a.apart + ([f" --maps {','.join(a.maps)}"] if a.maps else []))
    return f"bench/kernels.py --cells '{a.cells}' --items {','.join(a.items)} --threads {a.threads} --pairs {a.pairs}{more}"


def chosen(cells):
    """Names of the suite that match, and any other cell that is named in full."""
    out = []
    for word in cells.split(","):
        found = [c for c in SUITE if fnmatch.fnmatch(c, word)]
        if not found and not re.fullmatch(r"[\w.-]+(@\d+)?:\w+", word):
            raise ValueError(f'"{word}" is no cell: SHAPE[@LAYERS]:TYPE, or a pattern of the suite')
        out += found or [word]
    return list(dict.fromkeys(out))


def read_lines(path):
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []


def write_table(lines, out):
    with open(out, "w") as f:
        f.write(table(lines))


def parsed():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cells", default="*", help="of the suite, by pattern; or others by name, with commas")
    p.add_argument("--items", default="pp512,tg64", type=lambda s: s.split(","))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--apart", action="store_true", help="never both engines loaded at once")
    p.add_argument("--maps", type=lambda s: s.split(","), help="ways to load for llama.cpp: 0, without a memory map; 1, with one; 0,1: the better (the largest files: 1)")
    p.add_argument("--file", action="append", default=[], metavar="CELL=PATH", help="this file is that cell")
    p.add_argument("--keep", action="store_true", help="files that were made stay (in --dir) and are used again")
    p.add_argument("--dir", default=tempfile.gettempdir(), help="where files are made")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--out", default=os.path.join(RESULTS, "kernels"), help="the results, without .jsonl and .md")
    p.add_argument("--plan", action="store_true", help="only say what would be measured, and for how long")
    p.add_argument("--table", action="store_true")
    a = p.parse_args()
    a.file = dict(x.split("=", 1) for x in a.file)
    for item in a.items:
        parse_item(item)
    return a


def plan(b, cells):
    total = 0
    for cell in cells:
        info = b.shape(cell)
        both = b.fits_twice(info["file_bytes"], 0) and not b.a.apart
        s = seconds(info, b.a.items, b.a.pairs, len(b.maps(info["file_bytes"])), both)
        total += s
        b.say(f"{cell:28} {info['file_bytes'] / 1e9:6.1f} GB  {'together' if both else 'apart   '}  {s / 60:5.1f} min")
    b.say(f"{len(cells)} cells, {b.a.pairs} pairs of {', '.join(b.a.items)}, {b.a.threads} threads: about {total / 60:.0f} min at most")


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--llama-child":
        return llama_child(*sys.argv[2:])
    a = parsed()
    if a.table:
        return write_table(read_lines(a.out + ".jsonl"), a.out + ".md")
    b, cells, bad = Bench(a), chosen(a.cells), 0
    b.build()
    plan(b, cells)
    if a.plan:
        return 0
    for cell in cells:
        b.say(cell)
        try:
            record = b.measure(cell)
        except (RuntimeError, subprocess.CalledProcessError) as e:  # one cell must not cost the others
            bad += 1
            b.say(f"  failed: {e}")
            continue
        b.say(f"  {record['seconds']} s")
        with open(a.out + ".jsonl", "a") as f:
            f.write(json.dumps(record) + "\n")
        write_table(read_lines(a.out + ".jsonl"), a.out + ".md")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
