# shellcheck shell=sh disable=SC2154
# $user: what has to be known before somebody logs in by RDP. Lines of "key value".
PATH=$PATH:/usr/sbin:/sbin
getent passwd "$user" >/dev/null || { echo "account missing"; exit 0; }
changed=$(getent shadow "$user" 2>/dev/null | cut -d: -f3)
case $changed in
0) echo "account expired" ;;
*) echo "account ok" ;;
esac
[ "$(ss -Hltn 'sport = :3389' 2>/dev/null)" = "" ] || echo "port open"
file=$(sed -n '/^\[Globals\]/,/^\[[^G]/s/^certificate=//p' /etc/xrdp/xrdp.ini 2>/dev/null)
[ -z "$file" ] || echo "certificate $(openssl x509 -in "$file" -outform DER 2>/dev/null | sha256sum | cut -d' ' -f1)"
