#!/usr/bin/env python3
"""Makes tiny random models of every family that moped runs, as GGUF files, with the logits that another implementation
(Hugging Face transformers, float32) computes for them. See README.md beside this file.

  make_tiny_gguf.py                         the committed set, into tests/golden/tiny
  make_tiny_gguf.py --out DIR --kl          larger ones, quantized, with the float32 logits of the *dequantized* weights (for bench/kl.py)
  make_tiny_gguf.py --check                 also runs llama.cpp on what was written and compares (needs llama-cpp-python)

Needs torch, transformers, gguf; K-quants and IQ types are quantized by ggml itself through llama-cpp-python's library.
Everything follows from the seeds, so a second run writes the same weights.
"""
import argparse
import ctypes
import os
import struct
import sys

import gguf
import numpy as np
import torch
import transformers

TOKENS = 72        # so long that a wrong order of rotary pairs shows
KL_TOKENS = 256
VOCAB = 264        # 256 bytes, 4 merges, 4 control tokens; on purpose no round number
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=128)

# family: transformers' class prefix, GGUF architecture, tokenizer's pre (None: SentencePiece), settings
FAMILIES = {
    "llama": ("Llama", "llama", "llama-bpe", dict(intermediate_size=64, rope_parameters=LLAMA3)),
    "llama_tied": ("Llama", "llama", "llama-bpe", dict(intermediate_size=64, rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "mixtral": ("Mixtral", "llama", None, dict(intermediate_size=8, num_local_experts=8, num_experts_per_tok=2)),
    "qwen2": ("Qwen2", "qwen2", "qwen2", dict(intermediate_size=64, tie_word_embeddings=True)),
    "qwen2moe": ("Qwen2Moe", "qwen2moe", "qwen2", dict(
        intermediate_size=64, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=8, shared_expert_intermediate_size=16,
        norm_topk_prob=False)),
    "qwen3": ("Qwen3", "qwen3", "qwen2", dict(intermediate_size=40, head_dim=16)),
    "qwen3moe": ("Qwen3Moe", "qwen3moe", "qwen2", dict(
        intermediate_size=64, head_dim=16, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=8, norm_topk_prob=True)),
    "olmoe": ("Olmoe", "olmoe", "olmo", dict(
        num_key_value_heads=4, intermediate_size=8, num_experts=8, num_experts_per_tok=3, norm_topk_prob=False, pad_token_id=262, eos_token_id=261)),
}
KL_FAMILIES = {  # rows of 256 everywhere, which the 256-element blocks need
    "llama": dict(intermediate_size=512, head_dim=64),
    "mixtral": dict(intermediate_size=256, head_dim=64),
    "qwen3moe": dict(moe_intermediate_size=256, head_dim=64),
}
KL_TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"]


# ---- the models ----

def build(family, seed, **larger):
    prefix, _, _, settings = FAMILIES[family]
    settings = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                    max_position_embeddings=512, rms_norm_eps=1e-5, attn_implementation="eager", experts_implementation="eager") | settings | larger
    config = getattr(transformers, prefix + "Config")(**settings)
    model = getattr(transformers, prefix + "ForCausalLM")(config).eval()
    randomize(model, seed)
    return model


def randomize(model, seed):
    """Weights with which every part matters: sharp attention, unlike norms, routers that decide, logits of a few units."""
    rng = np.random.Generator(np.random.PCG64(seed))
    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            v = rng.standard_normal(tuple(p.shape)) / np.sqrt(p.shape[-1])
            if "norm" in name:
                v = 1 + 0.3 * rng.standard_normal(tuple(p.shape))
            elif name.endswith(".bias"):
                v = 0.5 * rng.standard_normal(tuple(p.shape))
            elif "embed_tokens" in name and not tied:
                v *= np.sqrt(p.shape[-1])
            elif "q_proj" in name or "k_proj" in name or "lm_head" in name or "mlp.gate.weight" in name or "embed_tokens" in name:
                v *= 2
            p.copy_(torch.from_numpy(v))


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor(ids)[None], use_cache=False).logits[0].numpy()


def router_gap(model, ids):
    """The least distance between the last expert chosen and the first not chosen, in router logits (inf without routers)."""
    seen = []
    hooks = [m.register_forward_hook(lambda m, args, out: seen.append(torch.nn.functional.linear(args[0].reshape(-1, m.weight.shape[1]), m.weight)))
             for name, m in model.named_modules() if name.endswith("mlp.gate")]
    logits_of(model, ids)
    for h in hooks:
        h.remove()
    k = getattr(model.config, "num_experts_per_tok", 0)
    tops = [torch.sort(s, descending=True).values for s in seen]
    return min((float((t[:, k - 1] - t[:, k]).min()) for t in tops), default=float("inf"))


