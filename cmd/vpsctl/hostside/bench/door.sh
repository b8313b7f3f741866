# shellcheck shell=sh disable=SC2154,SC2016 # set by the line that is put before; awk words
# Lets one address in to one port, for a time that the host itself keeps. Set
# before: port, seconds, and the addresses as positional arguments. Nothing is
# written to disk: after a reboot the rules are gone, and no timer is needed.
set -eu
if [ "$(id -u)" != 0 ] || ! command -v nft >/dev/null || ! command -v systemd-run >/dev/null; then
	echo "only root opens it, with nft and systemd" >&2
	exit 3
fi
mark=vpsctl-bench-$port
close='nft -a list ruleset | awk -v mark="\"$0\"" '\''
	$1 == "table" { family = $2; table = $3 }
	$1 == "chain" { chain = $2 }
	index($0, "comment " mark) { print "nft delete rule", family, table, chain, "handle", $NF }
'\'' | sh'
if [ "${1-}" = close ]; then
	sh -c "$close" "$mark"
	systemctl stop "$mark.timer" 2>/dev/null || :
	exit 0
fi
# First what closes it, then what opens it.
systemd-run -q --unit="$mark" --collect --on-active="$seconds" --timer-property=AccuracySec=1s /bin/sh -c "$close" "$mark"
# A chain that lets a packet pass does not keep another from dropping it.
nft list chains | awk '
	$1 == "table" { family = $2; table = $3 }
	$1 == "chain" { chain = $2 }
	/type filter hook input/ { print family, table, chain }
' | while read -r family table chain; do
	for addr in "$@"; do
		case $family,$addr in
		ip6,*:* | inet,*:*) nft insert rule "$family" "$table" "$chain" ip6 saddr "$addr" tcp dport "$port" accept comment "\"$mark\"" ;;
		*:*) ;;
		ip,* | inet,*) nft insert rule "$family" "$table" "$chain" ip saddr "$addr" tcp dport "$port" accept comment "\"$mark\"" ;;
		esac
	done
done
