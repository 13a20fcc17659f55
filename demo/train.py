"""Trains the demo model on a CPU: Muon for the matrices, AdamW for the rest.

    python train.py --corpus /tmp/demo/corpus --out /tmp/demo/run --until 11:15
    python train.py --corpus ... --out ... --steps 2500 --seed 1        (reproducible)

The learning rate follows the fraction of the run that is done, of the wall
clock with --until and of the steps with --steps. Documents never share a row:
a step takes several micro-batches, each of documents of about one length.
"""
import argparse
import csv
import datetime
import json
import os
import time

import numpy as np
import torch
import torch.distributed as dist
from tokenizers import Tokenizer

from model import Config, Model


def load(path):
    z = np.load(path)
    ends = np.cumsum(z["lens"].astype(np.int64))
    return z["ids"], z["mask"], ends - z["lens"], ends


def stress(mask, longest, factor):
    """More weight on short answers: most tokens are in stories, and facts and questions would starve."""
    edge = np.flatnonzero(np.diff(np.concatenate(([0], mask, [0])).astype(np.int8)))
    for a, b in zip(edge[::2], edge[1::2]):
        if b - a <= longest:
            mask[a:b] = factor


class Batches:
    """Micro-batches of about `tokens` tokens, documents of similar length together."""

    def __init__(self, data, tokens, seed):
        self.ids, self.mask, self.lo, self.hi = data
        self.tokens, self.rng, self.queue, self.epoch = tokens, np.random.default_rng(seed), [], 0

    def plan(self):
        order = self.rng.permutation(len(self.lo))
        self.epoch += 1
        for chunk in np.array_split(order, max(1, len(order) // 4096)):
            chunk = chunk[np.argsort((self.hi - self.lo)[chunk], kind="stable")]
            out, cur, longest = [], [], 0
            for d in chunk:
                n = int(self.hi[d] - self.lo[d])
                if cur and -(-max(longest, n) // 32) * 32 * (len(cur) + 1) > self.tokens:
                    out.append(cur)
                    cur, longest = [], 0
                cur.append(d)
                longest = max(longest, n)
            out.append(cur)
            self.rng.shuffle(out)
            self.queue += out

    def next(self):
        if not self.queue:
            self.plan()
        docs = self.queue.pop(0)
        T = max(int(self.hi[d] - self.lo[d]) for d in docs) - 1
        T = -(-T // 32) * 32                # few different shapes: see PAD in model.py
        B = max(len(docs), self.tokens // T)
        x = np.zeros((B, T), np.int64)
        y = np.zeros((B, T), np.int64)
        w = np.zeros((B, T), np.float32)
        for i, d in enumerate(docs):
            s = self.ids[self.lo[d]:self.hi[d]].astype(np.int64)
            n = len(s) - 1
            x[i, :n], y[i, :n], w[i, :n] = s[:-1], s[1:], self.mask[self.lo[d] + 1:self.hi[d]]
        return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w)


def newton_schulz(g):
    """The nearest orthogonal matrix, roughly; [..., m, n], batched over leading dimensions."""
    x = g.bfloat16()
    flip = x.shape[-2] > x.shape[-1]
    if flip:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.mT if flip else x).float()


class Muon:
    """Momentum made orthogonal. gate_up is two matrices an expert; experts are batched.

    Each process makes the updates of its share of the matrices; share() spreads them."""

    def __init__(self, params, rank, world, beta=0.95, decay=0.02):
        self.params, self.rank, self.world, self.beta, self.decay = params, rank, world, beta, decay
        self.m = {n: torch.zeros_like(p) for n, p in self.of(rank)}

    def of(self, rank):
        return self.params[rank::self.world]

    @torch.no_grad()
    def step(self, lr):
        for name, p in self.of(self.rank):
            m = self.m[name]
            m.lerp_(p.grad, 1 - self.beta)
            u = p.grad.lerp(m, self.beta)
            if name.endswith("gate_up"):
                E, F2, d = u.shape
                u = newton_schulz(u.view(E * 2, F2 // 2, d)).view(E, F2, d)
                rows, cols = F2 // 2, d
            else:
                u = newton_schulz(u)
                rows, cols = u.shape[-2:]
            p.mul_(1 - lr * self.decay).add_(u, alpha=-lr * max(1, rows / cols) ** 0.5)
        for r in range(self.world if self.world > 1 else 0):
            ps = [p for _, p in self.of(r)]
            flat = torch.cat([p.reshape(-1) for p in ps])
            dist.broadcast(flat, r)
            spread(flat, ps)


def spread(flat, tensors):
    at = 0
    for t in tensors:
        t.copy_(flat[at:at + t.numel()].view_as(t))
        at += t.numel()


@torch.no_grad()
def evaluate(model, data, dtype, tokens, limit):
    b = Batches(data, tokens, 7)
    total = n = 0.0
    while b.epoch < 2 and limit:
        x, y, w = b.next()
        if b.epoch > 1:
            break
        _, _, _, plain = model.loss(x, y, w, dtype)
        total, n, limit = total + plain.item(), n + w.sum().item(), limit - 1
    return total / n


def save(model, path, info):
    torch.save({"config": vars(model.c), "state": {k: v.clone() for k, v in model.state_dict().items()}, "info": info}, path + ".new")
    os.replace(path + ".new", path)


def work(rank, a):
    """One process of a.procs: its own micro-batches, one thread, gradients summed every step."""
    world = a.procs
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    if world > 1:
        dist.init_process_group("gloo", init_method="file://" + os.path.abspath(os.path.join(a.out, "meet")), rank=rank, world_size=world)
    tok = Tokenizer.from_file(os.path.join(a.corpus, "tokenizer.json"))
    data = load(os.path.join(a.corpus, "train.npz"))
    if a.stress > 1:
        stress(data[1], 70, a.stress)
    batches = Batches((data[0], data[1], data[2][rank::world], data[3][rank::world]), a.micro, a.seed + a.shuffle)
    val = load(os.path.join(a.corpus, "val.npz"))
    model = Model(Config(vocab=tok.get_vocab_size()))
    step = tokens = 0
    seconds = 0.0
    if a.resume:
        ck = torch.load(a.resume, weights_only=True)
        model.load_state_dict(ck["state"])
        step, tokens, seconds = ck["info"]["step"], ck["info"]["tokens"], ck["info"].get("seconds", 0.0)
    params = list(model.parameters())
    matrices = [(n, p) for n, p in model.named_parameters() if p.dim() >= 2 and n != "embed" and not n.endswith("router")]
    names = {n for n, _ in matrices}
    rest = [p for n, p in model.named_parameters() if n not in names]
    muon = Muon(matrices, rank, world)
    adam = torch.optim.AdamW(rest, lr=a.adam_lr, betas=(0.9, 0.98), eps=1e-10, weight_decay=0.0)
    begin, first, saved, done = time.time(), step, time.time(), 0.0
    if a.until:
        h, m = map(int, a.until.split(":"))
        end = datetime.datetime.now().replace(hour=h, minute=m, second=0).timestamp()
    if rank == 0:
        print(json.dumps(vars(model.c)), sum(p.numel() for p in params), "parameters", flush=True)
        log = open(os.path.join(a.out, "loss.csv"), "w", newline="")
        out = csv.writer(log)
        out.writerow(["step", "seconds", "tokens", "learning_rate", "train_loss", "balance_loss", "val_loss"])
    run = torch.zeros(3)                # loss, learned tokens, balance
    while done < 1.0:
        micro = [batches.next() for _ in range(a.accum)]
        # loss, learned tokens, balance, tokens, fraction done: summed over the processes
        stat = torch.tensor([0.0, sum((w > 0).sum().item() for _, _, w in micro), 0.0, sum(int((x > 0).sum()) for x, _, _ in micro),
                             min(1.0, (step + 1 - first) / a.steps if a.steps else (time.time() - begin) / (end - begin)) / world])
        for x, y, w in micro:
            loss, aux, counts, plain = model.loss(x, y, w, torch.bfloat16)
            (loss / 4000.0 + a.aux * aux * w.sum().item() / 4000.0).backward()
            stat[0] += plain.item()
            stat[2] += aux.item() / (a.accum * world)
        flat = torch.cat([p.grad.reshape(-1) for p in params] + [stat])
        if world > 1:
            dist.all_reduce(flat)
        stat = flat[-5:].clone()
        spread(flat[:-5] * (4000.0 / stat[1]), [p.grad for p in params])
        done = min(1.0, float(stat[4]) + 1e-6)
        # warm up, stay, and go to zero over the last part
        lr = min(1.0, (step + 1 - first) / a.warmup) * min(1.0, (1.0 - done) / a.cool + 0.002)
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        muon.step(a.lr * lr)
        for gr in adam.param_groups:
            gr["lr"] = a.adam_lr * lr
        adam.step()
        for p in params:
            p.grad = None
        step, tokens = step + 1, tokens + int(stat[3])
        run += stat[:3]
        now = seconds + time.time() - begin
        if rank == 0 and (step % 10 == 0 or done >= 1.0):
            v = evaluate(model, val, torch.bfloat16, a.micro, 60 if done >= 1.0 else 4) if step % 100 == 0 or done >= 1.0 else ""
            out.writerow([step, f"{now:.1f}", tokens, f"{a.lr * lr:.6f}", f"{run[0] / run[1]:.5f}", f"{run[2] / (step % 10 or 10):.4f}", f"{v:.5f}" if v else ""])
            log.flush()
            if v:
                load_ = counts.float() / counts.sum(1, keepdim=True)
                print(f"step {step} done {done:.3f} tokens {tokens / 1e6:.2f}M loss {run[0] / run[1]:.4f} val {v:.4f} load {load_.min():.3f}..{load_.max():.3f}", flush=True)
        if step % 10 == 0:
            run.zero_()
        if rank == 0 and (time.time() - saved > 180 or done >= 1.0):
            save(model, os.path.join(a.out, "model.pt"), {"step": step, "tokens": tokens, "seconds": now})
            saved = time.time()
    if world > 1:
        dist.destroy_process_group()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--corpus", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--until", help="HH:MM, stop at this time today")
    ap.add_argument("--steps", type=int, help="or after this many steps")
    ap.add_argument("--resume", help="weights to begin with (the optimizer begins anew)")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--shuffle", type=int, default=0, help="another order of the documents")
    ap.add_argument("--procs", type=int, default=2, help="processes; on a shared machine better than threads")
    ap.add_argument("--threads", type=int, default=1, help="of each process")
    ap.add_argument("--micro", type=int, default=4096, help="tokens of a micro-batch")
    ap.add_argument("--accum", type=int, default=1, help="micro-batches of a step and process")
    ap.add_argument("--lr", type=float, default=0.02, help="Muon")
    ap.add_argument("--adam-lr", type=float, default=0.004)
    ap.add_argument("--aux", type=float, default=0.02)
    ap.add_argument("--warmup", type=int, default=60)
    ap.add_argument("--stress", type=int, default=1, help="weight of the tokens of short answers")
    ap.add_argument("--cool", type=float, default=0.5, help="the fraction of the run in which the rate falls to zero")
    a = ap.parse_args()
    assert bool(a.until) != bool(a.steps)
    os.makedirs(a.out, exist_ok=True)
    meet = os.path.join(a.out, "meet")
    if os.path.exists(meet):
        os.remove(meet)
    if a.procs > 1:
        torch.multiprocessing.spawn(work, (a,), nprocs=a.procs)
    else:
        work(0, a)


if __name__ == "__main__":
    main()
