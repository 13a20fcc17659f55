#!/usr/bin/env python3
"""Writes the seeds of fuzz_trace: small sound traces of both layouts, unfinished ones, and near misses."""
import os
import struct

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds", "trace")
OPEN = 0xFFFFFFFF


def head(magic, layers, experts, top_k, id_bytes, sequences, flags=None):
    return magic + struct.pack("<5I", layers, experts, top_k, id_bytes, sequences) + (b"" if flags is None else struct.pack("<I", flags))


def seq(name, prompt, tokens, raw):
    return struct.pack("<3I", len(name), prompt, tokens) + name + raw


def ids(experts, top_k, layers, n, id_bytes):
    out = b""
    for token in range(n):
        for layer in range(layers):
            out += b"".join(struct.pack("<B" if id_bytes == 1 else "<H", (token * 5 + layer + k) % experts) for k in range(top_k))
    return out


def token(mark, experts, top_k, layers, id_bytes, number, weights=True):
    w = struct.pack("<e", 0.25) * (top_k * layers) if weights else b""
    return (b"" if mark is None else bytes([mark])) + ids(experts, top_k, layers, number + 1, id_bytes)[-layers * top_k * id_bytes:] + w


one = head(b"MTR1", 2, 8, 2, 1, 2) + seq(b"first", 9, 3, ids(8, 2, 2, 3, 1)) + seq(b"", 0, 1, ids(8, 2, 2, 1, 1))
wide = head(b"MTR1", 3, 512, 4, 2, 1) + seq(b"wide", 1, 4, ids(512, 4, 3, 4, 2))
two_tokens = b"".join(token(i < 2, 8, 2, 2, 1, i) for i in range(4))
two = head(b"MTR2", 2, 8, 2, 1, 1, 3) + seq(b"marked", 0, 4, two_tokens)
bare = head(b"MTR2", 1, 4, 1, 1, 1, 0) + seq(b"x", 0, 2, b"\0\3")
unended = head(b"MTR2", 2, 8, 2, 1, OPEN, 3) + seq(b"a", 0, 4, two_tokens) + seq(b"b", 0, OPEN, two_tokens[:40])
SEEDS = {
    "one": one, "wide": wide, "two": two, "bare": bare, "unended": unended,
    "no_sequences": head(b"MTR2", 1, 4, 1, 1, 0, 3),
    "weights_only": head(b"MTR2", 1, 4, 2, 1, 1, 1) + seq(b"w", 0, 1, token(None, 4, 2, 1, 1, 0)),
    "marks_only": head(b"MTR2", 1, 4, 2, 1, 1, 2) + seq(b"m", 0, 1, token(1, 4, 2, 1, 1, 0, weights=False)),
    "truncated": two[:-5], "trailing": one + b"?",
    "id_too_large": bare[:-1] + b"\4",
    "id_twice": head(b"MTR1", 1, 4, 2, 1, 1) + seq(b"", 0, 1, b"\1\1"),
    "many_sequences": head(b"MTR1", 1, 4, 1, 1, OPEN) + seq(b"", 0, 1, b"\1"),
    "many_tokens": head(b"MTR1", 16384, 65536, 65536, 2, 1) + seq(b"", 0, OPEN, b"\1\0"),
    "long_name": head(b"MTR1", 1, 4, 1, 1, 1) + struct.pack("<3I", OPEN, 0, 1) + b"abc\1",
    "control": head(b"MTR1", 1, 4, 1, 1, 1) + seq(b"a\nb", 0, 1, b"\1"),
}

if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    for name, raw in SEEDS.items():
        with open(os.path.join(OUT, name), "wb") as f:
            f.write(raw)
