#!/usr/bin/env bash
# The verdict on a real host of the lab: sessions in which nothing happens, then limits on its CPU, disk and line, each of
# which must be found. About 25 minutes; wants a quiet machine. PAGE= (empty) only prints; SESSIONS=3 shows that it works.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo --preserve-env=PATH,HOME"

make --no-print-directory lab-deps >/dev/null
go build -o bin/vpsctl-verdicts ./e2e/bench/verdicts
$sudo bin/vpsctl-verdicts -vpsctl bin/vpsctl -sessions "${SESSIONS:-30}" -page "${PAGE-docs/benchmarks.md}"
