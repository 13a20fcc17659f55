#!/usr/bin/env python3
"""Tests of kl.py, with a stand-in for moped: python3 bench/test_kl.py"""
import argparse
import os
import stat
import struct
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kl

# Answers as `moped logits` does: the logits in MODEL (raw float32, 4 columns) times 1.5.
STAND_IN = f"""#!{sys.executable}
import sys
import numpy as np
model, tokens, out = sys.argv[2], sys.argv[sys.argv.index("--tokens") + 1], sys.argv[sys.argv.index("-o") + 1]
if tokens == "9":
    sys.exit("no such token")
x = np.fromfile(model, "<f4").reshape(-1, 4)
assert len(tokens.split(",")) == len(x)
np.save(out, 1.5 * x)
"""


class Kl(unittest.TestCase):
    def test_known_values(self):
        p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
        self.assertAlmostEqual(kl.kl(p, q)[0], 0.5 * np.log(2) + 0.5 * np.log(2 / 3), places=14)
        self.assertAlmostEqual(kl.kl(p + 1000, q - 1000)[0], kl.kl(p, q)[0], places=9)

    def test_nothing_lost_is_zero_and_all_else_is_positive(self):
        x = np.random.default_rng(1).normal(size=(50, 20))
        self.assertLess(np.abs(kl.kl(x, x)).max(), 1e-15)
        self.assertGreater(kl.kl(x + 1e-3 * np.random.default_rng(2).normal(size=x.shape), x).min(), 0)

    def test_is_not_symmetric(self):
        p, q = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
        self.assertNotAlmostEqual(kl.kl(p, q)[0], kl.kl(q, p)[0], places=2)


class Measure(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.program = os.path.join(self.tmp.name, "moped")
        with open(self.program, "w") as f:
            f.write(STAND_IN)
        os.chmod(self.program, os.stat(self.program).st_mode | stat.S_IXUSR)
        self.stem = os.path.join(self.tmp.name, "m")
        self.write([3, 1, 2])

    def write(self, ids):
        self.logits = np.arange(4 * len(ids), dtype="<f4").reshape(-1, 4) % 5
        self.logits.tofile(self.stem + ".gguf")
        with open(self.stem + ".bin", "wb") as f:
            f.write(struct.pack("<ii", *self.logits.shape) + np.array(ids, "<i4").tobytes() + self.logits.tobytes())

    def test_reads_golden(self):
        ids, logits = kl.read_golden(self.stem + ".bin")
        self.assertEqual(list(ids), [3, 1, 2])
        np.testing.assert_array_equal(logits, self.logits)
        with open(self.stem + ".bin", "ab") as f:
            f.write(b"x")
        with self.assertRaises(ValueError):
            kl.read_golden(self.stem + ".bin")

    def test_runs_the_program(self):
        args = argparse.Namespace(moped=self.program, no_moped=False, no_llama_cpp=True, kv="f16")
        row = kl.measure(self.stem, args)
        self.assertAlmostEqual(row["moped"], kl.kl(1.5 * self.logits, self.logits).mean(), places=6)
        self.assertNotIn("ratio", row)

    def test_says_why_the_program_failed(self):
        self.write([9])
        with self.assertRaisesRegex(RuntimeError, "no such token"):
            kl.moped_logits(self.program, self.stem + ".gguf", [9], "f16")

    def test_ratio_and_limit(self):
        theirs = 1.2 * self.logits
        kl.llama_cpp_logits, kept = lambda *_: theirs, kl.llama_cpp_logits
        self.addCleanup(setattr, kl, "llama_cpp_logits", kept)
        common = ["--moped", self.program, "--dir", self.tmp.name]
        self.assertEqual(kl.main(common), 6)
        self.assertEqual(kl.main(common + ["--limit", "100"]), 0)
        self.assertEqual(kl.main(common + ["--floor", "10"]), 0)
        self.assertEqual(kl.main(common + ["--only", "absent"]), 2)


if __name__ == "__main__":
    unittest.main()
