# shellcheck shell=sh disable=SC2154,SC2086 # set by the line that is put before; reverse is a word or none
# The host's own iperf3: "serve" answers one client and ends with its input,
# "ask ADDRESS…" measures with the first address that answers. Set before: port,
# and long, the most seconds it may take; to ask also bytes, streams, reverse.
set -eu
if [ "$1" = serve ]; then
	timeout "$long" iperf3 -s -1 --json -i 0.1 -p "$port" &
	trap 'kill $! 2>/dev/null || :' EXIT
	cat >/dev/null
	exit 0
fi
shift
tries=0
while :; do
	for addr in "$@"; do
		rc=0
		out=$(timeout "$long" iperf3 --json --get-server-output -i 0.1 -c "$addr" -p "$port" --connect-timeout 2000 -n "$bytes" -P "$streams" $reverse) || rc=$?
		case $rc,$out in
		0,* | 124,* | *bits_per_second*)
			printf '%s\n' "$out"
			exit "$rc"
			;;
		esac
	done
	# The server may not listen yet.
	tries=$((tries + 1))
	if [ "$tries" = 5 ]; then
		printf '%s\n' "$out" # why it failed stands there, too
		exit 1
	fi
	sleep 0.2
done
