#!/usr/bin/env python3
"""Hit rates of the cache policies on real and made-up routing, by `moped experts replay`.

    bench/policies.py [--moped build/moped] [--traces ../shared/data/moe-traces] [--out bench/results/policies.md]
    bench/policies.py --convert BATCHED.csv OUT.mtr [--interleaved]

The csv (step, slot, L<layer>_e<rank>, ...) is of a server that ran 25 requests at once; slots shift when a request ends. It becomes one sequence of
each prompt step, in the order of the rows, and then one for each slot with its steps in order, which is nearly one request each: what a single user's
decode looks like. --interleaved keeps the rows as they were served, one token of each request in turn: the least locality.
"""
import argparse
import csv
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile

PARTS = [0.03, 0.0625, 0.125, 0.25, 0.375, 0.5, 0.75]
GAP_PARTS = [0.125, 0.25, 0.375, 0.5]
POLICIES = ["adaptive", "lru", "lfu", "static", "oracle"]


def write_mtr(path, layers, experts, top_k, sequences):
    """sequences: lists of tokens; a token is layers x top_k ids in a flat list."""
    width = 1 if experts <= 256 else 2
    with open(path, "wb") as f:
        f.write(b"MTR1" + struct.pack("<5I", layers, experts, top_k, width, len(sequences)))
        for i, tokens in enumerate(sequences):
            name = f"{i}".encode()
            f.write(struct.pack("<3I", len(name), 0, len(tokens)) + name)
            for token in tokens:
                f.write(struct.pack(f"<{len(token)}{'BH'[width - 1]}", *token))


def read_mtr(path):
    data = open(path, "rb").read()
    layers, experts, top_k, width, n = struct.unpack_from("<5I", data, 4)
    assert data[:4] == b"MTR1" and width == 1
    at, sequences, size = 24, [], layers * top_k
    for _ in range(n):
        name, _, tokens = struct.unpack_from("<3I", data, at)
        at += 12 + name
        sequences.append([data[at + i * size : at + (i + 1) * size] for i in range(tokens)])
        at += tokens * size
    return layers, experts, top_k, sequences


def convert(source, out, interleaved):
    rows = list(csv.reader(open(source)))
    head, rows = rows[0], [[int(x) for x in r] for r in rows[1:]]
    layers = len({name.split("_")[0] for name in head[2:]})
    top_k = (len(head) - 2) // layers
    if interleaved:
        sequences = [[r[2:] for r in rows]]
    else:
        prompts = [s for s in sorted({r[0] for r in rows}) if s < 2]  # steps 0 and 1 are prefill
        sequences = [[r[2:] for r in rows if r[0] == s] for s in prompts]
        sequences += [[r[2:] for r in rows if r[0] > 1 and r[1] == slot] for slot in sorted({r[1] for r in rows if r[0] > 1})]
    write_mtr(out, layers, 60, top_k, sequences)  # 60 routed experts: the data's README


def made_up(folder, gpt):
    """Traces that stress: (name, path)."""
    rnd = random.Random(7)

    def draw(weights, k):  # k different ones, by weight
        keys = [(math.log(1 - rnd.random()) / w, i) for i, w in enumerate(weights)]
        return [i for _, i in sorted(keys, reverse=True)[:k]]

    def zipf(experts, power):
        w = [(i + 1.0) ** -power for i in range(experts)]
        rnd.shuffle(w)
        return w

    def save(name, layers, experts, top_k, tokens):
        path = os.path.join(folder, name.replace(" ", "-") + ".mtr")
        write_mtr(path, layers, experts, top_k, [tokens])
        return name, path

    yield save("uniform", 6, 64, 4, [sum((draw([1] * 64, 4) for _ in range(6)), []) for _ in range(3000)])
    w = [zipf(128, 1.0) for _ in range(6)]
    yield save("zipf", 6, 128, 8, [sum((draw(x, 8) for x in w), []) for _ in range(2000)])
    tokens = []
    for _ in range(8):
        w = [zipf(128, 1.5) for _ in range(4)]
        tokens += [sum((draw(x, 8) for x in w), []) for _ in range(300)]
    yield save("phases of 300 tokens", 4, 128, 8, tokens)
    yield save("loop", 4, 32, 2, [sum(([(2 * t + l) % 32, (2 * t + 1 + l) % 32] for l in range(4)), []) for t in range(3000)])
    w = [zipf(64, 2.0) for _ in range(6)]
    yield save("hot set and scans", 6, 64, 4, [sum(([(4 * t + k) % 64 for k in range(4)] if t % 400 < 100 else draw(x, 4) for x in w), []) for t in range(3000)])
    w, tokens, now = [zipf(512, 0.7) for _ in range(4)], [], [list(range(10))] * 4
    for _ in range(1500):
        now = [(lambda kept, new: kept + [e for e in new if e not in kept][: 10 - len(kept)])([e for e in n if rnd.random() < 0.5], draw(x, 20)) for n, x in zip(now, w)]
        tokens.append(sum(now, []))
    yield save("512 experts top-10 sticky", 4, 512, 10, tokens)
    w = [zipf(64, 1.0) for _ in range(12)]
    now, tokens = [0] * 12, []
    for _ in range(3000):
        now = [n if rnd.random() < 0.3 else draw(x, 1)[0] for n, x in zip(now, w)]
        tokens.append(list(now))
    yield save("64 experts top-1", 12, 64, 1, tokens)
    w = [zipf(8, 0.3) for _ in range(16)]
    yield save("8 experts top-2", 16, 8, 2, [sum((draw(x, 2) for x in w), []) for _ in range(2000)])
    tokens, last = [], [[-99] * 48 for _ in range(6)]
    for t in range(3000):
        token = []
        for l in range(6):
            for e in rnd.sample([e for e in range(48) if t - last[l][e] > 8], 2):
                token.append(e)
                last[l][e] = t
        tokens.append(token)
    yield save("who was used rests 8 tokens", 6, 48, 2, tokens)
    layers, experts, top_k, sequences = gpt
    long = [s for s in sequences if len(s) >= 300]
    for n in (4, 16):
        tokens = [s[t] for i in range(0, 32, n) for t in range(300) for s in long[i : i + n]]
        yield save(f"gpt-oss {n} sessions in turn", layers, experts, top_k, tokens)


