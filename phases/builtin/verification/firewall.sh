#!/bin/sh
# firewall.sh FROM: is this host closed but for SSH and, from there, RDP?
set -eu
export LC_ALL=C.UTF-8
no() {
  echo "$1"
  exit 1
}

if systemctl -q is-active firewalld; then
  no "firewalld guards this host, not ufw: look at it with firewall-cmd --list-all"
fi
[ -x /usr/sbin/ufw ] || no "ufw is not there"
said=$(ufw status verbose)
echo "$said" | grep -qx 'Status: active' || no "the firewall is off"
echo "$said" | grep -qE '^Default: (deny|reject) \(incoming\)' || no "what no rule is about is let in"
systemctl -q is-enabled ufw || no "the firewall will be off after the next boot"
rules=$(ufw show added)
for port in $(/usr/sbin/sshd -T | awk '$1 == "port" { print $2 }'); do
  echo "$rules" | grep -qE "(allow|limit) .*($port([/ ]|\$)|OpenSSH)" || no "no rule lets SSH in on port $port"
done
open=$(echo "$rules" | grep -E 'allow .*3389' || true)
case $1 in
tunnel) [ -z "$open" ] || no "RDP is open to the network: $(echo "$open" | head -n 1)" ;;
*) [ -n "$open" ] || no "no rule lets RDP in" ;;
esac
for jail in sshd vpsctl-xrdp; do
  fail2ban-client status "$jail" >/dev/null 2>&1 || no "fail2ban does not watch $jail"
done
