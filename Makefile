# A thin face over CMake: what people type.
#
#   make                      build build/moped (says what is missing)
#   make run [MODEL=file.gguf] [PROMPT="a question"]
#                             install what is missing, build, and talk to a model (without MODEL, the one that ships)
#   make test                 install what is missing, build, and run every test
#   make test-gpu             the CUDA device's tests on the GPU that is here, and under compute-sanitizer where that is
#   make bench-gpu            what moped does on that GPU, beside llama.cpp where llama-bench is: bench/results/gpu.jsonl
#   make install [PREFIX=/usr/local] [DESTDIR=]
#   make fuzz                 ten minutes of each fuzz harness (clang)
#   make clean

PREFIX  ?= /usr/local
DESTDIR ?=
MODEL   ?=
PROMPT  ?=
JOBS    ?= $(shell nproc)
export MODEL PROMPT

all: check-deps build

check-deps:
	@tools/deps.sh --check build

deps:
	@tools/deps.sh build

build:
	@mkdir -p build
	@cmake --preset release -DCMAKE_INSTALL_PREFIX="$(PREFIX)" >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset release -j $(JOBS) --target moped_program moped_shared

# MODEL and PROMPT reach the shell through the environment, so that quotes in them stay what they are.
run: deps build
	@set --; [ -z "$$MODEL" ] || set -- "$$MODEL"; [ -z "$$PROMPT" ] || set -- "$$@" -p "$$PROMPT"; \
	echo "build/moped run $$*"; exec build/moped run "$$@"

test:
	@tools/deps.sh test
	@JOBS=$(JOBS) tools/test.sh

test-gpu: deps
	@JOBS=$(JOBS) tools/test_gpu.sh

bench-gpu: deps
	@JOBS=$(JOBS) tools/bench_gpu.sh

fuzz:
	@tools/deps.sh fuzz
	@JOBS=$(JOBS) tools/fuzz.sh

install: check-deps build
	DESTDIR="$(DESTDIR)" cmake --install build

clean:
	rm -rf build

.PHONY: all check-deps deps build run test test-gpu bench-gpu fuzz install clean
