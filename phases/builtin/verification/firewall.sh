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
# let_in PORT [some]: from where ufw's own rules let in on this TCP port from
# outside, "any" or an address a line. A rule for all ports that is bound to
# addresses or an interface is about no port, and one for an interface that leads
# to no other network is not about the outside; with a second word they count.
#   ### tuple ### allow tcp 22 0.0.0.0/0 any 203.0.113.0/24 in comment=HEX
let_in() {
  awk -v port="$1" -v some="${2-}" -v public=" $public " '
  function all(net) { return net == "0.0.0.0/0" || net == "::/0" }
  /^### tuple ### (allow|limit)/ && ($5 == "tcp" || $5 == "any") {
    way = $10 ~ /^(in|out)(_|$)/ ? $10 : $12 # names of applications may stand before it
    if (way !~ /^in/) next
    outside = $8 == "any" && (way == "in" || index(public, " " substr(way, 4) " "))
    from = all($9) ? "any" : $9
    n = split($6, word, ",")
    for (i = 1; i <= n; i++) {
      m = split(word[i], range, ":")
      about = word[i] == "any" ? from == "any" && all($7) : port + 0 >= range[1] + 0 && port + 0 <= range[m] + 0
      if (some ? word[i] == "any" || about : outside && about) print from
    }
  }' /etc/ufw/user.rules /etc/ufw/user6.rules | sort -u
}

# inside NETWORK NETWORKS: are all its addresses in one of these? Of IPv6, only
# what is written alike.
inside() {
  awk -v a="$1" -v list="$2" '
  function number(ip, part) { return split(ip, part, ".") == 4 ? ((part[1] * 256 + part[2]) * 256 + part[3]) * 256 + part[4] : -1 }
  function bits(net) { return net ~ "/" ? substr(net, index(net, "/") + 1) + 0 : 32 }
  BEGIN {
    n = split(list, b, " ")
    for (i = 1; i <= n; i++) {
      if (a == b[i]) exit 0
      x = number(a); y = number(b[i]); size = 2 ^ (32 - bits(b[i]))
      if (x >= 0 && y >= 0 && bits(a) >= bits(b[i]) && int(x / size) == int(y / size)) exit 0
    }
    exit 1
  }'
}

public=$({ ip -4 route show default; ip -6 route show default; } | sed -n 's/.* dev \([^ ]*\).*/\1/p' | tr '\n' ' ')
for port in $(/usr/sbin/sshd -T | awk '$1 == "port" { print $2 }'); do
  [ -n "$(let_in "$port" some)" ] || no "no rule lets SSH in on port $port"
done
open=$(let_in 3389)
[ "$1" = tunnel ] || for from in $1; do
  echo "$open" | grep -qxF "$from" || no "no rule lets RDP in from $from"
done
[ "$1" = any ] || for from in $open; do
  inside "$from" "$1" || no "RDP is open to $from, which rdp_from does not name: ufw status numbered"
done
for jail in sshd vpsctl-xrdp; do
  fail2ban-client status "$jail" >/dev/null 2>&1 || no "fail2ban does not watch $jail"
done
