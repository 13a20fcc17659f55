#!/bin/sh
# Runs each libFuzzer harness for FUZZ_SECONDS (600), starting from the seeds in tests/fuzz/seeds. What it finds and what it
# learned stays under build/fuzz.
set -eu
cd "$(dirname "$0")/.."
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "${JOBS:-$(nproc)}"
bad=0 n=0
for harness in build/fuzz/fuzz/fuzz_*; do
    [ -x "$harness" ] || continue
    what=${harness##*/fuzz_}
    n=$((n + 1))
    echo "== $what"
    mkdir -p "build/fuzz/corpus/$what" "build/fuzz/found"
    seeds=tests/fuzz/seeds/$what
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086
    "$harness" -max_total_time="${FUZZ_SECONDS:-600}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/found/$what-" "build/fuzz/corpus/$what" $seeds 2>&1 | tail -n 15
    if ls build/fuzz/found/"$what"-* >/dev/null 2>&1; then bad=$((bad + 1)); fi
done
echo "$n harnesses, $bad with findings (build/fuzz/found)"
[ "$n" -gt 0 ] && [ "$bad" -eq 0 ]
