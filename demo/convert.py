"""Turns a checkpoint of train.py into stories.gguf and golden.json.

    python convert.py --model /tmp/demo/run/model.pt --tokenizer /tmp/demo/corpus/tokenizer.json --out .

Matrices become Q8_0, norms and routers stay F32. golden.json comes from
transformers' Qwen3MoeForCausalLM in float32 with the weights read back from
the finished GGUF file, so it says what a correct reader of that file computes.
"""
import argparse
import json
import os

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Q
from tokenizers import Tokenizer

from model import Config, Model

TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
ARCH = "qwen3moe"


def tensors(m: Model):
    """GGUF name -> float32 array, in file order."""
    c, out = m.c, {}
    out["token_embd.weight"] = m.embed
    for i, l in enumerate(m.layers):
        b = f"blk.{i}."
        out[b + "attn_norm.weight"] = l.attn_norm.weight
        out[b + "attn_q.weight"], out[b + "attn_k.weight"], out[b + "attn_v.weight"], out[b + "attn_output.weight"] = l.q, l.k, l.v, l.o
        out[b + "attn_q_norm.weight"], out[b + "attn_k_norm.weight"] = l.q_norm.weight, l.k_norm.weight
        out[b + "ffn_norm.weight"] = l.ffn_norm.weight
        out[b + "ffn_gate_inp.weight"] = l.router
        out[b + "ffn_gate_exps.weight"] = l.gate_up[:, :c.ff]
        out[b + "ffn_up_exps.weight"] = l.gate_up[:, c.ff:]
        out[b + "ffn_down_exps.weight"] = l.down
    out["output_norm.weight"] = m.norm.weight
    return {k: v.detach().float().contiguous().numpy() for k, v in out.items()}