def choose(family, tokens, **larger):
    """The first seed whose routers decide so clearly that rounding cannot change an expert."""
    for seed in range(1, 1000):
        model = build(family, seed, **larger)
        ids = np.random.Generator(np.random.PCG64(seed + 1000)).integers(0, VOCAB, tokens)
        if router_gap(model, ids) > 1e-3:
            return model, ids, seed
    raise SystemExit(f"{family}: no seed gives clear routers")


# ---- to GGUF: names, order of rows, keys (formats.md 3 and 4 of the design; the converters of llama.cpp do the same) ----

def permute(w, heads):
    """Rows of q and k of `llama` files: within a head, row 2i+s of the file is row s*D/2+i here (adjacent instead of split pairs)."""
    d = w.shape[0] // heads
    return w.reshape(heads, 2, d // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def rope_freqs(config):
    """Divisors of the angles for llama3 scaling (models.md 0.3); None without scaling."""
    rope = config.rope_parameters
    if rope["rope_type"] != "llama3":
        return None
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    freq = rope["rope_theta"] ** -(np.arange(0, dim, 2) / dim)
    wave, orig = 2 * np.pi / freq, rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    t = (orig / wave - low) / (high - low)
    new = np.where(wave < orig / high, freq, np.where(wave > orig / low, freq / factor, (1 - t) * freq / factor + t * freq))
    return (freq / new).astype(np.float32)


LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight", "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_proj.bias": "attn_q.bias", "self_attn.k_proj.bias": "attn_k.bias", "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.o_proj.weight": "attn_output.weight", "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight", "mlp.up_proj.weight": "ffn_up.weight", "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight", "mlp.experts.down_proj": "ffn_down_exps.weight",
    "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight", "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight", "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
}
GLOBAL_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}


def to_gguf(name, w, config, arch):
    """One transformers tensor as a list of (GGUF name, array)."""
    if name in GLOBAL_NAMES:
        return [] if name == "lm_head.weight" and config.tie_word_embeddings else [(GLOBAL_NAMES[name], w)]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    blk = f"blk.{layer}."
    if rest == "mlp.experts.gate_up_proj":  # [E, 2 f, d]: gate rows, then up rows
        f = w.shape[1] // 2
        return [(blk + "ffn_gate_exps.weight", w[:, :f]), (blk + "ffn_up_exps.weight", w[:, f:])]
    if arch == "llama" and rest == "self_attn.q_proj.weight":
        w = permute(w, config.num_attention_heads)
    if arch == "llama" and rest == "self_attn.k_proj.weight":
        w = permute(w, config.num_key_value_heads)
    if rest == "mlp.shared_expert_gate.weight":
        w = w[0]
    return [(blk + LAYER_NAMES[rest], w)]


def quantizable(name, w):
    return w.ndim >= 2 and "norm" not in name and "mlp.gate.weight" not in name and "shared_expert_gate" not in name


