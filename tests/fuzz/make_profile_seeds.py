#!/usr/bin/env python3
"""Seeds of fuzz_profile: a byte (odd: put the checksum right), then a profile as src/mem/profile.h describes it, of 2 layers of 4 experts."""
import os, struct

def profile(layers=2, experts=4, size=1000, name=0x1234, tokens=100, counts=None, pins=None):
    n = layers * experts
    d = b"MPRF" + struct.pack("<IQQIIQQ", 1, size, name, layers, experts, tokens, 0)
    d += struct.pack(f"<{n}I", *(counts or range(n))) + bytes(pins or [0] * n)
    h = 14695981039346656037
    for b in d:
        h = (h ^ b) * 1099511628211 % (1 << 64)
    return d + struct.pack("<Q", h)

SEEDS = {
    "good": b"\0" + profile(),
    "pins": b"\1" + profile(tokens=1 << 18, counts=[1 << 18, 0, 5, 5, 7, 7, 7, 1], pins=[0, 1, 0, 0, 0, 0, 1, 1]),
    "empty": b"\1" + profile(tokens=0, counts=[0] * 8),
    "another": b"\0" + profile(size=1001),
    "larger": b"\1" + profile(layers=3),
    "too_many": b"\1" + profile(tokens=(1 << 18) + 1),
    "odd_pin": b"\1" + profile(pins=[2] * 8),
}
folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds", "profile")
os.makedirs(folder, exist_ok=True)
for name, data in SEEDS.items():
    open(os.path.join(folder, name), "wb").write(data)
