#!/bin/sh
# autostart.sh hide|ask|show NAME…: programs that sessions do not start by
# themselves. Their files stay; a line of ours at their end hides them.
set -eu
mode=$1
shift
line='Hidden=true'
for name; do
  file=${VPSCTL_XDG:-/etc/xdg}/autostart/$name.desktop
  [ -f "$file" ] || continue
  case $mode in
  hide) grep -qx "$line" "$file" || sed -i "0,/^\[Desktop Entry\]/s//&\n# vpsctl\n$line/" "$file" ;;
  ask) grep -qx "$line" "$file" || { echo "sessions start $name"; exit 1; } ;;
  show) sed -i "/^# vpsctl\$/{N;d}" "$file" ;;
  esac
done
