#!/bin/bash
# Does the plan hold? Runs models under budgets, each inside a control group of exactly the budget, and compares plan with peak.
#
#   bench/memory.sh [-n TOKENS] [-c CONTEXT] -b "4G 8G" MODEL.gguf [MODEL.gguf...]
#
# One line a run: exit code, the budget, the planned and the measured peak, their difference, the group's own peak and how often it
# pressed, out-of-memory kills; then planned and measured peak of every owner. "least" as a budget is the least that the plan accepts.
# A failed expectation (peak over budget, over 2 % off the plan, a kill) is marked with ! and makes the exit code 6. Needs root, python3.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
moped=${MOPED_PROGRAM:-$here/build/moped}
tokens=64 context=2048 budgets=
while getopts n:c:b: flag; do
    case $flag in n) tokens=$OPTARG ;; c) context=$OPTARG ;; b) budgets=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ -n "$budgets" ] && [ $# -gt 0 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
missed=0
for model in "$@"; do
    for budget in $budgets; do
        if [ "$budget" = least ]; then
            budget=$("$moped" plan "$model" -c "$context" --ram 1T --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["least_ram_bytes"])')
        fi
        "$here/tools/capped.sh" "$budget" "$moped" run "$model" --ram "$budget" -c "$context" -n "$tokens" -s 1 --expert-profile none --no-chat --ignore-eos \
            -p "Once upon a time, in a small house at the edge of the forest," --json >"$work/out" 2>"$work/err" </dev/null
        code=$?
        python3 - "$model" "$budget" "$code" "$work" <<'PYTHON' || missed=6
import json, os, re, sys
model, budget, code, work = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
err = open(work + "/err").read()
seen = dict(re.findall(r"(\w+)=(\S+)", (re.findall(r"^capped: .*$", err, re.M) or [""])[-1]))
name = os.path.basename(model)
if code:
    said = [line for line in err.splitlines() if line.startswith("moped:")]
    print(f"{name}  budget {budget}  exit {code}  oom {seen.get('oom')}  {said[0] if said else ''}")
    sys.exit(0 if code == 3 and seen.get("oom") == "0" else 1)
mib = lambda b: f"{b / 2**20:.1f}M"
r = json.load(open(work + "/out"))
m = r["memory"]
limit, plan, peak = m["ram_budget_bytes"], m["plan_peak_bytes"], m["ram_peak_bytes"]
off = 100 * (peak / plan - 1)
bad = [w for w, is_bad in (("over budget", peak > limit), ("off the plan", abs(off) > 2), ("killed", seen.get("oom") != "0")) if is_bad]
print(f"{name}  exit {code}  budget {mib(limit)}  plan {mib(plan)}  peak {mib(peak)} ({off:+.2f}%)  group {mib(int(seen['peak']))} pressed {seen['pressed']} "
      f"oom {seen['oom']}  {r['timings']['predicted_per_second']:.2f} tok/s {'! ' + ', '.join(bad) if bad else ''}")
for owner, o in m["owners"].items():
    print(f"    {owner:10} plan {mib(o['plan_bytes']):>9}  peak {mib(o['peak_bytes']):>9}")
sys.exit(1 if bad else 0)
PYTHON
    done
done
exit $missed
