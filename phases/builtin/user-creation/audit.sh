#!/bin/sh
# audit.sh possible       does this host's kernel audit for it?
# audit.sh set|ask|undo   30 rotated logs of 10 MB in auditd.conf
set -eu
root=${VPSCTL_ROOT-}
conf=$root/etc/audit/auditd.conf
kept=$root/var/backups/vps-provision/auditd.conf

case $1 in
possible)
  if systemd-detect-virt -cq; then
    echo "the kernel does not audit for a container"
    exit 1
  fi
  [ -e "$root/proc/self/loginuid" ] || { echo "the kernel was built without audit"; exit 1; }
  ! grep -qE '(^| )audit=(0|off)( |$)' "$root/proc/cmdline" || { echo "the kernel was started with audit=0"; exit 1; }
  ;;
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
