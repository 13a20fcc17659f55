#!/bin/sh
# Proves that a bare machine with git and make is enough: makes one with debootstrap, clones this repository into it, and runs
# `make run PROMPT=...` and `make test` there. Root only. What is committed is what is tried.
#
#   tools/bare.sh [--suite bookworm|jammy] [--only run|test|deps] [--dir FOLDER] [--keep] [--keyring FILE]
#
# The package mirror of a suite is the one in this machine's own apt sources when they have that distribution, else debootstrap's
# default. apt's proxy and checking settings are passed on. A mirror that cannot be reached is said and skipped (exit 77).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
suites='bookworm jammy' only='run test' dir= keep= keys_file=
while [ $# -gt 0 ]; do
    case $1 in
    --suite) suites=$2; shift ;;
    --only) only=$2; shift ;;
    --dir) dir=$2; shift ;;
    --keyring) keys_file=$2; shift ;;
    --keep) keep=1 ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
[ "$(id -u)" -eq 0 ] || { echo "bare: debootstrap needs root"; exit 2; }
command -v debootstrap >/dev/null 2>&1 || { echo "bare: SKIPPED: no debootstrap here (install the package of that name)"; exit 77; }

# The first mirror of this machine's apt sources whose address ends in /debian or /ubuntu.
host_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        grep -v '^ *#' | grep -o 'https\{0,1\}://[^ ]*/'"$1"'\(/\| \|$\)' | head -n 1 | sed 's#[/ ]*$##'
}

keyring() {
    for k in "$keys_file" "/usr/share/keyrings/$1-archive-keyring.gpg" "/etc/apt/trusted.gpg.d/$1-archive-keyring.gpg"; do
        [ ! -f "$k" ] || { echo "$k"; return; }
    done
}

tree=
clean_up() {
    [ -n "$tree" ] || return 0
    for m in dev/shm dev/pts dev proc sys; do umount -l "$tree/$m" 2>/dev/null || :; done
    # Nothing may be mounted below when the tree is removed.
    if [ -z "$keep" ] && ! grep -q " $tree/" /proc/mounts; then rm -rf "$tree"; else echo "bare: kept $tree"; fi
    tree=
}
trap clean_up EXIT
trap 'exit 1' INT TERM

in_tree() { chroot "$tree" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb "$@"; }

make_tree() {
    suite=$1 distribution=debian components=main
    [ "$suite" != jammy ] || { distribution=ubuntu; components=main,universe; }
    mirror=$(host_mirror $distribution)
    keys=$(keyring $distribution)
    [ -n "$keys" ] || { echo "bare: SKIPPED: $suite: no keyring of $distribution here (package $distribution-archive-keyring or $distribution-keyring, or give --keyring)"; return 77; }
    mkdir -p "${dir:-${TMPDIR:-/tmp}}"
    tree=$(mktemp -d "${dir:-${TMPDIR:-/tmp}}/moped-bare-$suite-XXXXXX")
    # shellcheck disable=SC2086
    debootstrap --variant=minbase --components=$components --keyring="$keys" --include=git,make,ca-certificates \
        "$suite" "$tree" $mirror >"$tree.log" 2>&1 || {
        tail -n 5 "$tree.log"
        echo "bare: SKIPPED: $suite could not be set up (log: $tree.log)"
        return 77
    }
    rm -f "$tree.log"
    # A mirror of Debian holds the updates under the same address; none of this names a host in the script.
    apt-config dump 2>/dev/null | grep -E '^Acquire::([a-z]+::Proxy|Check-)' >"$tree/etc/apt/apt.conf.d/90host" || :
    rm -rf "$tree"/var/lib/apt/lists/* # as on a fresh machine: the lists are empty
    cp /etc/resolv.conf "$tree/etc/resolv.conf" 2>/dev/null || :
    cp /etc/hosts "$tree/etc/hosts" 2>/dev/null || :
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys" && mount --make-rslave "$tree/sys"
    mount --bind /dev "$tree/dev" && mount --make-private "$tree/dev" # private: what is mounted below stays out of the real /dev
    mount --bind /dev/pts "$tree/dev/pts"
    mount -t tmpfs tmpfs "$tree/dev/shm"
    git clone -q --no-local "$here" "$tree/root/moped"
}

try() {
    case $2 in
    deps) in_tree sh -c 'cd /root/moped && tools/deps.sh test && tools/deps.sh --check test' ;;
    run) in_tree sh -c 'cd /root/moped && make run PROMPT="What is the capital of France?"' ;;
    test) in_tree sh -c 'cd /root/moped && make test' ;;
    *) echo "bare: there is no $2"; return 2 ;;
    esac
}

worst=0
for suite in $suites; do
    code=0
    make_tree "$suite" || code=$?
    if [ "$code" -eq 0 ]; then
        for what in $only; do
            echo "== $suite: $what"
            start=$(date +%s)
            if try "$suite" "$what"; then echo "bare: $suite: $what is fine ($(($(date +%s) - start)) s)"
            else echo "bare: $suite: $what FAILED ($(($(date +%s) - start)) s)"; worst=1; fi
        done
    elif [ "$code" -ne 77 ]; then worst=1
    elif [ "$worst" -eq 0 ]; then worst=77; fi
    clean_up
done
exit "$worst"
