#!/usr/bin/env python3
"""Writes the seeds of fuzz_gguf: small sound GGUF files that between them use every kind of value, and a few near misses."""
import os
import struct

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds", "gguf")
NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def number(kind, v):
    return struct.pack(NUMBERS[kind], v)


def array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(text(i) if kind == 8 else number(kind, i) for i in items)


def kv(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def tensor(name, kind, ne, offset):
    return text(name) + struct.pack("<I", len(ne)) + b"".join(struct.pack("<Q", n) for n in ne) + struct.pack("<IQ", kind, offset)


def file(keys, tensors=(), data=0, version=3, alignment=32):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(range(256)) * (data // 256) + bytes(data % 256) if data else head


ARCH = kv("general.architecture", 8, text("llama"))
SEEDS = {
    "empty": file([]),
    "scalars": file([ARCH, *(kv(f"k{kind}", kind, number(kind, 1)) for kind in NUMBERS)]),
    "arrays": file([ARCH, *(kv(f"a{kind}", 9, array(kind, [1, 0, 1])) for kind in NUMBERS), kv("llama.attention.head_count_kv", 9, array(5, [2, 2]))]),
    "vocabulary": file([ARCH, kv("tokenizer.ggml.tokens", 9, array(8, ["a", "", "bc", "\u0120the"])), kv("tokenizer.ggml.merges", 9, array(8, ["a b"])),
                        kv("tokenizer.ggml.scores", 9, array(6, [0.0, -1.0]))]),
    "tensors": file([ARCH, kv("llama.block_count", 4, number(4, 1))],
                    [tensor("token_embd.weight", 0, [8, 4], 0), tensor("b", 8, [32, 2], 128), tensor("c", 12, [256, 1, 1, 1], 224)], 368),
    "aligned": file([kv("general.alignment", 4, number(4, 64))], [tensor("a", 1, [3], 0), tensor("b", 30, [5], 64)], 74, 2, 64),
    "split": file([ARCH, kv("split.no", 2, number(2, 0)), kv("split.count", 2, number(2, 1)), kv("split.tensors.count", 5, number(5, 0))]),
    "bitnet": file([kv("general.architecture", 8, text("bitnet-b1.58"))], [tensor("a", 36, [128], 0)], 64),
    "nested": file([kv("a", 9, struct.pack("<IQ", 9, 1) + array(0, [1]))]),
}

if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    for name, raw in SEEDS.items():
        with open(os.path.join(OUT, name), "wb") as f:
            f.write(raw)
