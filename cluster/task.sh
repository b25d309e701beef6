#!/usr/bin/env bash
# One task of a job step: run a command with its temporary files on the node's own disk. SIGTERM is handed on to the
# command, and the exit code is then 75: launchers turn the code that our programs give into 1.
set -euo pipefail

scratch=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/akshara-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch TRITON_CACHE_DIR=$scratch/triton

"$@" &
command=$!
stopped=
trap 'stopped=yes; kill -TERM "$command" 2>/dev/null || true' TERM

code=0
wait "$command" || code=$?
while [[ $stopped ]] && kill -0 "$command" 2>/dev/null; do # the signal ended the wait, not the command
  wait "$command" || code=$?
done
if [[ $stopped && $code -ne 0 ]]; then
  exit 75
fi
exit "$code"
