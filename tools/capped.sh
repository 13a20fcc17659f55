#!/bin/bash
# Runs a command inside a memory control group of a given size, page cache included: what "a machine with 8G" means to a process.
#
#   tools/capped.sh [--warm] SIZE COMMAND [ARGUMENT...]
#
# SIZE is read as moped reads it: 8G (1024), 8GB (1000), or bytes. Pages that another group read stay charged to that group, so the
# system's page cache is dropped first, unless --warm. When the command has ended, one line on stderr tells what the kernel saw:
#   capped: limit=N peak=N pressed=N oom=N exit=N     (pressed: how often the limit was reached and pages had to go)
# The exit code is the command's. Control groups v1 and v2; needs root.
set -u
die() { echo "capped: $*" >&2; exit 125; }
warm=0
[ "${1:-}" = --warm ] && warm=1 && shift
[ $# -ge 2 ] || die "usage: tools/capped.sh [--warm] SIZE COMMAND..."
case $1 in
    *[KMGT]B) limit=$(numfmt --from=si "${1%B}") ;;
    *) limit=$(numfmt --from=iec "$1") ;;
esac || die "\"$1\" is not a size"
shift

v1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
if [ -n "$v1" ]; then
    group=$v1/moped-capped-$$ limit_file=memory.limit_in_bytes peak_file=memory.max_usage_in_bytes
elif [ -n "$v2" ] && grep -qw memory "$v2/cgroup.controllers"; then
    group=$v2/moped-capped-$$ limit_file=memory.max peak_file=memory.peak
    echo +memory >"$v2/cgroup.subtree_control" 2>/dev/null
else
    die "no memory control group is mounted here"
fi
mkdir "$group" 2>/dev/null || die "cannot make $group (it takes root)"
leave() { [ -e "$group/memory.force_empty" ] && echo 0 >"$group/memory.force_empty" 2>/dev/null; rmdir "$group" 2>/dev/null; }
trap leave EXIT
echo "$limit" >"$group/$limit_file" || die "cannot set the limit"
[ -e "$group/memory.swap.max" ] && echo 0 >"$group/memory.swap.max" # memory means memory
if [ $warm = 0 ]; then sync; echo 3 >/proc/sys/vm/drop_caches || die "cannot drop the page cache"; fi

child=
trap 'kill -INT "$child" 2>/dev/null' INT
trap 'kill -TERM "$child" 2>/dev/null' TERM
( echo "$BASHPID" >"$group/cgroup.procs" && exec "$@" ) <&0 &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done # a trap interrupts wait

value() { cat "$group/$1" 2>/dev/null || echo unknown; }
counter() { awk -v key="$2" '$1 == key { print $2 }' "$group/$1" 2>/dev/null; }
if [ -n "$v1" ]; then
    pressed=$(value memory.failcnt) oom=$(counter memory.oom_control oom_kill)
else
    pressed=$(counter memory.events max) oom=$(counter memory.events oom_kill)
fi
echo "capped: limit=$limit peak=$(value $peak_file) pressed=$pressed oom=${oom:-unknown} exit=$code" >&2
exit $code
