#!/usr/bin/env python3
"""A model that does not fit, in control groups of exactly the budget, cold: what the pager is for, measured.

  bench/paging.py MODEL.gguf [--parts decode,prefetch,prefill,resident,ttft,routing] [--budgets 4G,8G,12G] [--routing TRACE] [--out FILE.md]

  decode    moped and llama.cpp (memory map, weights not repacked) side by side in the same group, the order swapped from budget to budget: tokens/s
            of moped's first 16 tokens and of those after them, llama.cpp's after its first; the bound that moped prints, and the share of it
  prefetch  moped with --prefetch off, on, auto: pairs in one run
  prefill   512 tokens at the least budget, against the larger of reading the bytes that it read and the same prefill fully resident
  resident  everything resident, paging on and off: pairs
  ttft      from exec to the first token of a 16-token prompt at 8G, page cache dropped, against reading the bytes that it needs at the disk's rate
  routing   decode with a recorded trace's choices

Every figure stands with its command. Needs root, llama-cpp-python for decode. Stop other work first: the ratios are of one run, not of one minute.
"""
import argparse, ctypes, json, os, re, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PROMPT = "The small house at the edge of the forest was quiet that morning, and the"


def llama_child(model_path, tokens, threads):
    """llama.cpp from its memory map: seconds of the first token, and tokens a second of those after it."""
    import llama_cpp as L
    quiet = L.llama_log_callback(lambda level, text, user: None)
    L.llama_log_set(quiet, ctypes.c_void_p(0))
    L.llama_backend_init()
    start = time.perf_counter()
    mp = L.llama_model_default_params()
    mp.n_gpu_layers = 0
    mp.use_extra_bufts = False  # not repacked: that would copy the weights out of the map
    model = L.llama_model_load_from_file(model_path.encode(), mp)
    cp = L.llama_context_default_params()
    cp.n_ctx, cp.n_batch, cp.n_ubatch = tokens + 2, 32, 32
    cp.n_threads = cp.n_threads_batch = threads
    ctx = L.llama_init_from_model(model, cp)
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    L.llama_sampler_chain_add(chain, L.llama_sampler_init_top_k(40))
    L.llama_sampler_chain_add(chain, L.llama_sampler_init_dist(42))
    token, stamps = 0, []
    for _ in range(tokens + 1):
        array = (L.llama_token * 1)(token)
        if L.llama_decode(ctx, L.llama_batch_get_one(array, 1)) != 0:
            sys.exit("llama.cpp cannot decode")
        token = L.llama_sampler_sample(chain, ctx, -1)
        stamps.append(time.perf_counter())
    print(json.dumps({"first_s": stamps[0] - start, "tok_s": tokens / (stamps[-1] - stamps[0])}))


