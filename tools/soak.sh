#!/bin/sh
# The long counts: runs the simulator in slices of 500 seeds until the time is over, from where the
# last soak ended, and appends to docs/soak.md what was run and what it found. Run by ./dev soak.
#   tools/soak.sh [MINUTES]     30 unless given
set -eu
cd "$(dirname "$0")/.."

minutes=${1:-30}
program=build-test/test/sim_one_node
record=docs/soak.md
end=$(($(date +%s) + minutes * 60))
commit=$(git rev-parse --short HEAD)

first=$(sed -n 's/^| [^|]* | [^|]* | [0-9]*–\([0-9]*\) .*/\1/p' "$record" | tail -n 1)
first=$((${first:-1000000} + 1))
seed=$first
failed=0
mkdir -p build-logs
: >build-logs/soak.log
while [ "$(date +%s)" -lt "$end" ]; do
    "$program" --seed "$seed" --count 500 >>build-logs/soak.log 2>&1 || failed=$((failed + 1))
    seed=$((seed + 500))
done
printf '| %s | %s | %s–%s | %s |\n' "$(date -u +%Y-%m-%d)" "$commit" "$first" "$((seed - 1))" \
    "$(grep -c '^seed ' build-logs/soak.log || true)" >>"$record"
grep '^seed ' build-logs/soak.log || true
printf 'soak: seeds %s to %s, %s slices failed\n' "$first" "$((seed - 1))" "$failed"
[ "$failed" -eq 0 ]
