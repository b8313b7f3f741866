#!/usr/bin/env bash
# The demo: two real Debian 13 lab hosts become workstations over SSH, then the
# same again. The IDEs come from stand-ins of their makers that the lab serves.
# The hosts are stopped at the end; KEEP=1 leaves them running.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=.lab-demo
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo --preserve-env=PATH,HOME,GOPROXY,GOFLAGS"

make --no-print-directory lab-build LAB_DIR="$dir" >/dev/null
go build -o "$dir/vendors" ./e2e/vendors/serve
vendors=""
cleanup() {
	[ -z "$vendors" ] || { kill "$vendors" 2>/dev/null && wait "$vendors"; } || true
	[ -n "${KEEP:-}" ] || $sudo "$dir/lab" down -dir "$dir"
}
trap cleanup EXIT
say() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }

say "1. Two Debian 13 hosts boot"
$sudo "$dir/lab" down -dir "$dir" >/dev/null 2>&1 || true
$sudo "$dir/lab" up -dir "$dir" -n 2
[ -z "$sudo" ] || $sudo chown -R "$(id -u):$(id -g)" "$dir"/{inventory.yaml,known_hosts,id_ed25519}*
rm -f "$dir/vendors.args"
$sudo "$dir/vendors" -dir "$dir" >"$dir/vendors.log" 2>&1 &
vendors=$!
until [ -s "$dir/vendors.args" ]; do
	kill -0 "$vendors" 2>/dev/null || { cat "$dir/vendors.log" >&2; exit 1; }
	sleep 0.2
done
mapfile -t makers <"$dir/vendors.args"

vps() { local verb=$1; shift; bin/vpsctl "$verb" -i "$dir/inventory.yaml" --state-dir "$dir/state" "$@"; }

say "2. vpsctl provision -i $dir/inventory.yaml"
vps provision --known-hosts "$dir/known_hosts" --sample-interval 1s "${makers[@]}"

say "3. The same again: nothing is left to do"
vps provision --known-hosts "$dir/known_hosts" --sample-interval 1s "${makers[@]}"

say "4. The first run's report, made from its record"
first=$(bin/vpsctl runs list --state-dir "$dir/state" -o json | grep -o '"id": *"[^"]*"' | tail -n 1 | cut -d'"' -f4) || first=""
bin/vpsctl report --state-dir "$dir/state" ${first:+"$first"}

say "Records"
find "$dir/state/runs" -type f | sort