def add_keys(writer, model, arch, file_type):
    c = model.config
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    if arch == "llama":
        writer.add_vocab_size(c.vocab_size)
        writer.add_rope_dimension_count(head)
    if head * c.num_attention_heads != c.hidden_size or arch.startswith("qwen3"):
        writer.add_key_length(head)
        writer.add_value_length(head)
    experts = getattr(c, "num_experts", None) or getattr(c, "num_local_experts", None)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(c.num_experts_per_tok)
    if hasattr(c, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(c.moe_intermediate_size)
    if hasattr(c, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)


def byte_alphabet():
    """GPT-2's way to write bytes as letters: printable Latin-1 stands for itself, the others are numbered from U+0100."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in keep]
    return [chr(b) if b in keep else chr(0x100 + rest.index(b)) for b in range(256)]


def add_tokenizer(writer, pre):
    """A small but sound vocabulary: any bytes can be written with it."""
    if pre:
        merges = ["t h", "th e", "i n", "a n"]
        tokens = byte_alphabet() + [m.replace(" ", "") for m in merges] + ["<|bos|>", "<|eos|>", "<|pad|>", "<|extra|>"]
        types = [1] * 260 + [3] * 4
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_merges(merges)
        bos, eos = 260, 261
    else:
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\u2581", "t", "h", "e", "th"]
        types = [2, 3, 3] + [6] * 256 + [1] * 5
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([0.0] * 259 + [-1.0, -2.0, -3.0, -4.0, -0.5])
        bos, eos = 1, 2
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)
    writer.add_add_bos_token(pre is None)


# ---- quantizing ----

def quantize(w, type_name):
    """float32 [.., n] -> bytes [.., row bytes]. The gguf package where it can, else ggml's own quantizer."""
    kind = gguf.GGMLQuantizationType[type_name]
    try:
        return gguf.quants.quantize(w, kind)
    except NotImplementedError:
        return ggml_quantize(w, kind)


def ggml_quantize(w, kind):
    import llama_cpp
    ggml = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    w = np.ascontiguousarray(w, np.float32)
    out = np.zeros((*w.shape[:-1], w.shape[-1] // block * size), np.uint8)
    n = ggml.ggml_quantize_chunk(int(kind), w.ctypes.data, out.ctypes.data, 0, w.size // w.shape[-1], w.shape[-1], None)
    assert n == out.size, (kind, n, out.size)
    return out


def through(w, type_name):
    """What is left of float32 weights after the type."""
    if type_name == "F16":
        return w.astype(np.float16).astype(np.float32)
    if type_name == "F32":
        return w
    return gguf.quants.dequantize(quantize(w, type_name), gguf.GGMLQuantizationType[type_name]).reshape(w.shape)


# ---- files ----

def write_model(path, model, family, type_name="F32"):
    _, arch, pre, _ = FAMILIES[family]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("moped test " + family)
    add_keys(writer, model, arch, int(gguf.LlamaFileType.ALL_F32))
    add_tokenizer(writer, pre)
    freqs = rope_freqs(model.config)
    if freqs is not None:
        writer.add_tensor("rope_freqs.weight", freqs)
    for name, p in model.state_dict().items():
        w = p.numpy().astype(np.float32)
        for gname, gw in to_gguf(name, w, model.config, arch):
            gw = np.ascontiguousarray(gw)
            if type_name == "F32" or not quantizable(name, w):
                writer.add_tensor(gname, gw)
            elif type_name == "F16":
                writer.add_tensor(gname, gw.astype(np.float16))
            else:
                writer.add_tensor(gname, quantize(gw, type_name), raw_dtype=gguf.GGMLQuantizationType[type_name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_golden(path, ids, logits):
    """i32 T, i32 V, i32 ids[T], f32 logits[T][V]; little-endian."""
    with open(path, "wb") as f:
        f.write(struct.pack("<ii", *logits.shape))
        f.write(np.asarray(ids, "<i4").tobytes())
        f.write(np.ascontiguousarray(logits, "<f4").tobytes())


def read_golden(path):
    raw = open(path, "rb").read()
    t, v = struct.unpack_from("<ii", raw)
    return np.frombuffer(raw, "<i4", t, 8), np.frombuffer(raw, "<f4", t * v, 8 + 4 * t).reshape(t, v)


def llama_cpp_logits(path, ids):
    import llama_cpp
    llm = llama_cpp.Llama(model_path=path, n_ctx=512, n_batch=512, n_ubatch=512, logits_all=True, verbose=False, n_threads=1,
                          type_k=0, type_v=0, flash_attn=False)
    llm.eval([int(i) for i in ids])
    return np.array(llm.scores[:len(ids)], np.float32)


def make_committed(out, families, check):
    for family in families:
        model, ids, seed = choose(family, TOKENS)
        logits = logits_of(model, ids)
        double = logits_of(model.double(), ids)
        model.float()
        path = os.path.join(out, family + ".gguf")
        write_model(path, model, family)
        write_golden(os.path.join(out, family + ".bin"), ids, logits)
        line = (f"{family:11} seed {seed} {os.path.getsize(path):7} bytes, logits {logits.std():.2f} std, router gap {router_gap(model, ids):.4f}, "
                f"float32 against float64 {np.abs(logits - double).max():.1e}")
        if check:
            line += f", llama.cpp {np.abs(llama_cpp_logits(path, ids) - logits).max():.1e}"
        print(line, flush=True)


def make_kl(out, types):
    for family, larger in KL_FAMILIES.items():
        larger = dict(hidden_size=256, num_attention_heads=4, num_key_value_heads=2) | larger
        for type_name in types:
            model, ids, _ = choose(family, KL_TOKENS, **larger)
            path = os.path.join(out, f"{family}-{type_name}")
            write_model(path + ".gguf", model, family, type_name)
            state = {name: torch.from_numpy(through(p.numpy(), type_name)) if quantizable(name, p) else p for name, p in model.state_dict().items()}
            model.load_state_dict(state)
            write_golden(path + ".bin", ids, logits_of(model, ids))
            print(path, os.path.getsize(path + ".gguf"), flush=True)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default=os.path.join(here, "tiny"))
    p.add_argument("--family", action="append", choices=FAMILIES, help="only this one (may be repeated)")
    p.add_argument("--check", action="store_true")
    p.add_argument("--kl", action="store_true")
    p.add_argument("--type", action="append", choices=KL_TYPES, help="with --kl: only this type (may be repeated)")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    if args.kl:
        make_kl(args.out, args.type or KL_TYPES)
    else:
        make_committed(args.out, args.family or FAMILIES, args.check)


if __name__ == "__main__":
    sys.exit(main())
