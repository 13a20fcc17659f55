#!/usr/bin/env python3
"""Tests of the parts of kernels.py that need no machine: python3 bench/test_kernels.py"""
import os
import statistics
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kernels as K


def record(cell="llama-3.2-1b:Q8_0", threads=2, **items):
    model = {"bytes": 100, "macs": 10, "head_macs": 7, "float_macs": 2, "head_float_macs": 0, "layers": 2, "heads": 3, "head_dim": 4, "kv_bytes_per_tok": 8}
    r = {"cell": cell, "type": cell.split(":")[1], "threads": threads, "at": "2026-01-02T03:04:05", "together": True, "model": model, "command": "c", "commit": "x",
         "limits": {"read_bps": 1000, "int8_ops": 1000, "f32_ops": 500}, "machine": {"cpu": "p", "cpus": 2}, "llama_cpp": "0"}
    r["items"] = {i.replace("_at_", "@"): K.summed(r, i.replace("_at_", "@"), dict({"read_bps": [1000] * len(runs[0])}, **dict(zip(("moped", "llama", "read_bps"), runs)))) for i, runs in items.items()}
    return r


class Items(unittest.TestCase):
    def test_parse(self):
        self.assertEqual(K.parse_item("pp512"), ("prefill", 512, 0))
        self.assertEqual(K.parse_item("tg32"), ("decode", 32, 0))
        self.assertEqual(K.parse_item("tg32@16384"), ("decode", 32, 16384))
        for bad in ("pp", "tg0", "pp512@4", "xx3", "tg32@", " tg3"):
            self.assertRaises(ValueError, K.parse_item, bad)
        self.assertEqual(K.said_turn("tg32@64"), "decode 32 64")
        self.assertGreaterEqual(K.context_for(["pp512", "tg32@16384"]), 16384 + 32 + 2)

    def test_only_large_prefills_are_warmed_up_by_a_part(self):
        self.assertEqual(K.warm_turn("pp512", 1 << 30), "prefill 512")
        self.assertEqual(K.warm_turn("pp512", 4 << 30), "prefill 128")
        self.assertEqual(K.warm_turn("tg9", 4 << 30), "decode 9 0")

    def test_cells(self):
        self.assertEqual(K.chosen("small:Q4_0"), ["small:Q4_0"])
        self.assertEqual(len(K.chosen("small:*,small:F16")), len(K.TYPES))
        self.assertEqual(K.chosen("*"), K.SUITE)
        self.assertEqual(K.chosen("other@3:Q2_K"), ["other@3:Q2_K"])
        self.assertRaises(ValueError, K.chosen, "nothing*")


