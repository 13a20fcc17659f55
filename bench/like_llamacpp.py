#!/usr/bin/env python3
"""Do other engines read the files that `moped bench --like` makes?

    bench/like_llamacpp.py [--moped build/moped] [--shapes tiny-llama,...] [--types Q4_K_M,...]

For every shape and type: makes the file; reads it with the `gguf` package; loads it in llama.cpp (llama-cpp-python) and generates 8 tokens; compares the
logits of the prompt with moped's; and compares the type of every tensor with what llama.cpp's own quantizer chooses for the F16 file of the same shape.
Needs both packages; says which are missing.

Logits: the largest difference at a token as a share of the range, its median over the tokens. Both engines round activations in their own way, and where
that lets a router choose another expert, a token's logits differ as a whole; with F32, where nothing is rounded, all tokens must agree to 0.001.
Exit code 1 when anything differs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

IDS = [5, 300, 17, 300, 299, 700, 64, 1]
FAR, FAR_F32 = 0.05, 0.001  # of the range


def make(moped, shape, kind, path):
    subprocess.run([moped, "bench", "--like", shape, "--type", kind, "--keep", path, "-p", "1", "-n", "0", "-r", "1", "--json"],
                   check=True, stdout=subprocess.DEVNULL)


def types_of(path):
    import gguf
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


def moped_logits(moped, path, folder):
    out = os.path.join(folder, "logits.npy")
    subprocess.run([moped, "logits", path, "--tokens", ",".join(map(str, IDS)), "-o", out], check=True, stdout=subprocess.DEVNULL)
    return np.load(out)


def run_llamacpp(path):
    """The logits of IDS, and 8 tokens after them."""
    import llama_cpp
    model = llama_cpp.Llama(path, n_ctx=64, n_threads=2, logits_all=True, verbose=False)
    model.eval(IDS)
    logits = np.array(model.scores[:len(IDS)], dtype=np.float32)
    model.reset()
    tokens = [t for t, _ in zip(model.generate(IDS, temp=0.0), range(8))]
    text = "ba kodi \u00e4\u6f22".encode()
    same = model.detokenize(model.tokenize(text, add_bos=False, special=False)).lstrip() == text  # SentencePiece puts a blank in front
    model.close()
    return logits, tokens, same


def quantize(source, target, file_type):
    import llama_cpp
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type
    params.nthread = 2
    return llama_cpp.llama_model_quantize(source.encode(), target.encode(), params) == 0


def check_mix(moped, shape, kind, path, folder):
    """Tensors whose type llama.cpp's quantizer would choose otherwise; None: it did not do it."""
    import gguf
    source, target = os.path.join(folder, "f16.gguf"), os.path.join(folder, "own.gguf")
    if not os.path.exists(source):
        make(moped, shape, "F16", source)
    file_type = int(gguf.GGUFReader(path).fields["general.file_type"].parts[-1][0])
    if not quantize(source, target, file_type):
        return None
    ours, theirs = types_of(path), types_of(target)
    os.remove(target)
    return [f"{n}: {ours[n]}, llama.cpp {theirs.get(n)}" for n in ours if ours[n] != theirs.get(n)]


def check(a, shape, kind, folder):
    path = os.path.join(folder, "m.gguf")
    make(a.moped, shape, kind, path)
    types = types_of(path)
    logits, tokens, same = run_llamacpp(path)
    mine = moped_logits(a.moped, path, folder)
    each = np.abs(mine - logits).max(axis=1) / (mine.max() - mine.min())
    far = float(each.max() if kind == "F32" else np.median(each))
    other = [] if kind in ("F32", "F16", "BF16") else check_mix(a.moped, shape, kind, path, folder)
    os.remove(path)
    ok = len(tokens) == 8 and same and far < (FAR_F32 if kind == "F32" else FAR) and other == []
    print(f"{shape:14} {kind:7} gguf: {len(types)} tensors; llama.cpp: loads, {len(tokens)} tokens, text {'same' if same else 'DIFFERS'}, "
          f"logits within {far:.4f}; mix {'as llama.cpp' if other == [] else other}", flush=True)
    return ok


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--moped", default="build/moped")
    p.add_argument("--shapes", default="")
    p.add_argument("--types", default="Q4_K_M,Q4_K_S,Q5_K_M,Q6_K,Q8_0,Q4_0,IQ4_XS,Q3_K_M,Q2_K,F16,BF16,F32")
    a = p.parse_args()
    for package in ("gguf", "llama_cpp"):
        try:
            __import__(package)
        except ImportError as e:
            print(f"cannot import {package}: {e}")
            return 1
    listed = json.loads(subprocess.check_output([a.moped, "bench", "--like", "list", "--json"]))["shapes"]
    shapes = a.shapes.split(",") if a.shapes else [s["name"] for s in listed if s["name"].startswith("tiny-")]
    bad = 0
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            for kind in a.types.split(","):
                try:
                    bad += not check(a, shape, kind, folder)
                except Exception as e:  # one that does not load must not hide the others
                    bad += 1
                    print(f"{shape:14} {kind:7} FAILED: {e}", flush=True)
                for left in ("m.gguf", "own.gguf"):
                    if os.path.exists(os.path.join(folder, left)):
                        os.remove(os.path.join(folder, left))
    print(f"{bad} bad" if bad else "all good")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
