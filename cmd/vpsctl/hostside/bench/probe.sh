#!/bin/sh
# Unpacks the prober where programs may run and becomes it; the prober removes
# its own file as soon as it runs. Arguments: its hash, then its own.
set -eu
sum=$1
shift
dir=/var/lib/vpsctl
if ! [ -w "$dir" ]; then
	dir=$HOME/.local/state/vpsctl
	mkdir -p "$dir" 2>/dev/null || dir=/var/tmp # accounts without a home
fi
# The host is ours alone while this runs: another one's file is what a kill left.
rm -f "$dir"/prober.???????? 2>/dev/null || : # in /var/tmp they may be others'
file=$(mktemp "$dir/prober.XXXXXXXX")
trap 'rm -f "$file"' EXIT
gzip -dc <"$PHASE_DIR/prober.gz" >"$file"
case $(sha256sum <"$file") in
"$sum "*) ;;
*)
	echo "the prober did not arrive whole" >&2
	exit 1
	;;
esac
chmod 700 "$file"
exec "$file" --remove-me measure --dir "${BENCH_DIR:-$dir}" "$@"
