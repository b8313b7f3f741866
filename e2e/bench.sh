#!/usr/bin/env bash
# The benchmark: vpsctl against a minimal SSH program on N lab hosts, and what the collector costs. Long; wants a quiet
# machine. PAGE= (empty) only prints.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo --preserve-env=PATH,HOME"

make --no-print-directory lab-deps >/dev/null
if [ -n "${PEERS:-}" ]; then
	go build -o bin/vpsctl-bench ./e2e/bench
	exec $sudo bin/vpsctl-bench -vpsctl bin/vpsctl -peers -rounds "${ROUNDS:-5}" -page "${PAGE-docs/benchmarks.md}"
fi
[ -x /usr/lib/sysstat/sadc ] || $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends sysstat >/dev/null
go build -o bin/vpsctl-bench ./e2e/bench
$sudo bin/vpsctl-bench -vpsctl bin/vpsctl -n "${N:-20}" -rounds "${ROUNDS:-9}" -page "${PAGE-docs/benchmarks.md}"
