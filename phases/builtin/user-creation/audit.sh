#!/bin/sh
# audit.sh set|ask|undo: 30 rotated logs of 10 MB in auditd.conf.
set -eu
conf=/etc/audit/auditd.conf
kept=/var/backups/vps-provision/auditd.conf

case $1 in
set)
  [ -e "$kept" ] || install -D -m 0640 "$conf" "$kept"
  sed -i -e 's/^num_logs *=.*/num_logs = 30/' -e 's/^max_log_file *=.*/max_log_file = 10/' \
    -e 's/^max_log_file_action *=.*/max_log_file_action = ROTATE/' "$conf"
  ;;
ask)
  for line in 'num_logs = 30' 'max_log_file = 10' 'max_log_file_action = ROTATE'; do
    grep -qixF "$line" "$conf" || exit 1
  done
  ;;
undo)
  [ ! -e "$kept" ] || mv -f "$kept" "$conf"
  ;;
esac
