#!/bin/sh
# ide.sh DEVELOPER DISPLAY COOKIE COMMAND…: starts a program as the developer,
# on another account's display, so that nothing of it stays.
#
# Runs as root in a unit of its own, which ends everything that it has started.
# The folders that the program writes to are of a mount namespace that only it
# sees: the developer's home is there as it is, what is written goes to memory.
set -eu
developer=$1 display=$2 cookie=$3
shift 3
if [ "${apart:-}" != yes ]; then
  apart=yes exec unshare --mount --propagation private sh "$0" "$developer" "$display" "$cookie" "$@"
fi

uid=$(id -u "$developer") gid=$(id -g "$developer")
home=$(getent passwd "$developer" | cut -d: -f6)
own=/tmp/vpsctl

# /tmp is new and empty, but for the way to the X server.
sockets=$(dirname "$cookie")/x11
mkdir -p "$sockets"
mount --bind /tmp/.X11-unix "$sockets"
mount -t tmpfs -o mode=1777,size=1g tmpfs /tmp
mkdir /tmp/.X11-unix
mount --move "$sockets" /tmp/.X11-unix
mount -t tmpfs -o mode=1777,size=512m tmpfs /dev/shm

# The home with a layer on top. Without overlayfs, an empty one.
mkdir -m 0700 /tmp/.layer /tmp/.layer/work
install -d -m "$(stat -c %a "$home")" -o "$uid" -g "$gid" /tmp/.layer/home
if ! mount -t overlay -o "lowerdir=$home,upperdir=/tmp/.layer/home,workdir=/tmp/.layer/work" overlay "$home" 2>/dev/null; then
  mount --bind /tmp/.layer/home "$home"
fi

install -d -m 0700 -o "$uid" -g "$gid" "$own" "$own/run"
install -m 0600 -o "$uid" -g "$gid" "$cookie" "$own/cookie"
cd "$home"
# The program may return and leave its window to a child: the bus, and we, stay.
# shellcheck disable=SC2016
exec setpriv --reuid="$uid" --regid="$gid" --init-groups --inh-caps=-all env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 \
  HOME="$home" USER="$developer" LOGNAME="$developer" SHELL=/bin/bash DISPLAY="$display" XAUTHORITY="$own/cookie" XDG_RUNTIME_DIR="$own/run" \
  dbus-run-session -- sh -c '"$@" && exec sleep 600' sh "$@" --user-data-dir="$own/profile"
