#!/bin/bash
# Is the budget kept? A model over budgets x contexts x prompts, each run cold inside a control group of exactly the budget, page cache included.
#
#   bench/matrix.sh [-b "4G 8G 12G"] [-c "2048 8192 32768"] [-p "1 512 4000"] [-n TOKENS] [-x "more flags of moped run"] MODEL.gguf
#
# One line a cell: exit code, plan and peak, the group's peak, how often it pressed, out-of-memory kills, swap, speeds. A cell whose prompt is longer than its
# context is left out; one that does not fit must leave with 3. Broken promises are marked with ! and make the exit code 6. Needs root, python3.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
moped=${MOPED_PROGRAM:-$here/build/moped}
budgets="4G 8G 12G" contexts="2048 8192 32768" prompts="1 512 4000" tokens=8 extra=
while getopts b:c:p:n:x: flag; do
    case $flag in b) budgets=$OPTARG ;; c) contexts=$OPTARG ;; p) prompts=$OPTARG ;; n) tokens=$OPTARG ;; x) extra=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -eq 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
broken=0
for prompt in $prompts; do
    # About that many tokens: random short words, so that many experts are asked for.
    python3 -c 'import random, sys; random.seed(7); print(" ".join("".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(3)) for _ in range(int(sys.argv[1]) * 5 // 9 or 1)), end="")' "$prompt" >"$work/text"
    for context in $contexts; do
        [ "$context" -gt $((prompt * 11 / 10 + tokens)) ] || continue
        for budget in $budgets; do
            swapped=$(awk '$1 == "pswpout" { print $2 }' /proc/vmstat)
            # shellcheck disable=SC2086
            "$here/tools/capped.sh" "$budget" "$moped" run "$1" --ram "$budget" -c "$context" -n "$tokens" -s 1 --no-chat --ignore-eos $extra \
                -f "$work/text" --json >"$work/out" 2>"$work/err" </dev/null
            code=$?
            python3 - "$budget" "$context" "$code" "$work" "$swapped" <<'PYTHON' || broken=6
import json, re, sys
budget, context, code, work, swapped = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
err = open(work + "/err").read()
seen = dict(re.findall(r"(\w+)=(\S+)", (re.findall(r"^capped: .*$", err, re.M) or [""])[-1]))
now = int(re.search(r"^pswpout (\d+)", open("/proc/vmstat").read(), re.M)[1])
name = f"ram {budget:>4}  ctx {context:>6}"
if code:
    said = [line for line in err.splitlines() if line.startswith("moped:")]
    bad = "" if code == 3 and seen.get("oom") == "0" else "  !"
    print(f"{name}  exit {code}  oom {seen.get('oom')}  {said[0] if said else ''}{bad}", flush=True)
    sys.exit(1 if bad else 0)
r = json.load(open(work + "/out"))
m, t = r["memory"], r["timings"]
limit, plan, peak = m["ram_budget_bytes"], m["plan_peak_bytes"], m["ram_peak_bytes"]
bad = [w for w, is_bad in (("over the budget", peak > limit), ("killed", seen.get("oom") != "0"), ("swapped", now > swapped)) if is_bad]
print(f"{name}  prompt {r['prompt_tokens']:>5}  exit {code}  plan {plan / 2**20:.1f}M  peak {peak / 2**20:.1f}M ({100 * (peak / limit - 1):+.2f}% of the budget)  "
      f"group {int(seen['peak']) / 2**20:.1f}M pressed {seen['pressed']} oom {seen['oom']} swap {now - swapped}  "
      f"prompt {t['prompt_per_second']:.1f} tok/s, answer {t['predicted_per_second']:.2f} tok/s {'! ' + ', '.join(bad) if bad else ''}", flush=True)
sys.exit(1 if bad else 0)
PYTHON
        done
    done
done
exit $broken