class Bench:
    def __init__(self, a):
        self.a, self.lines = a, []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def shown(self, words):
        known = {self.a.model: os.path.basename(self.a.model), self.a.moped: "moped", os.path.abspath(__file__): "bench/paging.py", sys.executable: "python3"}
        return " ".join(known.get(w, w.replace(ROOT + "/", "")) for w in words)

    def run(self, words, cap=None):
        """stdout as JSON, what the group saw, and the command."""
        words = ([os.path.join(ROOT, "tools/capped.sh"), cap] if cap else []) + words
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"{self.shown(words)} left with {done.returncode}: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout), dict(re.findall(r"(\w+)=(\S+)", done.stderr)), self.shown(words)

    def moped(self, ram, extra, cap=True, reps=1):
        out, seen, command = self.run([self.a.moped, "bench", self.a.model, "--ram", ram, "-r", str(reps), "--json"] + extra, ram if cap else None)
        return out["runs"][0], seen, command

    def decode(self):
        self.say("## decode, cold, against llama.cpp\n")
        self.say("| budget | moped first 16 | after them | bound | share | naive bound | hits | disk GB/s before, after | llama.cpp | ratio | peak of budget | kills |")
        self.say("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
        commands = []
        for i, ram in enumerate(self.a.budgets):
            got = {}
            for who in (("moped", "llama") if i % 2 == 0 else ("llama", "moped")):
                if who == "moped":
                    got[who] = self.moped(ram, ["-p", "0", "-n", str(self.a.tokens)])
                else:
                    tokens = {"4G": 4, "8G": 6}.get(ram, 8)
                    got[who] = self.run([sys.executable, os.path.abspath(__file__), "--llama-child", str(tokens), self.a.model], ram)
            (r, seen, c1), (l, _, c2) = got["moped"], got["llama"]
            x = r["after_cold"]
            self.say(f"| {ram} | {r['cold_tok_s']:.2f} | {x['tok_s']:.2f} | {x['bound_tok_s']:.2f} | {100 * x['bound_fraction']:.0f} % | {x['naive_bound_tok_s']:.2f} | "
                     f"{100 * x['hit_rate']:.1f} % | {r['disk_bps'] / 1e9:.2f}, {r.get('disk_bps_after', 0) / 1e9:.2f} | {l['tok_s']:.3f} | {x['tok_s'] / l['tok_s']:.0f} (first 16: {r['cold_tok_s'] / l['tok_s']:.0f}) | "
                     f"{100 * r['ram_peak_bytes'] / r['ram_budget_bytes']:.2f} % | {seen.get('oom')} |")
            commands += [c1, c2]
        self.tail(commands)

    def tail(self, commands):
        self.say()
        for c in dict.fromkeys(commands):
            self.say(f"    {c}")
        self.say()

    def prefetch(self):
        self.say("## guesses of the next layer's experts\n")
        self.say("tokens/s after the first 16, and what auto decided; windows of tokens are compared while it runs\n")
        self.say("| budget | off | on | auto | auto against off | issued, used, late | wasted |")
        self.say("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
        commands = []
        for ram in self.a.budgets:
            got = {}
            for mode in ("off", "auto", "on"):
                got[mode], _, c = self.moped(ram, ["-p", "0", "-n", str(self.a.tokens * 2), "--prefetch", mode])
                commands.append(c)
            s = {m: got[m]["after_cold"]["tok_s"] for m in got}
            p = got["auto"]["experts"]["prefetch"]
            self.say(f"| {ram} | {s['off']:.2f} | {s['on']:.2f} | {s['auto']:.2f} | {100 * s['auto'] / s['off']:.1f} % | {p['issued']}, {p['used']}, {p['late']} | {p['wasted_bytes'] / 2**20:.0f} MiB |")
        self.tail(commands)

    def prefill(self):
        ram = self.a.budgets[0]
        self.say(f"## prefill of 512 tokens at {ram}\n")
        paged, seen, c1 = self.moped(ram, ["-p", "512", "-n", "0"])
        resident, _, c2 = self.moped(self.a.all, ["-p", "512", "-n", "0"], cap=False)
        rate = max(paged["disk_bps"], paged.get("disk_bps_after", 0))
        read_s, compute_s = paged["disk_bytes"] / rate, 512 / resident["prefill_tok_s"]
        took = 512 / paged["prefill_tok_s"]
        self.say(f"{paged['prefill_tok_s']:.1f} tok/s ({took:.1f} s); resident {resident['prefill_tok_s']:.1f} tok/s ({compute_s:.1f} s); reading {paged['disk_bytes'] / 1e9:.1f} GB at "
                 f"{rate / 1e9:.2f} GB/s takes {read_s:.1f} s. Share of the bound: {100 * max(read_s, compute_s) / took:.0f} %. Kills: {seen.get('oom')}.")
        self.tail([c1, c2])

    def resident(self):
        self.say("## everything resident: paging on against off\n")
        ratios, commands = {"prefill_tok_s": [], "decode_tok_s": []}, []
        for i in range(self.a.pairs):
            got = {}
            for extra in ([[], ["--no-paging"]] if i % 2 == 0 else [["--no-paging"], []]):
                got[len(extra)], _, c = self.moped(self.a.all, ["-p", "512" if self.a.small else "128", "-n", "64" if self.a.small else "32"] + extra, cap=False, reps=9)
                commands.append(c)
            for k in ratios:
                ratios[k].append(got[0][k] / got[1][k])
        for k in ratios:
            self.say(f"- {k}: {statistics.median(ratios[k]):.3f} of that without paging (pairs {min(ratios[k]):.3f} to {max(ratios[k]):.3f})")
        self.tail(commands)

    def ttft(self):
        self.say("## time to the first token, cold, 8G, 16-token prompt\n")
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
            f.write(PROMPT)
            f.flush()
            for i in range(self.a.pairs):
                words = [os.path.join(ROOT, "tools/capped.sh"), "8G", self.a.moped, "run", self.a.model, "--ram", "8G", "--no-chat", "-f", f.name, "-n", "1", "--expert-profile", "none", "--json"]
                subprocess.run(["sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches"])
                start = time.perf_counter()
                r, seen, c = self.run(words)
                took = time.perf_counter() - start
                rate, _, _ = self.moped("8G", ["-p", "1", "-n", "0"])
                need = r["expert"]["disk_bytes"] + r["memory"]["owners"]["weights"]["peak_bytes"]
                bps = max(rate["disk_bps"], rate.get("disk_bps_after", 0))
                self.say(f"- {took:.2f} s from exec to exit with the first token ({r['prompt_tokens']} tokens of prompt); {need / 1e9:.2f} GB at {bps / 1e9:.2f} GB/s take {need / bps:.2f} s: {took * bps / need:.2f} times")
        self.tail([c.replace(f.name, "PROMPT")])

    def routing(self):
        self.say(f"## decode with real routing ({os.path.basename(self.a.routing)})\n")
        self.say("| budget | policy | first 16 | after them | bound | share | hits |")
        self.say("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        commands = []
        for ram in self.a.budgets:
            for policy in ("adaptive", "lru"):
                r, _, c = self.moped(ram, ["-p", "0", "-n", str(self.a.tokens * 2), "--expert-policy", policy, "--routing", self.a.routing])
                x = r["after_cold"]
                self.say(f"| {ram} | {policy} | {r['cold_tok_s']:.2f} | {x['tok_s']:.2f} | {x['bound_tok_s']:.2f} | {100 * x['bound_fraction']:.0f} % | {100 * x['hit_rate']:.1f} % |")
                commands.append(c.replace(self.a.routing, os.path.basename(self.a.routing)))
        self.tail(commands)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--parts", default="decode,prefetch,prefill,resident,ttft")
    p.add_argument("--budgets", default="4G,8G,12G", type=lambda s: s.split(","))
    p.add_argument("--all", default="18600M", help="a budget in which everything is resident")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--small", action="store_true", help="the model is small: longer runs")
    p.add_argument("--routing", help="a trace")
    p.add_argument("--moped", default=os.path.join(ROOT, "build/moped"))
    p.add_argument("--out", help="append to this file")
    p.add_argument("--llama-child", type=int, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.llama_child:
        return llama_child(a.model, a.llama_child, os.cpu_count())
    b = Bench(a)
    for part in a.parts.split(","):
        try:
            getattr(b, part)()
        except RuntimeError as e:
            b.say(f"failed: {e}\n")
    if a.out:
        with open(a.out, "a") as f:
            f.write("\n".join(b.lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
