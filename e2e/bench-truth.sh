#!/usr/bin/env bash
# The prober beside fio, openssl and iperf3, on two lab hosts. About 18 minutes; wants a quiet machine. PAGE= (empty) only
# prints. Where others measure on this machine too, QUIET=FILE names a file that is held locked for each round.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo --preserve-env=PATH,HOME"

make --no-print-directory lab-deps >/dev/null
go build -o bin/vpsctl-truth ./e2e/bench/truth
$sudo bin/vpsctl-truth -rounds "${ROUNDS:-7}" -page "${PAGE-docs/benchmarks.md}" -quiet "${QUIET-}"