def write_gguf(path, m: Model, tok: Tokenizer):
    c = m.c
    w = gguf.GGUFWriter(path, ARCH)
    w.add_type("model")
    w.add_name("moped stories")
    w.add_description("A small mixture of experts that tells small stories; ships with moped.")
    w.add_license("MIT")
    w.add_size_label("8x1M")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_sampling_temp(0.4)
    w.add_sampling_top_k(40)
    w.add_sampling_top_p(0.95)
    w.add_block_count(c.layers)
    w.add_context_length(c.context)
    w.add_embedding_length(c.hidden)
    w.add_feed_forward_length(c.ff * c.used)
    w.add_head_count(c.heads)
    w.add_head_count_kv(c.kv_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_layer_norm_rms_eps(c.eps)
    w.add_rope_freq_base(c.theta)
    w.add_rope_dimension_count(c.head_dim)
    w.add_expert_count(c.experts)
    w.add_expert_used_count(c.used)
    w.add_expert_feed_forward_length(c.ff)

    spec = json.loads(tok.to_str())
    by_id = {i: t for t, i in tok.get_vocab().items()}
    special = {t["id"] for t in spec["added_tokens"]}
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list([by_id[i] for i in range(c.vocab)])
    w.add_token_types([gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in range(c.vocab)])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]])
    w.add_eos_token_id(tok.token_to_id("<|im_end|>"))
    w.add_eot_token_id(tok.token_to_id("<|im_end|>"))
    w.add_pad_token_id(tok.token_to_id("<|endoftext|>"))
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)

    for name, a in tensors(m).items():
        if a.ndim >= 2 and "ffn_gate_inp" not in name:
            w.add_tensor(name, gguf.quantize(a, Q.Q8_0), raw_dtype=Q.Q8_0)
        else:
            w.add_tensor(name, a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_back(path):
    out = {}
    for t in gguf.GGUFReader(path).tensors:
        shape = [int(n) for n in reversed(t.shape)]
        out[t.name] = torch.from_numpy(np.array(gguf.dequantize(t.data, t.tensor_type), np.float32).reshape(shape).copy())
    return out


def reference(t, c: Config):
    """transformers' model with these tensors."""
    cfg = transformers.Qwen3MoeConfig(
        vocab_size=c.vocab, hidden_size=c.hidden, intermediate_size=c.ff * c.used, num_hidden_layers=c.layers, num_attention_heads=c.heads, num_key_value_heads=c.kv_heads,
        head_dim=c.head_dim, max_position_embeddings=c.context, rms_norm_eps=c.eps, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": c.theta},
        decoder_sparse_step=1, moe_intermediate_size=c.ff, num_experts_per_tok=c.used, num_experts=c.experts, norm_topk_prob=True, mlp_only_layers=[])
    cfg._attn_implementation = "eager"
    m = transformers.Qwen3MoeForCausalLM(cfg).float().eval()
    sd = {"model.embed_tokens.weight": t["token_embd.weight"], "lm_head.weight": t["token_embd.weight"], "model.norm.weight": t["output_norm.weight"]}
    for i in range(c.layers):
        b, h = f"blk.{i}.", f"model.layers.{i}."
        for g, n in (("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"),
                     ("attn_output", "self_attn.o_proj"), ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm"), ("ffn_gate_inp", "mlp.gate")):
            sd[h + n + ".weight"] = t[b + g + ".weight"]
        sd[h + "mlp.experts.gate_up_proj"] = torch.cat((t[b + "ffn_gate_exps.weight"], t[b + "ffn_up_exps.weight"]), 1)
        sd[h + "mlp.experts.down_proj"] = t[b + "ffn_down_exps.weight"]
    m.load_state_dict(sd, strict=True)
    return m


def chat(messages, add=True):
    s = "".join(f"<|im_start|>{r}\n{c}<|im_end|>\n" for r, c in messages)
    return s + ("<|im_start|>assistant\n" if add else "")


GOLDEN = [
    [("user", "Tell me a story about a fox and a lantern.")],
    [("system", "You are a storyteller."), ("user", "Write a short story about Anna, who finds a key.")],
    [("user", "What is a hedgehog?"), ("assistant", "A hedgehog is a small, round animal covered with spines. When it is afraid, it rolls up into a ball."), ("user", "Tell me a story about a hedgehog and a kettle.")],
]
TOKENIZER = ["Hello, world!", "Once upon a time, there was a fox.", "the lantern's light, I'll see; we've DON'T", "  two spaces\tand a tab\n\n\nlines  \n", "1234567890 3.14", "Größe, naïve café, Übung", "日本語のテキスト", "🦊🏮 emoji",
             "", " ", "\n", "a", "<|im_start|>user\nHi<|im_end|>\n", "x=y+1; // code() {}", "'s 'S 're\u00a0nbsp \u0301 combining"]


@torch.no_grad()
def golden(ref, tok, eos):
    prompts = []
    for messages in GOLDEN:
        text = chat(messages)
        ids = tok.encode(text, add_special_tokens=False).ids
        lg = ref(torch.tensor([ids])).logits[0]
        out, margin, cur = [], [], list(ids)
        for _ in range(60):
            top = ref(torch.tensor([cur])).logits[0, -1].topk(2)
            t = int(top.indices[0])
            out.append(t)
            margin.append(float(f"{float(top.values[0] - top.values[1]):.4g}"))
            cur.append(t)
            if t in eos:
                break
        prompts.append({"messages": [{"role": r, "content": s} for r, s in messages], "text": text, "ids": ids, "argmax": lg.argmax(-1).tolist(),
                        "last_logits": [float(f"{v:.6g}") for v in lg[-1].tolist()], "greedy_ids": out, "greedy_margin": margin,
                        "greedy_text": tok.decode(out, skip_special_tokens=False)})
    return prompts


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--name", default="stories.gguf")
    a = ap.parse_args()
    torch.set_num_threads(2)
    ck = torch.load(a.model, weights_only=True)
    m = Model(Config(**ck["config"]))
    m.load_state_dict(ck["state"])
    tok = Tokenizer.from_file(a.tokenizer)
    path = os.path.join(a.out, a.name)
    write_gguf(path, m, tok)

    t = read_back(path)
    ref = reference(t, m.c)
    ids = tok.encode(chat(GOLDEN[0]), add_special_tokens=False).ids
    with torch.no_grad():
        own = m.logits(m(torch.tensor([ids]))[0])[0]
        got = ref(torch.tensor([ids])).logits[0]
        exact = Model(m.c)                              # our module with the file's weights: must equal transformers
        sd = exact.state_dict()
        for i in range(m.c.layers):
            b, l = f"blk.{i}.", f"layers.{i}."
            for g, n in (("attn_norm", "attn_norm.weight"), ("ffn_norm", "ffn_norm.weight"), ("attn_q", "q"), ("attn_k", "k"), ("attn_v", "v"), ("attn_output", "o"),
                         ("attn_q_norm", "q_norm.weight"), ("attn_k_norm", "k_norm.weight"), ("ffn_gate_inp", "router"), ("ffn_down_exps", "down")):
                sd[l + n] = t[b + g + ".weight"]
            sd[l + "gate_up"] = torch.cat((t[b + "ffn_gate_exps.weight"], t[b + "ffn_up_exps.weight"]), 1)
        sd["embed"], sd["norm.weight"] = t["token_embd.weight"], t["output_norm.weight"]
        exact.load_state_dict(sd)
        same = exact.logits(exact(torch.tensor([ids]))[0])[0]
    print(f"largest difference of logits: own module and transformers {(same - got).abs().max():.2e}, Q8_0 and float32 weights {(own - got).abs().max():.3f}")
    assert (same - got).abs().max() < 1e-3

    eos = {tok.token_to_id("<|im_end|>"), tok.token_to_id("<|endoftext|>")}
    g = {"what": "Reference numbers for " + a.name + ": transformers Qwen3MoeForCausalLM, float32, eager attention, weights dequantized from the file.",
         "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__}, "vocab": m.c.vocab, "eos": sorted(eos),
         "prompts": golden(ref, tok, eos),
         "tokenizer": [{"text": s, "ids": tok.encode(s, add_special_tokens=False).ids} for s in TOKENIZER]}
    for case in g["tokenizer"]:
        assert tok.decode(case["ids"], skip_special_tokens=False) == case["text"], case
    with open(os.path.join(a.out, "golden.json"), "w") as f:
        json.dump(g, f, separators=(",", ":"))
        f.write("\n")
    for p in g["prompts"]:
        print(p["greedy_text"], "| smallest margin", min(p["greedy_margin"]))
    print(os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