def replay(moped, path):
    data = open(path, "rb").read(24)
    layers, experts = struct.unpack_from("<2I", data, 4)
    slots = [max(1, round(p * layers * experts)) / layers for p in PARTS]
    command = [moped, "experts", "replay", path, "--policy", ",".join(POLICIES), "--slots", ",".join(f"{s:.9g}" for s in slots), "--json"]
    runs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["runs"]
    return {p: [r["hit_rate"] for r in runs if r["policy"] == p] for p in POLICIES}


def gap(rates, i):
    lru, best = rates["lru"][i], rates["oracle"][i]
    return (rates["adaptive"][i] - lru) / (best - lru) if best > lru else float("nan")


def report(results, real):
    command = "bench/policies.py"
    out = ["# Cache policies on recorded and made-up routing", "",
           f"Made by `{command}` (`moped experts replay TRACE --policy {','.join(POLICIES)} --slots ... --json`): slots shared by all layers, whole sets.",
           "Hit rates in %. Gap: the part of the way from LRU to the clairvoyant bound (oracle) that adaptive goes. Worst: the least of adaptive minus the better of",
           "LRU and LFU, in points, over the capacities (% of all experts) of the table.", "", "## Gap closed", "",
           "| trace | " + " | ".join(f"{100 * p:g} %" for p in GAP_PARTS) + " | mean | worst |", "| --- |" + " ---: |" * (len(GAP_PARTS) + 2)]
    for name, rates in results.items():
        gaps = [gap(rates, PARTS.index(p)) for p in GAP_PARTS]
        mean = sum(gaps) / len(gaps)
        worst = min(100 * (a - max(b, c)) for a, b, c in zip(rates["adaptive"], rates["lru"], rates["lfu"]))
        show = f"**{name}**" if name in real else name
        out.append(f"| {show} | " + " | ".join(f"{100 * g:.1f}" for g in gaps) + f" | {100 * mean:.1f} | {worst:+.2f} |")
    for name, rates in results.items():
        out += ["", f"## {name}", "", "| policy | " + " | ".join(f"{100 * p:g} %" for p in PARTS) + " |", "| --- |" + " ---: |" * len(PARTS)]
        out += [f"| {p} | " + " | ".join(f"{100 * x:.2f}" for x in rates[p]) + " |" for p in POLICIES]
    return "\n".join(out) + "\n"


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--moped", default="build/moped")
    a.add_argument("--traces", default="../shared/data/moe-traces")
    a.add_argument("--out", default="bench/results/policies.md")
    a.add_argument("--convert", nargs=2, metavar=("CSV", "MTR"))
    a.add_argument("--interleaved", action="store_true")
    o = a.parse_args()
    if o.convert:
        return convert(*o.convert, o.interleaved)
    gpt_path, table = os.path.join(o.traces, "gpt-oss-20b.decode.mtr"), os.path.join(o.traces, "qwen1.5-moe-a2.7b.batched.csv")
    with tempfile.TemporaryDirectory() as folder:
        real = ["gpt-oss-20b", "qwen1.5-moe by slot", "qwen1.5-moe as served"]
        traces = [(real[0], gpt_path)]
        for name, interleaved in ((real[1], False), (real[2], True)):
            path = os.path.join(folder, name + ".mtr")
            convert(table, path, interleaved)
            traces.append((name, path))
        layers, experts, top_k, sequences = read_mtr(gpt_path)
        for half in (0, 1):
            path = os.path.join(folder, f"half{half}.mtr")
            write_mtr(path, layers, experts, top_k, sequences[half::2])
            traces.append((f"gpt-oss-20b, {'even' if half == 0 else 'odd'} sequences", path))
        traces += made_up(folder, (layers, experts, top_k, sequences))
        results = {}
        for name, path in traces:
            results[name] = replay(o.moped, path)
            print(name, " ".join(f"{100 * x:.1f}" for x in results[name]["adaptive"]), file=sys.stderr, flush=True)
    with open(o.out, "w") as f:
        f.write(report(results, real))


if __name__ == "__main__":
    main()
