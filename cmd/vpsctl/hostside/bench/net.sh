# shellcheck shell=sh disable=SC2154 # set by the line that is put before
# Takes the prober, gzipped, from the first bytes of its input, and becomes it;
# the rest of the input is the prober's. Set before: len, sum, and the
# positional arguments, the prober's own.
set -eu
umask 077
dir=/var/lib/vpsctl
if ! [ -w "$dir" ]; then
	dir=$HOME/.local/state/vpsctl
	mkdir -p "$dir" 2>/dev/null || dir=/var/tmp # accounts without a home
fi
file=$(mktemp "$dir/prober.XXXXXXXX")
trap 'rm -f "$file"' EXIT
head -c "$len" | gzip -dc >"$file"
case $(sha256sum <"$file") in
"$sum "*) ;;
*)
	echo "the prober did not arrive whole" >&2
	exit 1
	;;
esac
chmod 700 "$file"
exec "$file" --remove-me "$@"
