#!/usr/bin/env python3
"""How much a quantized model's predictions change on the way through moped, beside llama.cpp on the same files.

The reference is float32 arithmetic (transformers) on the dequantized weights, so what is measured is the arithmetic alone: moped's and
llama.cpp's 8-bit activations, cache and rounding, not the loss by quantizing. For every file of DIR (tests/golden/make_tiny_gguf.py --kl) it
prints the mean over all positions of KL(program || reference) = sum p log(p / q) in nats, and moped's share of llama.cpp's. The median is shown
too: where rounding makes a router take another expert, one position counts for hundreds, in either program, and means of MoE models are noisy.

  kl.py --moped build/moped --dir DIR [--json FILE]      exit 6 when moped's mean is above --limit times llama.cpp's (and above --floor)
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def log_softmax(x):
    x = np.asarray(x, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def kl(logits, reference):
    """KL(softmax(logits) || softmax(reference)) of each row, in nats, in float64."""
    p, q = log_softmax(logits), log_softmax(reference)
    return (np.exp(p) * (p - q)).sum(-1)


def read_golden(path):
    """i32 T, i32 V, i32 ids[T], f32 logits[T][V] (tests/golden/README.md)."""
    raw = np.fromfile(path, np.uint8)
    t, v = (int(n) for n in raw[:8].view("<i4"))
    if raw.size != 8 + 4 * t + 4 * t * v:
        raise ValueError(f"{path}: {raw.size} bytes, but {t} tokens of {v} logits take {8 + 4 * t + 4 * t * v}")
    return raw[8:8 + 4 * t].view("<i4"), raw[8 + 4 * t:].view("<f4").reshape(t, v)


def moped_logits(program, model, ids, kv):
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "out.npy")
        command = [program, "logits", model, "--tokens", ",".join(str(i) for i in ids), "--kv", kv, "-o", out]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:3])} ...: exit {done.returncode}: {done.stderr.strip()}")
        return np.load(out)


def llama_cpp_logits(model, ids, kv):
    import llama_cpp
    cache = {"f16": 1, "f32": 0}[kv]
    llm = llama_cpp.Llama(model_path=model, n_ctx=len(ids) + 64, n_batch=len(ids), n_ubatch=len(ids), logits_all=True, verbose=False,
                          n_threads=1, type_k=cache, type_v=cache, flash_attn=False)
    llm.eval([int(i) for i in ids])
    return np.array(llm.scores[:len(ids)], np.float32)


def compare(reference, logits):
    if logits.shape != reference.shape:
        raise ValueError(f"logits of shape {logits.shape}, the reference has {reference.shape}")
    each = kl(logits, reference)
    return float(each.mean()), float(np.median(each))


def measure(stem, args):
    ids, reference = read_golden(stem + ".bin")
    row = {"model": os.path.basename(stem), "positions": len(ids)}
    if not args.no_moped:
        row["moped"], row["moped median"] = compare(reference, moped_logits(args.moped, stem + ".gguf", ids, args.kv))
    if not args.no_llama_cpp:
        row["llama.cpp"], row["llama.cpp median"] = compare(reference, llama_cpp_logits(stem + ".gguf", ids, args.kv))
    if "moped" in row and "llama.cpp" in row:
        row["ratio"] = row["moped"] / max(row["llama.cpp"], 1e-300)
        row["missed"] = row["moped"] > max(args.floor, args.limit * row["llama.cpp"])
    return row


def show(row):
    cells = [f"{row['model']:20}"] + [f"{name} {row[name]:.3e} (median {row[name + ' median']:.3e})" for name in ("moped", "llama.cpp") if name in row]
    if "ratio" in row:
        cells.append(f"ratio {row['ratio']:.3f}{'  ABOVE THE LIMIT' if row['missed'] else ''}")
    print("  ".join(cells), flush=True)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--moped", default=os.path.join(HERE, "..", "build", "moped"))
    p.add_argument("--dir", required=True, help="folder of NAME.gguf and NAME.bin")
    p.add_argument("--only", default="*", help="pattern of NAME")
    p.add_argument("--kv", choices=("f16", "f32"), default="f16")
    p.add_argument("--limit", type=float, default=1.2)
    p.add_argument("--floor", type=float, default=1e-6, help="a KL below this is fine whatever llama.cpp's is")
    p.add_argument("--no-moped", action="store_true")
    p.add_argument("--no-llama-cpp", action="store_true")
    p.add_argument("--json", help="also write the rows here")
    args = p.parse_args(argv)
    stems = sorted(f[:-5] for f in glob.glob(os.path.join(args.dir, args.only + ".gguf")))
    if not stems:
        print(f"kl.py: no models in {args.dir}; make them with tests/golden/make_tiny_gguf.py --kl --out {args.dir}", file=sys.stderr)
        return 2
    rows = []
    for stem in stems:
        rows.append(measure(stem, args))
        show(rows[-1])
    if args.json:
        with open(args.json, "w") as f:
            json.dump(rows, f, indent=1)
    return 6 if any(row.get("missed") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
