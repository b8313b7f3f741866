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
# let_in PORT: from where ufw's own rules let in on this TCP port, "any" or an
# address a line. A rule for all ports from some addresses is about no port.
#   ### tuple ### allow tcp 22 0.0.0.0/0 any 203.0.113.0/24 in comment=HEX
let_in() {
  awk -v port="$1" '/^### tuple ### (allow|limit)/ && !/ out(_[^ ]*)?( |$)/ && ($5 == "tcp" || $5 == "any") {
    from = $9 == "0.0.0.0/0" || $9 == "::/0" ? "any" : $9
    n = split($6, word, ",")
    for (i = 1; i <= n; i++) {
      m = split(word[i], range, ":")
      if (word[i] == "any" ? from == "any" : port + 0 >= range[1] + 0 && port + 0 <= range[m] + 0) print from
    }
  }' /etc/ufw/user.rules /etc/ufw/user6.rules | sort -u
}

for port in $(/usr/sbin/sshd -T | awk '$1 == "port" { print $2 }'); do
  [ -n "$(let_in "$port")" ] || no "no rule lets SSH in on port $port"
done
open=$(let_in 3389)
[ "$1" = tunnel ] || for from in $1; do
  echo "$open" | grep -qxF "$from" || no "no rule lets RDP in from $from"
done
[ "$1" = any ] || for from in $open; do
  case " $1 " in
  *" $from "*) ;;
  *) no "RDP is open to $from, which rdp_from does not name: ufw status numbered" ;;
  esac
done
for jail in sshd vpsctl-xrdp; do
  fail2ban-client status "$jail" >/dev/null 2>&1 || no "fail2ban does not watch $jail"
done
