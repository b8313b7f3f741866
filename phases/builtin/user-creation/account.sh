#!/bin/sh
# account.sh USER: is the developer user what it shall be?
set -eu
no() {
  echo "$1"
  exit 1
}

entry=$(getent passwd "$1") || no "there is no user $1"
uid=$(echo "$entry" | cut -d: -f3)
home=$(echo "$entry" | cut -d: -f6)
[ "$uid" -ge 1000 ] || no "uid $uid is one of the system's"
[ "$(echo "$entry" | cut -d: -f7)" = /bin/bash ] || no "the shell is not /bin/bash"
[ "$(stat -c %U "$home")" = "$1" ] || no "$home does not belong to $1"
for group in devusers sudo audio video dialout plugdev; do
  id -nG "$1" | tr ' ' '\n' | grep -qxF "$group" || no "not in group $group"
done
