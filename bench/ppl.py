#!/usr/bin/env python3
"""Perplexity of a text under a model and under its twin: does Q8_0 keep what float32 says?

  bench/ppl.py MODEL.gguf -f TEXT [-c CTX] [--moped build/moped]

A file of float32 gets a twin whose matrices are Q8_0 (where their rows are multiples of 32), a file with Q8_0 one whose matrices are those weights in
float32. Prints both perplexities and how far Q8_0 is from float32; leaves with 6 when that is more than 0.1 %. Needs gguf, numpy.
"""
import argparse, json, os, subprocess, sys, tempfile

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 1e-3


def twin(source, target):
    """Writes the twin; returns the type of the source's matrices."""
    r = gguf.GGUFReader(source)
    kinds = {t.tensor_type for t in r.tensors}
    to_q8 = gguf.GGMLQuantizationType.Q8_0 not in kinds
    w = gguf.GGUFWriter(target, r.get_field("general.architecture").contents())
    for name, field in r.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        w.add_key_value(name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for t in r.tensors:
        if to_q8 and t.tensor_type == gguf.GGMLQuantizationType.F32 and len(t.shape) > 1 and t.shape[0] % 32 == 0:
            w.add_tensor(t.name, gguf.quants.quantize(np.ascontiguousarray(t.data), gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        elif not to_q8 and t.tensor_type == gguf.GGMLQuantizationType.Q8_0:
            w.add_tensor(t.name, gguf.quants.dequantize(t.data, t.tensor_type))
        else:
            w.add_tensor(t.name, np.ascontiguousarray(t.data), raw_dtype=t.tensor_type)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return "float32" if to_q8 else "Q8_0"


def perplexity(a, model):
    words = [a.moped, "perplexity", "-m", model, "-f", a.file, "--json"] + (["-c", str(a.ctx)] if a.ctx else [])
    out = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    return json.loads(out.stdout)["perplexity"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("-f", "--file", required=True)
    p.add_argument("-c", "--ctx", type=int)
    p.add_argument("--moped", default=os.path.join(os.path.dirname(HERE), "build", "moped"))
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        other = os.path.join(d, "twin.gguf")
        what = twin(a.model, other)
        here, there = perplexity(a, a.model), perplexity(a, other)
    full, q8 = (here, there) if what == "float32" else (there, here)
    print(f"{os.path.basename(a.model)}, {os.path.basename(a.file)}: float32 {full:.5f}, Q8_0 {q8:.5f}, {100 * (q8 / full - 1):+.4f} %")
    return 6 if abs(q8 / full - 1) > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
