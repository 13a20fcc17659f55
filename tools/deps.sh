#!/bin/sh
# What moped needs to be built and tested: finds what is missing, says so, and installs only that.
#
#   tools/deps.sh build|test|fuzz|arm64           install what is missing; test: of arm64 too, where that can be
#   tools/deps.sh --check build|test|fuzz|arm64   only say what is missing; exit 1 when something is
#   tools/deps.sh --list                    the packages of each distribution
#
# Installing is done on Debian 12 and Ubuntu 22.04 or newer (and their relatives); elsewhere the names are printed.
set -eu
self=$0

check=
if [ "${1:-}" = --check ]; then check=1; shift; fi
what=${1:-build}

# need | how it is recognized | Debian, Ubuntu | Fedora | Arch
table='
C compiler    | has_cc                     | gcc libc6-dev     | gcc glibc-devel   | gcc
cmake 3.22    | has_cmake                  | cmake             | cmake             | cmake
ninja         | has ninja                  | ninja-build       | ninja-build       | ninja
pkg-config    | has pkg-config             | pkg-config        | pkgconf           | pkgconf
pcre2         | has_lib libpcre2-8         | libpcre2-dev      | pcre2-devel       | pcre2
utf8proc      | has_lib libutf8proc        | libutf8proc-dev   | utf8proc-devel    | utf8proc
jansson       | has_lib jansson            | libjansson-dev    | jansson-devel     | jansson
libedit       | has_lib libedit            | libedit-dev       | libedit-devel     | libedit
liburing      | has_lib liburing           | liburing-dev      | liburing-devel    | liburing
cairo         | has_lib cairo              | libcairo2-dev     | cairo-devel       | cairo
'
if [ "$what" = test ]; then
    table="$table
C++ compiler  | has_cxx                    | g++               | gcc-c++           | gcc
"
fi
if [ "$what" = fuzz ]; then
    table="$table
clang         | has_clang_fuzzer           | clang             | clang compiler-rt | clang compiler-rt
"
fi
# A compiler for AArch64 and qemu to run what it makes: without them the tests leave that processor out. On one, nothing is needed.
if [ "$what" = arm64 ]; then
    table='
AArch64 compiler | has_arm64_cc            | gcc-aarch64-linux-gnu libc6-dev-arm64-cross | gcc-aarch64-linux-gnu | aarch64-linux-gnu-gcc
qemu-aarch64  | has qemu-aarch64           | qemu-user         | qemu-user         | qemu-user
'
    [ "$(uname -m)" != aarch64 ] || exit 0
fi

has() { command -v "$1" >/dev/null 2>&1; }
has_lib() { has pkg-config && pkg-config --exists "$1" 2>/dev/null; }

# A compiler without the C library's headers is of no use.
has_cc() { has cc && echo '#include <stdio.h>' | cc -x c -E - >/dev/null 2>&1; }
has_cxx() { has c++ && echo '#include <functional>' | c++ -x c++ -E - >/dev/null 2>&1; } # the CUDA device's tests
has_arm64_cc() { has aarch64-linux-gnu-gcc && echo '#include <stdio.h>' | aarch64-linux-gnu-gcc -x c -E - >/dev/null 2>&1; }

has_cmake() {
    has cmake || return 1
    v=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ "${v% *}" -gt 3 ] || { [ "${v% *}" -eq 3 ] && [ "${v#* }" -ge 22 ]; }
}

has_clang_fuzzer() {
    has clang || return 1
    f=$(clang -print-file-name=libclang_rt.fuzzer-x86_64.a 2>/dev/null) && [ -f "$f" ] && return 0
    f=$(clang -print-runtime-dir 2>/dev/null) && ls "$f"/libclang_rt.fuzzer*.a >/dev/null 2>&1
}

# Prints the packages of column $1 whose need is not met; with "all", of every need.
packages() {
    echo "$table" | while IFS='|' read -r need test debian fedora arch; do
        [ -n "$need" ] || continue
        if [ "${2:-}" != all ] && $test; then continue; fi
        case $1 in
        debian) echo "$debian" ;;
        fedora) echo "$fedora" ;;
        arch) echo "$arch" ;;
        need) echo "$need" ;;
        esac
    done | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}

if [ "$what" = --list ]; then
    echo "Debian 12+, Ubuntu 22.04+: $(packages debian all)"
    echo "Fedora: $(packages fedora all)"
    echo "Arch: $(packages arch all)"
    exit 0
fi

# What the tests can do without comes last, so that its failure stops nothing: the stage arm64 then says that it is skipped.
finish() {
    [ "$what" = test ] || exit 0
    if [ -z "$check" ]; then "$self" arm64 || :; else "$self" --check arm64 || :; fi
    exit 0
}

missing=$(packages need)
[ -n "$missing" ] || finish

id=unknown
[ ! -r /etc/os-release ] || id=$(. /etc/os-release; echo "${ID:-} ${ID_LIKE:-}")
case " $id " in
*" debian "* | *" ubuntu "*) family=debian; install='apt-get install -y --no-install-recommends' ;;
*" fedora "*) family=fedora; install='dnf install -y' ;;
*" arch "*) family=arch; install='pacman -S --noconfirm' ;;
*) family=debian; install= ;;
esac
wanted=$(packages $family)

echo "missing: $missing"
if [ -n "$check" ] || [ -z "$install" ]; then
    echo "install them with: ${install:-the package manager, under names like} $wanted"
    [ "$family" != debian ] || [ -z "$install" ] || echo "(make run and make test do that themselves)"
    exit 1
fi

sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! has sudo; then
        echo "not root and no sudo here; as root, run: $install $wanted"
        exit 1
    fi
    sudo=sudo
fi
echo "installing: $wanted"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
try() { $sudo env DEBIAN_FRONTEND=noninteractive $install $wanted >"$log" 2>&1; }
if ! try; then
    # The usual reason: the lists of packages are empty or old.
    [ "$family" != debian ] || $sudo env DEBIAN_FRONTEND=noninteractive apt-get update >"$log" 2>&1 || cat "$log"
    try || { tail -n 30 "$log"; echo "installing failed; what was tried: $install $wanted"; exit 1; }
fi
left=$(packages need)
[ -z "$left" ] || { echo "still missing after installing: $left"; exit 1; }
finish
