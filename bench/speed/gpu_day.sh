#!/usr/bin/env bash
# Everything that needs a GPU, in under nine minutes on one card: tests, sanitizer, kernels, networks. Needs CuPy and
# PyTorch for CUDA.
#
#   bench/speed/gpu_day.sh [--out DIR] [--quick] [--dry-run]
#
# Each part has its own time limit. A part that fails or takes too long is reported and does not stop the others. DIR
# (default: bench/results) gets gpu_day.json, gpu_day.md and a log for each part. --dry-run prints the commands only.
set -uo pipefail
cd "$(dirname "$0")/../.."
python=$(command -v python || command -v python3) || { echo "gpu_day.sh: Python is not installed" >&2; exit 2; }

out=bench/results quick=() dry=0
while (($#)); do
    case $1 in
        --out) out=${2:?--out needs a folder}; shift 2 ;;
        --quick) quick=(--quick); shift ;;
        --dry-run) dry=1; shift ;;
        *) echo "gpu_day.sh: expected --out DIR, --quick or --dry-run, got $1" >&2; exit 2 ;;
    esac
done

# Name, seconds it may take, command.
parts=()
part() { parts+=("$(printf '%q ' "$@")"); }
export NANOSTYLE_TEST_GPU=1
part tests 90 "$python" -m pytest -q -x tests/backend/gpu
part sanitizer 50 compute-sanitizer --tool memcheck --error-exitcode 9 "$python" -m pytest -q tests/backend/gpu/test_kernels.py \
    tests/backend/gpu/test_products.py -k "layers_of or gram or phases or adam or pooling or bytes or distance or statistics"
part racecheck 40 compute-sanitizer --tool racecheck --error-exitcode 9 "$python" -m pytest -q tests/backend/gpu/test_kernels.py \
    tests/backend/gpu/test_products.py -k "(layers_of and residual) or gram or distance or pooling"
part kernels 110 "$python" -m bench.speed.kernels "${quick[@]}" --precision fp16 tf32 --out "$out"
part networks 240 "$python" -m bench.speed.gpu_networks "${quick[@]}" --out "$out"

if ((dry)); then
    for line in "${parts[@]}"; do
        eval "set -- $line"
        echo "$1 (at most $2 s): ${*:3}"
    done
    exit 0
fi

"$python" - <<'PY' || exit 2
import sys
from nanostyle.backend.device import pick_device
from nanostyle.errors import NanostyleError
try:
    pick_device("cuda")
except NanostyleError as error:
    sys.exit(f"gpu_day.sh: {error}")
PY

mkdir -p "$out" || exit 2
failed=0
: > "$out/gpu_day.tsv"
for line in "${parts[@]}"; do
    eval "set -- $line"
    name=$1 limit=$2 begin=$SECONDS
    shift 2
    printf '== %s (at %ds)\n' "$name" "$begin"
    if ! command -v "$1" > /dev/null; then
        result="not run: $1 is not installed"
    elif timeout "$limit" "$@" > "$out/gpu_day-$name.log" 2>&1; then
        result=passed
    else
        status=$?
        result=$([ "$status" = 124 ] && echo "stopped after $limit s" || echo "failed with status $status")
    fi
    [ "$result" = passed ] || failed=1
    [ -f "$out/gpu_day-$name.log" ] && tail -n 3 "$out/gpu_day-$name.log"
    echo "$result"
    printf '%s\t%s\t%d\n' "$name" "$result" $((SECONDS - begin)) >> "$out/gpu_day.tsv"
done
"$python" -m bench.speed.gpu_report "$out" || failed=1
exit "$failed"
