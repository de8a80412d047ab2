#!/bin/sh
# Runs the fuzz targets of build-fuzz, two at a time: fuzz.sh [SECONDS] [TARGET...]. What is found
# is left in build-fuzz/found/TARGET; the corpus that grew in build-fuzz/grown/TARGET. Its last
# line counts the targets that ran for the whole time.
set -eu
cd "$(dirname "$0")/.."

seconds=30
case ${1:-} in
'' | *[!0-9]*) ;;
*)
    seconds=$1
    shift
    ;;
esac
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names without spaces
    set -- $(find build-fuzz/test -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x |
        sed 's,.*/fuzz_,,' | LC_ALL=C sort)
fi
results=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-fuzz.XXXXXX")
trap 'rm -rf "$results"' EXIT

# The exit status and the number of runs of one target, into $results/TARGET.
fuzz_one() {
    target=$1
    mkdir -p "build-fuzz/found/$target" "build-fuzz/grown/$target"
    corpus="test/fuzz/corpus/$target"
    [ -d "$corpus" ] || corpus=
    status=0
    # shellcheck disable=SC2086 # absent, or one folder
    "build-fuzz/test/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="build-fuzz/found/$target/" \
        "build-fuzz/grown/$target" $corpus >"$results/$target.log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$results/$target.log")
    echo "$status ${runs:-0}" >"$results/$target"
}

required=$#
executed=0
failed=0
collect() {
    for target in "$@"; do
        read -r status runs <"$results/$target"
        if [ "$status" -eq 0 ] && [ "$runs" -gt 0 ]; then
            echo "fuzz $target: $runs runs in $seconds s"
        else
            echo "fuzz $target: FAILED with status $status"
            tail -n 60 "$results/$target.log"
            failed=$((failed + 1))
        fi
        executed=$((executed + 1))
    done
}
while [ $# -gt 0 ]; do
    fuzz_one "$1" &
    first=$!
    if [ $# -gt 1 ]; then
        fuzz_one "$2"
        wait "$first"
        collect "$1" "$2"
        shift 2
    else
        wait "$first"
        collect "$1"
        shift
    fi
done
echo "LAYER fuzz required=$required executed=$executed failed=$failed"
[ "$failed" -eq 0 ]
