#!/usr/bin/env bash
# The prober beside fio and openssl, and beside iperf3, on lab hosts. Long; wants a quiet machine. PAGE= (empty) only prints.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo --preserve-env=PATH,HOME"

make --no-print-directory lab-deps >/dev/null
go build -o bin/vpsctl-truth ./e2e/bench/truth
$sudo bin/vpsctl-truth -rounds "${ROUNDS:-7}" -page "${PAGE-docs/benchmarks.md}"
