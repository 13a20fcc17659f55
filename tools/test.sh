#!/bin/sh
# Every test: the laws of the source, a release build with all tests, the sanitizers, a second compiler.
# A failing stage does not stop the others; the last line counts them all, in ctest's words.
#
#   tools/test.sh [stage ...]     only these: laws release asan tsan clang
set -u
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
total=0 failed=0 names=

# A failure of stage $1.
fail() { failed=$((failed + 1)); names="$names\n    $1"; }

# One check that is a command: name, command...
check() {
    name=$1; shift
    total=$((total + 1))
    "$@" || fail "$name"
}

say() { printf '\n== %s\n' "$*"; }

build() {
    preset=$1; shift
    { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" "$@"; } >"$log" 2>&1 && return 0
    grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\)' "$log" | tail -n 60
    return 1
}

# Builds a preset and adds what ctest counted.
suite() {
    preset=$1; shift
    say "$preset"
    total=$((total + 1))
    build "$preset" "$@" || { fail "$preset: build"; return; }
    ctest --preset "$preset" -j "$jobs" >"$log" 2>&1
    code=$?
    grep -v '^ *Start \|^Test project\|Passed  ' "$log"
    # A program that passes may have skipped some of its tests; ctest does not show that.
    dir=build
    [ "$preset" = release ] || dir=build/$preset
    grep -h 'SKIPPED:' "$dir/Testing/Temporary/LastTest.log" | sort | uniq -c
    counts=$(sed -n 's/^[0-9]*% tests passed, \([0-9]*\) tests* failed out of \([0-9]*\)$/\1 \2/p' "$log" | tail -n 1)
    if [ -z "$counts" ]; then
        fail "$preset: no tests ran"
        return
    fi
    total=$((total + ${counts#* }))
    failed=$((failed + ${counts% *}))
    [ "$code" -eq 0 ] || names="$names\n$(sed -n "s/^\t *[0-9]* - \(.*\) (\(Failed\|Timeout\|Not Run\|SEGFAULT\|.*[Ee]xception.*\|.*aborted.*\)).*/    $preset: \1/p" "$log")"
}

stages=${*:-laws release asan tsan clang}
for stage in $stages; do
    case $stage in
    laws) say "laws"; check layers tools/layers.sh; check "layers finds faults" tools/layers.sh --self-test ;;
    release) suite release; check "exported names" tools/layers.sh --symbols build ;;
    asan) suite asan ;;
    tsan) suite tsan --target thread-tests ;;
    clang)
        say clang
        if command -v clang >/dev/null 2>&1; then check "clang build" build clang
        else echo "SKIPPED: there is no clang here"; fi ;;
    *) echo "unknown stage: $stage"; exit 2 ;;
    esac
done

echo
[ "$total" -gt 0 ] || { echo "no tests were run"; exit 1; }
[ "$failed" -eq 0 ] || printf 'failed:%b\n' "$names"
echo "$(((total - failed) * 100 / total))% tests passed, $failed tests failed out of $total"
[ "$failed" -eq 0 ]
