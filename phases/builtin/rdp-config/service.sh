#!/bin/sh
# service.sh apply: has xrdp go by its settings.
#
# xrdp reads them for each connection, all but the port. A restart would take
# the session manager along, and people's open desktops with it.
set -eu
wanted=$(sed -n '/^\[Globals\]/,/^\[/s/^port=//p' /etc/xrdp/xrdp.ini)
now=$(ss -Hltn 'sport = :3389' | awk '{ print $4 }')
case $wanted/$now in
3389/'*:3389' | 3389/'0.0.0.0:3389' | 'tcp://.:3389/127.0.0.1:3389') same=yes ;;
*) same='' ;;
esac
if [ "$same" ] && pgrep -x xrdp-sesexec >/dev/null; then
  systemctl reload xrdp-sesman
else
  systemctl restart xrdp
  for _ in $(seq 50); do # it is said to run before it listens
    [ -z "$(ss -Hltn 'sport = :3389')" ] || break
    sleep 0.1
  done
fi
