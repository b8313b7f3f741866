#!/usr/bin/env bash
# The ten phases beside plain apt, on fresh lab hosts. Prints a section for docs/benchmarks.md. Long; wants a quiet
# machine. ROUNDS=5 PARTS=ratio,sizes
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo --preserve-env=PATH,HOME"

make --no-print-directory lab-deps build MEM=4096 CPUS=2 >/dev/null
go build -o bin/vpsctl-bench-provision ./e2e/bench/provision
$sudo bin/vpsctl-bench-provision -vpsctl bin/vpsctl -rounds "${ROUNDS:-5}" -parts "${PARTS:-ratio,lines,full,sizes}"
