#!/bin/sh
# shellcheck disable=SC2154 # the phase's variables are in the environment
# firewall.sh possible        is ufw what guards this host?
# firewall.sh set|ask|undo    closed to the outside, but for SSH, what rdp_from
#                             says and what firewall_allow names
#
# Our rules are known by their comments; rules of others stay as they are. Where
# one of those lets SSH in already, its author has decided who may come in.
set -eu
kept=/var/backups/vps-provision/ufw-$run_id
export LC_ALL=C.UTF-8
no() {
  echo "$1"
  exit 1
}

ssh_ports() {
  {
    [ -d /run/sshd ] || mkdir -m 0755 /run/sshd
    /usr/sbin/sshd -T | awk '$1 == "port" { print $2 }'
    ss -Hltnp | awk '/"sshd"/ { sub(/.*:/, "", $4); print $4 }'
    ! systemctl -q is-active ssh.socket || systemctl show -P Listen ssh.socket | sed -n 's/.*:\([0-9]*\) (Stream).*/\1/p'
  } | sort -nu
}

# ufw keeps each rule as a comment of its own file:
#   ### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=HEX
# Ours, one a line, as "protocol port from"; their comments begin with "vpsctl ".
ours() {
  awk '/^### tuple ### allow / && / comment=76707363746c20/ {
    print $5, $6, ($9 == "0.0.0.0/0" || $9 == "::/0" ? "any" : $9) }' /etc/ufw/user.rules /etc/ufw/user6.rules | sort -u
}

# Does a rule of somebody else let in on this port? One for all ports that is
# bound to addresses or an interface does so only with a second word: it says
# nothing about the port.
theirs() {
  awk -v port="$1" -v some="${2-}" '
  function all(net) { return net == "0.0.0.0/0" || net == "::/0" }
  /^### tuple ### (allow|limit)/ && !/ comment=76707363746c20/ && ($5 == "tcp" || $5 == "any") {
    way = $10 ~ /^(in|out)(_|$)/ ? $10 : $12 # names of applications may stand before it
    if (way !~ /^in/) next
    wide = way == "in" && all($7) && $8 == "any" && all($9)
    n = split($6, word, ",")
    for (i = 1; i <= n; i++) {
      m = split(word[i], range, ":")
      if (word[i] == "any" ? some || wide : port + 0 >= range[1] + 0 && port + 0 <= range[m] + 0) found = 1
    }
  }
  END { exit !found }' /etc/ufw/user.rules /etc/ufw/user6.rules
}

# Has somebody else decided who may come in on this port? We came through a
# firewall that is on, lets in by rules alone, and has none of ours.
decided() {
  some=
  ! on || ! denies || ours | grep -qx "tcp $1 any" || some=1
  theirs "$1" "$some"
}

wanted() {
  for port in $(ssh_ports); do
    decided "$port" || echo "tcp $port any"
  done
  case $rdp_from in
  tunnel) ;;
  any) echo "tcp 3389 any" ;;
  *) for from in $rdp_from; do echo "tcp 3389 $from"; done ;;
  esac
  for port in $firewall_allow; do echo "${port#*/} ${port%/*} any"; done
}

# Lines of $1 that are not in $2.
without() {
  printf '%s\n' "$1" | while IFS= read -r line; do
    [ -z "$line" ] || printf '%s\n' "$2" | grep -qxF "$line" || printf '%s\n' "$line"
  done
}

# change [delete] PROTOCOL PORT FROM
change() {
  if [ "$1" = delete ]; then
    ufw --force delete allow proto "$2" from "$4" to any port "$3"
  else
    ufw allow proto "$1" from "$3" to any port "$2" comment "vpsctl rule"
  fi
}

# What listens for others than this host and is let in by no rule.
shut() {
  ss -Hltn | awk '$4 !~ /^(127\.|\[::1\])/ { sub(/.*:/, "", $4); print $4 }' | sort -nu | while read -r port; do
    theirs "$port" some || ours | grep -q "^tcp $port " || printf ' %s' "$port"
  done
}

on() { grep -qx 'ENABLED=yes' /etc/ufw/ufw.conf && iptables -S INPUT 2>/dev/null | grep -q -- '-j ufw-before-input'; }
denies() { grep -qxE 'DEFAULT_INPUT_POLICY="?(DROP|REJECT)"?' /etc/default/ufw; }

case $1 in
possible)
  ! systemctl -q is-active firewalld || no "firewalld guards this host: allow SSH and, if wanted, port 3389 there"
  [ -x /usr/sbin/ufw ] || no "ufw is not there"
  ;;
ask)
  on || no "the firewall is off"
  denies || no "what no rule is about is let in"
  want=$(wanted)
  have=$(ours)
  missing=$(without "$want" "$have" | head -n 1)
  [ -z "$missing" ] || no "there is no rule for $missing"
  extra=$(without "$have" "$want" | head -n 1)
  [ -z "$extra" ] || no "there is still a rule for $extra"
  ;;
set)
  if [ ! -d "$kept" ]; then
    mkdir -p "${kept%/*}"
    temp=$(mktemp -d "$kept-XXXXXX")
    cp -a /etc/default/ufw /etc/ufw/ufw.conf /etc/ufw/user.rules /etc/ufw/user6.rules "$temp/"
    mv "$temp" "$kept"
  fi
  # SSH first: from the moment on that the firewall is on, it lets us in.
  want=$(wanted)
  have=$(ours)
  without "$want" "$have" | while read -r proto port from; do change "$proto" "$port" "$from"; done
  without "$have" "$want" | while read -r proto port from; do change delete "$proto" "$port" "$from"; done
  denies || ufw default deny incoming
  on || ufw --force enable
  closed=$(shut)
  [ -z "$closed" ] || echo "closed to the outside now, though something listens there:$closed (firewall_allow opens ports)"
  ;;
undo)
  [ -d "$kept" ] || exit 0
  if ! grep -qx 'ENABLED=yes' "$kept/ufw.conf"; then ufw --force disable; fi
  cp -a "$kept/ufw.conf" "$kept/user.rules" "$kept/user6.rules" /etc/ufw/
  cp -a "$kept/ufw" /etc/default/ufw
  if grep -qx 'ENABLED=yes' "$kept/ufw.conf"; then ufw reload; fi
  rm -rf "$kept"
  ;;
esac
