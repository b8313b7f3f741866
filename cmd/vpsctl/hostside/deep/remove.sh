#!/bin/sh
# remove.sh USER FOLDER: ends all that a throw-away account runs, and what the
# developer runs on its display, and removes it with everything it has.
user=$1 dir=$2
case $user in vpsctl-?*) ;; *) exit 1 ;; esac
# The developer's programs first: they are on this account's display.
systemctl stop "vpsctl-deep-${user#vpsctl-}-ide.service" 2>/dev/null
if uid=$(id -u "$user" 2>/dev/null) && [ "$uid" -ge 1000 ]; then
  usermod --lock --expiredate 1 "$user"
  # The session's own end first: the session manager then removes its sockets.
  pkill -TERM -u "$uid"
  loginctl terminate-user "$user" 2>/dev/null
  n=0
  while pgrep -u "$uid" >/dev/null && [ $n -lt 100 ]; do
    n=$((n + 1))
    [ $n -lt 30 ] || pkill -KILL -u "$uid"
    sleep 0.1
  done
  # Only now is nobody left who could plant something on the way.
  find /tmp /var/tmp /dev/shm -xdev -uid "$uid" -delete 2>/dev/null
  rm -f /var/log/journal/*/user-"$uid"*.journal
  # A process that ends just now still counts as the account's.
  n=0
  until userdel --remove "$user" 2>/dev/null || ! getent passwd "$user" >/dev/null || [ $n -ge 50 ]; do
    n=$((n + 1))
    pkill -KILL -u "$uid"
    sleep 0.2
  done
  rm -rf "/home/${user:?}" "/run/xrdp/sockdir/${uid:?}"
fi
rm -rf "$dir"
