#!/bin/sh
# What moped does on the GPU that is here, one JSON object a line in bench/results/gpu.jsonl, beside llama.cpp where its llama-bench is on the PATH.
#
#   tools/bench_gpu.sh [CELL ...]     CELL: SHAPE:TYPE:VRAM[:llama.cpp's layers with experts on the processor]; default: those that the project is measured by
#   TRACE=file.mtr                    routing of a real model in place of the random weights' (bench --routing)
#   MODELS=dir                        where the files of random weights are made and kept (default /tmp)
set -u
cd "$(dirname "$0")/.."
command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 || { echo "SKIPPED: there is no GPU here"; exit 0; }
models=${MODELS:-/tmp} trace=${TRACE:-} out=bench/results/gpu.jsonl failed=0
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
{ cmake --preset release -DMOPED_CUDA_ARCHS="$arch" && cmake --build --preset release -j "${JOBS:-$(nproc)}" --target moped_program; } >build.log 2>&1 || { tail -n 40 build.log; exit 1; }
rm -f build.log
[ $# -gt 0 ] || set -- qwen3-30b-a3b:Q4_K_M:auto:0 qwen3-30b-a3b:Q4_K_M:6G:36 qwen3-30b-a3b:Q4_K_M:14G:14 mixtral-8x7b:Q3_K_M:11G:18 llama-3.2-3b:Q4_K_M:auto:0

# One line: what was run, on what, and what it said. Arguments: engine, cell, command.
measure() {
    echo "== $3"
    result=$($3) || { failed=$((failed + 1)); return; }
    result=$(printf %s "$result" | tr -d '\n')
    printf '{"engine":"%s","cell":"%s","gpu":"%s","commit":"%s","command":"%s","result":%s}\n' "$1" "$2" "$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)" \
        "$(git rev-parse --short HEAD)" "$3" "$result" >>"$out"
}

for cell; do
    IFS=: read -r shape type vram on_cpu <<EOF
$cell
EOF
    file=$models/$shape-$type.gguf
    for prompt in 512 4096; do
        command="build/moped bench $([ -f "$file" ] && echo "$file" || echo "--like $shape --type $type --keep-file $file") --vram $vram -c 8192 -p $prompt -n 128 -r 5 --json"
        [ -z "$trace" ] || command="$command --routing $trace"
        measure moped "$cell" "$command"
        command -v llama-bench >/dev/null 2>&1 && [ -f "$file" ] || continue
        command="llama-bench -m $file -ngl 99 --n-cpu-moe ${on_cpu:-0} -fa 1 -p $prompt -n 128 -r 5 -o json"
        measure llama.cpp "$cell" "$command"
    done
done
echo "results: $out; $failed failed"
[ "$failed" -eq 0 ]
