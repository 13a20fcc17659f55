#!/usr/bin/env python3
"""What the differences of kl.py are made of: the same models in float64, with nothing changed but that activations are rounded to 8 bits in blocks of
32 before each product with quantized weights (src/num/kern.h), as moped does. If moped's arithmetic is right, it is much nearer to this than either
is to the exact model, and what kl.py shows is the price of 8-bit activations alone.

Prints per model, medians over positions of KL in nats: rounded || exact, moped || exact, moped || rounded; and the positions at which a router of
moped's cannot have chosen as the exact model's (KL a hundred times the median): they make the means noisy.

  kl_cause.py --moped build/moped --dir DIR [--only PATTERN]     needs what make_tiny_gguf.py needs
"""
import argparse
import glob
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tests", "golden")]
import kl
import make_tiny_gguf as tiny


def round_8_bits(x):
    """Blocks of 32, scale amax / 127 in float32, to nearest even."""
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    d = (blocks.abs().amax(-1, keepdim=True).float() / 127).double()
    q = torch.where(d > 0, (blocks / torch.where(d > 0, d, 1)).round(), 0)
    return (q * d).reshape(x.shape)


def float64_logits(model, ids, quantized):
    """Of the model with the weights it has; quantized: storages of weights whose products round their input."""
    exact = torch.nn.functional.linear

    def rounding(x, w, b=None):
        return exact(round_8_bits(x) if w.untyped_storage().data_ptr() in quantized else x, w, b)

    torch.nn.functional.linear = rounding
    try:
        return tiny.logits_of(model, ids)
    finally:
        torch.nn.functional.linear = exact


def measure(stem, program):
    family, type_name = os.path.basename(stem).split("-", 1)
    larger = dict(hidden_size=256, num_attention_heads=4, num_key_value_heads=2) | tiny.KL_FAMILIES[family]
    model, ids, _ = tiny.choose(family, tiny.KL_TOKENS, **larger)
    golden_ids, _ = kl.read_golden(stem + ".bin")
    assert list(ids) == list(golden_ids), "DIR was made by another make_tiny_gguf.py"
    names = [name for name, p in model.named_parameters() if tiny.quantizable(name, p)]
    model.load_state_dict({name: torch.from_numpy(tiny.through(p.numpy(), type_name)) if name in names else p
                           for name, p in model.state_dict().items()})
    model.double()
    storages = {p.untyped_storage().data_ptr() for name, p in model.named_parameters() if name in names}
    exact, rounded = float64_logits(model, ids, set()), float64_logits(model, ids, storages)
    moped = kl.moped_logits(program, stem + ".gguf", ids, "f32")
    a, b, c = kl.kl(rounded, exact), kl.kl(moped, exact), kl.kl(moped, rounded)
    print(f"{os.path.basename(stem):18} rounded||exact {np.median(a):.2e}  moped||exact {np.median(b):.2e}  moped||rounded {np.median(c):.2e}  "
          f"far off: {(a > 100 * np.median(a)).sum()} rounded, {(b > 100 * np.median(b)).sum()} moped", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--moped", default=os.path.join(HERE, "..", "build", "moped"))
    p.add_argument("--dir", required=True)
    p.add_argument("--only", default="*")
    args = p.parse_args()
    torch.set_num_threads(1)
    for path in sorted(glob.glob(os.path.join(args.dir, args.only + ".gguf"))):
        if not path.rsplit("-", 1)[1].startswith(("F32", "F16", "BF16")):
            measure(path[:-5], args.moped)


if __name__ == "__main__":
    main()
