# shellcheck shell=sh disable=SC2154 # set by the line that is put before
# Prints how many seconds ago a provision last wrote into its journal on this
# host, whoever began it; nothing where that is over an hour ago. Set before:
# logs, where root's runs write what everybody may read.
now=$(date +%s)
{
	find /var/lib/vpsctl/runs "$HOME/.local/state/vpsctl/runs" -mindepth 2 -maxdepth 2 -name journal.jsonl -mmin -60 2>/dev/null |
		while read -r journal; do
			! head -n 1 "$journal" | grep -q '"verb":"provision"' || stat -c %Y "$journal"
		done
	# Root's journals are nobody else's: its log was written when a phase ended.
	[ "$(id -u)" = 0 ] || find "$logs/timing.csv" -mmin -60 -exec stat -c %Y {} + 2>/dev/null
} | sort -rn | head -n 1 | while read -r at; do echo $((now - at)); done
