#!/bin/sh
# backup.sh keep|kept|drop NAME [FILE]: a copy of FILE, or of the .bashrc of
# the user NAME, as it is before our block comes into it, below
# /var/vps-provision/backups/bashrc/NAME.<time>.
#
# A user's file is read with that user's rights: root must not follow a link
# that the user has made of it.
set -eu
dir=${VPSCTL_BACKUPS:-/var/vps-provision/backups/bashrc}
name=$2
if [ $# -gt 2 ]; then
  file=$3
  reader() { "$@"; }
else
  home=$(getent passwd "$name" | cut -d: -f6)
  file=$home/.bashrc
  reader() { runuser -u "$name" -- "$@"; }
fi

newest() { find "$dir" -maxdepth 1 -type f -name "$name.[0-9]*" 2>/dev/null | sort | tail -n 1; }

same() { [ -n "$1" ] && reader cat "$file" | cmp -s - "$1"; }

reader test -f "$file" || exit 0
case $1 in
keep)
  mkdir -p "${dir%/*}"
  [ -d "$dir" ] || mkdir -m 0700 "$dir"
  umask 077
  copy=$dir/$name.$(date -u +%Y%m%d-%H%M%S)
  reader cat "$file" >"$copy.new" || { rm -f "$copy.new"; exit 1; }
  mv -f "$copy.new" "$copy"
  ;;
kept)
  ! reader grep -q '^# >>> vpsctl: aliases and prompt' "$file" || exit 0
  same "$(newest)" || { echo "there is no copy of $file as it is"; exit 1; }
  ;;
drop)
  copy=$(newest)
  ! same "$copy" || rm -f "$copy"
  rmdir -p "$dir" 2>/dev/null || true
  ;;
esac
