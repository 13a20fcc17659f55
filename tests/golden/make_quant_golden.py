#!/usr/bin/env python3
"""Writes tests/golden/quant_golden.bin: random blocks of every type, with the values that another decoder gives them.

The decoder is the numpy one of the `gguf` Python package (llama.cpp's own, MIT), which shares no code with ours. Scales are finite halves
of every exponent; MXFP4's exponent byte covers 0 to 253.

File: records of | u32 GGUF type | u32 blocks | the blocks | float32 for every element |, little-endian.

    python3 make_quant_golden.py OUTPUT     needs numpy and gguf (0.17 or later, for MXFP4)
"""
import struct
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# type: the bytes at which its halves lie
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64], T.MXFP4: [],
}


def main() -> None:
    rng = np.random.default_rng(20260101)
    with open(sys.argv[1], "wb") as out:
        for kind, places in HALVES.items():
            length, size = GGML_QUANT_SIZES[kind]
            count = 1024 // length
            blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
            for place in places:  # exponent 31 is infinity and NaN: clear one of its bits
                blocks[:, place + 1] &= 0xFB
            if kind == T.MXFP4:
                blocks[:, 0] = rng.integers(0, 254, count)
                blocks[:3, 0] = [0, 1, 253]
            values = dequantize(blocks.reshape(-1), kind).astype("<f4")
            assert values.size == count * length
            out.write(struct.pack("<II", int(kind), count) + blocks.tobytes() + values.tobytes())


main()