class Count(unittest.TestCase):
    # name, elements, bytes, rows, type
    MODEL = [("token_embd.weight", 1000, 2000, 10, "F16"), ("output_norm.weight", 100, 400, 1, "F32"), ("blk.0.attn_q.weight", 50, 60, 5, "Q8_0"),
             ("blk.0.ffn_gate_inp.weight", 30, 120, 3, "F32"), ("blk.0.ffn_up_exps.weight", 800, 400, 4, "Q4_0"), ("blk.0.attn_q.bias", 5, 20, 1, "F32")]

    def test_head_apart_from_the_embedding(self):
        t = K.tally(self.MODEL + [("output.weight", 1000, 3000, 10, "Q6_K")], 2, 8)
        self.assertEqual(t, {"bytes": 2000 // 10 + 400 + 60 + 120 + 100 + 20 + 3000, "macs": 50 + 30 + 200, "head_macs": 1000, "float_macs": 30, "head_float_macs": 0})

    def test_tied(self):
        t = K.tally(self.MODEL, 2, 8)
        self.assertEqual(t, {"bytes": 2000 + 400 + 60 + 120 + 100 + 20, "macs": 280, "head_macs": 1000, "float_macs": 30, "head_float_macs": 1000})

    def test_dense_models_use_all_of_it(self):
        self.assertEqual(K.tally([("blk.0.ffn_up.weight", 8, 16, 2, "Q4_0")], 0, 0), {"bytes": 16, "macs": 8, "head_macs": 0, "float_macs": 0, "head_float_macs": 0})

    def test_bytes_grow_with_the_context(self):
        cell = {"bytes": 100, "kv_bytes_per_tok": 8}
        self.assertEqual(K.item_bytes("tg4", cell), 100 + 8 * 2)
        self.assertEqual(K.item_bytes("tg4@10", cell), 100 + 8 * 12)

    def test_operations_count_attention_and_one_head(self):
        cell = {"layers": 2, "heads": 3, "head_dim": 4, "macs": 10, "head_macs": 7, "float_macs": 4, "head_float_macs": 1}
        one_pair = 2 * 3 * 4 * 2  # of a query and a key: scores and sums, in both layers
        self.assertEqual(K.item_ops("pp3", cell), (2 * (3 * 10 + one_pair * (1 + 2 + 3) + 7), 2 * (3 * 4 + one_pair * (1 + 2 + 3) + 1)))


class Figures(unittest.TestCase):
    def test_the_ratio_is_the_median_of_the_pairs(self):
        x = record(tg4=([10, 20, 30], [10, 10, 60]))["items"]["tg4"]
        self.assertEqual((x["ratio"], x["ratio_least"], x["ratio_most"]), (1, 0.5, 2))
        self.assertEqual((x["moped_tok_s"], x["llama_tok_s"]), (20, 10))

    def test_share_is_of_the_right_limit(self):
        x = record(tg4=([5, 1, 9], [5, 5, 5], [1000, 100, 500]))["items"]["tg4"]
        self.assertAlmostEqual(x["share"], statistics.median([5 / 1000, 1 / 100, 9 / 500]) * (100 + 16))  # of what memory gave beside each run
        every, floats = K.item_ops("pp3", record()["model"])
        x = record(pp3=([4], [4]))["items"]["pp3"]
        self.assertAlmostEqual(x["share"], 4 / 3 * ((every - floats) / 1000 + floats / 500))  # least time over time
        self.assertIsNone(K.item_peak("pp3", record()["model"], {"int8_ops": 1}))  # a machine without such arithmetic

    def missed(self, item, cell="llama-3.2-1b:Q8_0", threads=2, **figures):
        r = record(cell, threads, **{item.replace("@", "_at_"): ([1], [1])})
        r["items"][item].update(figures)
        return K.judge(r, item)

    def test_what_decode_must_reach(self):
        self.assertEqual(self.missed("tg4", ratio=1.12, share=0.90), "")
        self.assertEqual(self.missed("tg4", ratio=1.0, share=0.95), "")
        self.assertIn("ratio", self.missed("tg4", ratio=1.11, share=0.94))
        self.assertIn("90%", self.missed("tg4", ratio=1.5, share=0.89))
        self.assertEqual(self.missed("tg4", "small:Q4_0", ratio=1.5, share=0.80), "")
        self.assertIn("80%", self.missed("tg4", "small:Q4_0", ratio=1.5, share=0.79))

    def test_what_the_others_must_reach(self):
        self.assertEqual(self.missed("pp4", ratio=1.3, share=0.4), "")
        self.assertIn("ratio", self.missed("pp4", ratio=1.29, share=0.5))
        self.assertIn("share", self.missed("pp4", ratio=1.5, share=0.39))
        self.assertEqual(self.missed("tg4@9", ratio=1.2, share=0.1), "")
        self.assertIn("ratio", self.missed("tg4@9", ratio=1.19, share=1))
        self.assertEqual(self.missed("tg4", threads=1, ratio=0.95, share=0.1), "")
        self.assertIn("ratio", self.missed("pp4", threads=1, ratio=0.94, share=1))


class Table(unittest.TestCase):
    def test_the_newest_of_each_cell_counts_and_other_items_stay(self):
        old, new = record(tg4=([1], [1]), pp3=([7], [7])), record(tg4=([9], [9]))
        both = K.newest([old, record("small:Q4_0", tg4=([2], [2])), new])
        self.assertEqual(len(both), 2)
        self.assertEqual(both[0]["items"]["tg4"]["moped"], [9])
        self.assertEqual(both[0]["items"]["pp3"]["moped"], [7])
        self.assertEqual(len(K.newest([record(tg4=([1], [1])), record(threads=1, tg4=([1], [1]))])), 2)

    def test_every_item_has_its_row(self):
        text = K.table([record(tg4=([10, 20, 30], [10, 10, 60]), pp3=([4], [1]), tg4_at_9=([3], [1])), record("small:Q4_0", pp3=([1], [1])), record(threads=1, tg4=([1], [1]))])
        self.assertIn("| llama-3.2-1b:Q8_0 | tg4 | 20.00 (10.00 to 30.00) | 10.00 (10.00 to 60.00) | 1.000 (0.50 to 2.00) |", text)
        for part in ("## Decode\n", "## Decode with a context\n", "## Prefill\n", "## One thread\n"):
            self.assertIn(part, text)
        self.assertIn("Geometric mean of the ratios: 2.00; asked 2", text)  # of 4 and 1
        self.assertEqual(text.count("\n| small"), 1)
        self.assertLess(text.index("| small:Q4_0"), text.index("| llama-3.2-1b:Q8_0 | pp3"))  # in the suite's order


class Time(unittest.TestCase):
    INFO = {"file_bytes": 1e9, "parameters": 2e9, "active_parameters": 1e9, "make": 1}

    def test_it_grows_with_what_is_done(self):
        few = K.seconds(self.INFO, ["pp512", "tg32"], 2, 2, True)
        self.assertGreater(few, 0)
        self.assertGreater(K.seconds(self.INFO, ["pp512", "tg32"], 5, 2, True), few)
        self.assertGreater(K.seconds(self.INFO, ["pp512", "tg32"], 2, 2, False), few)
        self.assertGreater(K.seconds(self.INFO, ["pp512", "tg32@16384"], 2, 2, True), few)
        self.assertLess(K.seconds(dict(self.INFO, make=0), ["pp512", "tg32"], 2, 2, True), few)


if __name__ == "__main__":
    unittest.main()
