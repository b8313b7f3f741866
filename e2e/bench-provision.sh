#!/usr/bin/env bash
# The ten phases beside plain apt, on fresh lab hosts: a section of docs/benchmarks.md. About 30 minutes; wants a quiet
# machine. ROUNDS=5 PARTS=ratio,lines,full,sizes; PAGE= (empty) only prints.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo --preserve-env=PATH,HOME"

make --no-print-directory lab-deps build MEM=4096 CPUS=2 >/dev/null
go build -o bin/vpsctl-bench-provision ./e2e/bench/provision
$sudo bin/vpsctl-bench-provision -vpsctl bin/vpsctl -rounds "${ROUNDS:-5}" -parts "${PARTS:-ratio,lines,full,sizes}" -page "${PAGE-docs/benchmarks.md}"
