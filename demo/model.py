"""A Qwen3-MoE in plain torch, written for training on a CPU.

The same function as transformers' Qwen3MoeForCausalLM (convert.py checks that
on the trained weights), with all experts of a layer in two stacked tensors and
one sort per layer, so that each expert is two dense products.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


PAD = 128


@dataclass
class Config:
    vocab: int = 2048
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 32
    experts: int = 8
    used: int = 2
    ff: int = 192
    theta: float = 10000.0
    eps: float = 1e-6
    context: int = 1024


class RMSNorm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def param(*shape, std=None):
    std = std if std is not None else 1.0 / math.sqrt(shape[-1])
    return nn.Parameter(torch.randn(*shape) * std)


class Layer(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        H, K, D, d = c.heads, c.kv_heads, c.head_dim, c.hidden
        back = 0.5 / math.sqrt(2 * c.layers)      # what writes into the residual starts small
        self.attn_norm = RMSNorm(d, c.eps)
        self.q = param(H * D, d)
        self.k = param(K * D, d)
        self.v = param(K * D, d)
        self.o = param(d, H * D, std=back / math.sqrt(H * D))
        self.q_norm = RMSNorm(D, c.eps)
        self.k_norm = RMSNorm(D, c.eps)
        self.ffn_norm = RMSNorm(d, c.eps)
        self.router = param(c.experts, d, std=0.02)
        self.gate_up = param(c.experts, 2 * c.ff, d)
        self.down = param(c.experts, d, c.ff, std=back / math.sqrt(c.ff))

    def attention(self, x, cos, sin):
        c, (B, T, _) = self.c, x.shape
        q = F.linear(x, self.q.to(x.dtype)).view(B, T, c.heads, c.head_dim)
        k = F.linear(x, self.k.to(x.dtype)).view(B, T, c.kv_heads, c.head_dim)
        v = F.linear(x, self.v.to(x.dtype)).view(B, T, c.kv_heads, c.head_dim)
        q, k = rope(self.q_norm(q), cos, sin), rope(self.k_norm(k), cos, sin)
        g = c.heads // c.kv_heads
        q = q.transpose(1, 2)
        k = k.transpose(1, 2).repeat_interleave(g, 1)
        v = v.transpose(1, 2).repeat_interleave(g, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(B, T, -1), self.o.to(x.dtype))

    def moe(self, x):
        c = self.c
        flat = x.reshape(-1, c.hidden)
        N = flat.shape[0]
        probs = torch.softmax(F.linear(flat.float(), self.router), -1)      # [N, E]
        w, idx = probs.topk(c.used, -1)
        w = w / w.sum(-1, keepdim=True)
        e = idx.reshape(-1)
        order = torch.argsort(e)
        tok = order // c.used
        count = torch.bincount(e, minlength=c.experts)
        # load balancing: E * sum of (share of choices) * (mean probability); 1 when even
        aux = c.experts * ((count.float() / e.numel()) * probs.mean(0)).sum()
        # Every expert's rows are padded to a multiple of PAD with row 0 at weight 0: the
        # matrix library makes a kernel for each new shape, and that costs more than the rows.
        padded = ((count + PAD - 1) // PAD * PAD).tolist()
        n, first = count.tolist(), (count.cumsum(0) - count).tolist()
        rows = torch.zeros(sum(padded), dtype=torch.int64)
        gate_of = torch.full((sum(padded),), -1, dtype=torch.int64)
        at = 0
        for i in range(c.experts):
            rows[at:at + n[i]] = tok[first[i]:first[i] + n[i]]
            gate_of[at:at + n[i]] = order[first[i]:first[i] + n[i]]
            at += padded[i]
        gates = w.reshape(-1)[gate_of.clamp(min=0)] * (gate_of >= 0)
        gu, dn = self.gate_up.to(x.dtype), self.down.to(x.dtype)
        out = []
        for i, part in enumerate(flat.index_select(0, rows).split(padded)):
            g, u = F.linear(part, gu[i]).chunk(2, -1)
            out.append(F.linear(F.silu(g) * u, dn[i]))
        y = torch.cat(out) * gates.to(x.dtype)[:, None]
        y = torch.zeros_like(flat).index_add_(0, rows, y)
        return y.view_as(x), aux, count

    def forward(self, x, cos, sin):
        x = x + self.attention(self.attn_norm(x), cos, sin)
        y, aux, count = self.moe(self.ffn_norm(x))
        return x + y, aux, count


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Model(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.embed = param(c.vocab, c.hidden, std=0.02)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.hidden, c.eps)

    def angles(self, T, dtype):
        D = self.c.head_dim
        f = self.c.theta ** (-torch.arange(0, D, 2).float() / D)
        a = torch.outer(torch.arange(T).float(), f)[None, :, None, :]
        return a.cos().to(dtype), a.sin().to(dtype)

    def forward(self, ids, dtype=torch.float32):
        """ids [B, T] -> final hidden states [B, T, d], summed balance loss, expert counts"""
        x = F.embedding(ids, self.embed).to(dtype)
        cos, sin = self.angles(ids.shape[1], dtype)
        aux, counts = 0.0, []
        for layer in self.layers:
            x, a, n = layer(x, cos, sin)
            aux = aux + a
            counts.append(n)
        return self.norm(x), aux / len(self.layers), torch.stack(counts)

    def logits(self, h):
        return F.linear(h, self.embed.to(h.dtype))

    def loss(self, ids, target, weight, dtype):
        """Sum over positions of weight * cross-entropy; target and weight are [B, T]. The last result is the sum with weights 1."""
        h, aux, counts = self(ids, dtype)
        keep = (weight.reshape(-1) > 0).nonzero()[:, 0]     # no logits where nothing is learned
        keep = F.pad(keep, (0, -len(keep) % PAD))
        real = torch.arange(len(keep)) < int((weight > 0).sum())
        lg = self.logits(h.reshape(-1, self.c.hidden).index_select(0, keep)).float()
        ce = F.cross_entropy(lg, target.reshape(-1)[keep], reduction="none")
        return (ce * weight.reshape(-1)[keep] * real).sum(), aux, counts, (ce.detach() * real).sum()
