#!/bin/sh
# The CUDA device's tests (tests/cuda) on the GPU that is here; `make test` runs the same programs on the processor.
set -u
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release -DMOPED_CUDA_ARCHS="${ARCHS:-75;80;90;120}" && cmake --build --preset release -j "${JOBS:-$(nproc)}" --target gpu-tests; } >"$log" 2>&1; then
    tail -n 40 "$log"
    exit 1
fi
ls build/gpu/gpu_* >/dev/null 2>&1 || { echo "SKIPPED: moped was built without CUDA (no nvcc here)"; exit 0; }
failed=0 ran=0
one() {
    echo "== $*"
    "$@"
    code=$?
    [ "$code" -eq 77 ] || ran=$((ran + 1))
    [ "$code" -eq 0 ] || [ "$code" -eq 77 ] || failed=$((failed + 1))
}
for test in build/gpu/gpu_*; do one "$test"; done
if [ "$ran" -gt 0 ] && command -v compute-sanitizer >/dev/null 2>&1; then
    for test in build/gpu/gpu_*; do one compute-sanitizer --error-exitcode 1 "$test"; done
fi
echo "$ran ran, $failed failed"
[ "$ran" -gt 0 ] || echo "SKIPPED: there is no GPU here"
[ "$failed" -eq 0 ]
