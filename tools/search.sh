#!/bin/sh
# Runs the state search of the protocol over all its sets: search.sh BUILD_DIR [STATES [WALKS [SEED]]].
# Its last line adds them up. What was run by hand, and how long it took: docs/testing.md.
set -eu
build=$1
states=${2:-5000000}
walks=${3:-0}
seed=${4:-1}
required=0
executed=0
failed=0
for set in $("$build/test/search_protocol" --sets | cut -d ' ' -f 1); do
    told=$("$build/test/search_protocol" --set "$set" --states "$states" --walks "$walks" --seed "$seed") ||
        failed=$((failed + 1))
    echo "$told" | grep -v '^LAYER' || failed=$((failed + 1))
    count=$(echo "$told" | sed -n 's/^LAYER search .* executed=\([0-9]*\) .*/\1/p')
    executed=$((executed + ${count:-0}))
    required=$((required + states))
done
echo "LAYER search required=$required executed=$executed failed=$failed"
[ "$failed" -eq 0 ]
