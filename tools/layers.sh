#!/bin/sh
# Checks the laws of the source (docs/architecture.md): who includes whom, sizes, what the library may not do, names.
#
#   tools/layers.sh                    the sources
#   tools/layers.sh --symbols BUILD    what the libraries in a build folder export
#   tools/layers.sh --self-test        that each kind of fault is found, on made-up sources
set -u
here=$(cd "$(dirname "$0")" && pwd)
faults=$(mktemp)
trap 'rm -rf "$faults" "${scratch:-}"' EXIT

scan() { find src tests include -name '*.[ch]' 2>/dev/null | sort | xargs awk -f "$here/layers.awk"; }

report() {
    [ -s "$faults" ] || return 0
    cat "$faults"
    echo "layers: $(wc -l <"$faults") faults"
    return 1
}

# Shared library: only moped_*. Static library: only moped_* and mp_*.
symbols() {
    [ -f "$1/libmoped.so" ] && [ -f "$1/libmoped.a" ] || { echo "layers: no libraries in $1"; return 1; }
    nm -D --defined-only "$1/libmoped.so" | awk '$3 !~ /^moped_/ { print "libmoped.so exports " $3 }' >"$faults"
    nm --defined-only --extern-only "$1/libmoped.a" |
        awk 'NF == 3 && $3 !~ /^(moped_|mp_|__(asan|tsan|ubsan|odr))/ { print "libmoped.a shares " $3 ", which starts with neither mp_ nor moped_" }' >>"$faults"
    report
}

# file, then its text on stdin
put() { mkdir -p "$(dirname "$1")"; cat >"$1"; }

# A function of $2 lines named $1.
long_function() {
    echo "void $1(void) {"
    i=2
    while [ "$i" -lt "$2" ]; do echo "    x++; /* don't } stop \" here */"; i=$((i + 1)); done
    echo "}"
}

self_test() {
    scratch=$(mktemp -d)
    cd "$scratch" || return 1
    # Nothing here is a fault.
    { echo '#include "base/err.h"'; echo '#include "mem/x.h"'; echo '#include <stdio.h>'; } | put src/mem/good.c
    { echo '// a printf("x") in a comment { { {'; echo 'const char *s = "exit(1); {{{ /*";'; echo "char c = '\"', d = '{';"
      echo 'static int six(int a, int b, void (*f)(int, int, int), int d, int e, int g) {'; echo '    return snprintf(0, 0, "x") + p->printf(a); }'
      long_function edge 80; echo '/* long: one case after another */'; long_function told 81; } | put src/num/good.c
    { echo '#include "moped.h"'; echo '#include "base/os.h"'; echo 'int main(void) { printf("hi"); exit(getenv("X") ? 1 : 0); }'; } | put src/app/good.c
    { echo '#include "moped.h"'; echo '#include "model/x.h"'; } | put src/api.c
    { echo '/* table: codes */'; i=0; while [ $i -lt 1001 ]; do echo '1,'; i=$((i + 1)); done; } | put src/base/table.c
    scan >"$faults"
    report || { echo "layers: found faults in good sources"; return 1; }
    # Each of these is one.
    echo '#include "model/session.h"' | put src/mem/bad1.c
    echo '#include "mem/pager.h"' | put src/app/bad2.c
    echo '#include "moped.h"' | put src/model/bad3.c
    echo '#include "../num/x.c"' | put tests/num/bad4.c
    { echo; long_function grown 81; } | put src/dev/bad5.c
    { i=0; while [ $i -lt 1001 ]; do echo ';'; i=$((i + 1)); done; } | put src/dev/bad6.c
    echo 'void f(void) { if (x) { printf("x"); } }' | put src/dev/bad7.c
    echo 'void f(void) { abort(); }' | put src/api.c
    echo 'char *f(void) { return getenv("X"); }' | put src/model/bad9.c
    echo 'void *f(void) { return malloc(3); }' | put src/train/bad10.c
    { echo 'static int seven(int a, int b, int c, int d,'; echo '    int e, int f, int g) {'; echo '}'; } | put src/num/bad11.c
    echo 'void f(void) { fprintf(stderr, "x"); }' | put src/base/bad12.c
    echo '#include "../dev/op.h"' | put src/num/bad13.c
    scan >"$faults"
    for want in bad1.c bad2.c bad3.c bad4.c bad5.c:2: bad6.c bad7.c api.c bad9.c bad10.c bad11.c bad12.c bad13.c; do
        grep -q "/$want" "$faults" || { echo "layers: the fault in $want was not found"; return 1; }
    done
    [ "$(wc -l <"$faults")" -eq 13 ] || { cat "$faults"; echo "layers: expected 13 faults"; return 1; }
    echo "layers: all 13 kinds of faults are found"
}

case ${1:-} in
--self-test) self_test ;;
--symbols) symbols "${2:-build}" ;;
*) cd "$here/.." && scan >"$faults" && report && echo "layers: $(find src -name '*.[ch]' | wc -l) files keep the laws" ;;
esac
