"""Draws loss.csv as loss.svg. Needs nothing but Python:  python plot.py loss.csv loss.svg"""
import csv
import math
import sys

W, H, L, R, T, B = 720, 400, 60, 20, 40, 50


def main(src, dst):
    rows = list(csv.DictReader(open(src)))
    train = [(int(r["tokens"]) / 1e6, float(r["train_loss"])) for r in rows]
    val = [(int(r["tokens"]) / 1e6, float(r["val_loss"])) for r in rows if r["val_loss"]]
    x1 = max(x for x, _ in train)
    lo, hi = math.log(min(y for _, y in train + val) * 0.93), math.log(max(y for _, y in train))

    def at(p):
        return f"{L + p[0] / x1 * (W - L - R):.1f},{T + (hi - math.log(p[1])) / (hi - lo) * (H - T - B):.1f}"

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="12">',
           f'<rect width="{W}" height="{H}" fill="#fff"/>', f'<text x="{L}" y="22" font-size="14">Training of the demo model: nats per token, logarithmic</text>']
    for y in (0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.5, 2, 3, 4, 5, 6, 7):
        if lo <= math.log(y) <= hi:
            py = at((0, y)).split(",")[1]
            out.append(f'<line x1="{L}" x2="{W - R}" y1="{py}" y2="{py}" stroke="#ddd"/><text x="{L - 8}" y="{py}" text-anchor="end" dominant-baseline="middle">{y}</text>')
    step = next(s for s in (0.5, 1, 2, 5, 10) if x1 / s <= 10)
    for i in range(int(x1 / step) + 1):
        px = at((i * step, math.exp(lo))).split(",")[0]
        out.append(f'<text x="{px}" y="{H - B + 18}" text-anchor="middle">{i * step:g}</text>')
    out.append(f'<text x="{(L + W - R) / 2}" y="{H - 12}" text-anchor="middle">million tokens</text>')
    out.append(f'<polyline fill="none" stroke="#4477aa" stroke-width="1.2" points="{" ".join(map(at, train))}"/>')
    out.append(f'<polyline fill="none" stroke="#cc3311" stroke-width="1.6" points="{" ".join(map(at, val))}"/>')
    out.append(f'<text x="{W - R - 110}" y="{T + 14}" fill="#4477aa">training</text><text x="{W - R - 110}" y="{T + 30}" fill="#cc3311">held out</text></svg>')
    open(dst, "w").write("\n".join(out) + "\n")


main(*sys.argv[1:])
