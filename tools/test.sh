#!/bin/sh
# Every test: the laws of the source, a release build with all tests, the sanitizers, a second compiler, another processor.
# A failing stage does not stop the others; the last line counts them all, in ctest's words.
#
#   tools/test.sh [stage ...]     only these: laws release asan tsan clang arm64
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
    preset=$1
    say "$preset"
    total=$((total + 1))
    build "$@" || { fail "$preset: build"; return; }
    run_tests "$preset" "$preset"
}

# Runs the tests of test preset $1, which were built by preset $2, and adds what ctest counted.
run_tests() {
    preset=$1
    ctest --preset "$preset" -j "$jobs" >"$log" 2>&1
    code=$?
    grep -v '^ *Start \|^Test project\|Passed  ' "$log"
    # A program that passes may have skipped some of its tests; ctest does not show that.
    dir=build
    [ "$2" = release ] || dir=build/$2
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

# base and num for AArch64 under qemu (dev and mem are compiled), which plays a processor with SDOT and one without; then as clang compiles them. On an AArch64 processor
# all stages do that. Two tests of base are left out: qemu-user 7 has no io_uring, and says yes to MADV_POPULATE_WRITE without doing it.
arm64() {
    say arm64
    if [ "$(uname -m)" = aarch64 ]; then echo "SKIPPED: this is one"; return; fi
    if ! tools/deps.sh --check arm64; then echo "SKIPPED: the kernels for AArch64 (NEON) were neither compiled nor tested"; return; fi
    total=$((total + 1))
    build arm64 || { fail "arm64: build"; return; }
    run_tests arm64 arm64
    run_tests arm64-a53 arm64
    if command -v clang >/dev/null 2>&1; then check "arm64 clang build" build arm64-clang
    else echo "SKIPPED: there is no clang here"; fi
}

stages=${*:-laws release asan tsan clang arm64}
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
    arm64) arm64 ;;
    *) echo "unknown stage: $stage"; exit 2 ;;
    esac
done

echo
[ "$total" -gt 0 ] || { echo "no tests were run"; exit 1; }
[ "$failed" -eq 0 ] || printf 'failed:%b\n' "$names"
echo "$(((total - failed) * 100 / total))% tests passed, $failed tests failed out of $total"
[ "$failed" -eq 0 ]
