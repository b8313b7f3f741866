#!/bin/sh
# firewall.sh possible        is ufw what guards this host?
# firewall.sh set|ask|undo    closed to the outside, but for SSH, what rdp_from
#                             says and what firewall_allow names
#
# Our rules are known by their comments; rules of others stay as they are. Where
# one of those is about SSH already, its author has decided who may come in.
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

added() { ufw show added | sed -n 's/^ufw //p'; }

# The rules there shall be with a comment of ours.
wanted() {
  others=$(added | grep -v " comment 'vpsctl " || true)
  for port in $(ssh_ports); do
    named="(^|[ ,:])$port([ ,:/]|\$)"
    [ "$port" != 22 ] || named="$named|(^| )(OpenSSH|ssh|SSH)( |\$)"
    echo "$others" | grep -qE "$named" || echo "allow $port/tcp comment 'vpsctl SSH'"
  done
  case $rdp_from in
  tunnel) ;;
  any) echo "allow 3389/tcp comment 'vpsctl RDP'" ;;
  *) for from in $rdp_from; do echo "allow from $from to any port 3389 proto tcp comment 'vpsctl RDP'"; done ;;
  esac
  for port in $firewall_allow; do echo "allow $port comment 'vpsctl allowed'"; done
}

ours() { added | grep " comment 'vpsctl " || true; }

# Rules in $1 that are not in $2, one a line.
without() { printf '%s\n' "$1" | while IFS= read -r rule; do printf '%s\n' "$2" | grep -qxF "$rule" || printf '%s\n' "$rule"; done; }

# The rule's words are ours or ufw's own: xargs takes the quotes off.
ufw_do() { printf '%s\n' "$1" | xargs ufw; }

# What listens for others than this host and has no rule.
shut() {
  ss -Hltn | awk '$4 !~ /^(127\.|\[::1\])/ { sub(/.*:/, "", $4); print $4 }' | sort -nu | while read -r port; do
    added | grep -qE "(^|[ ,:])$port([ ,:/]|\$)" || printf ' %s' "$port"
  done
}

case $1 in
possible)
  ! systemctl -q is-active firewalld || no "firewalld guards this host: allow SSH and, if wanted, port 3389 there"
  [ -x /usr/sbin/ufw ] || no "ufw is not there"
  ;;
ask)
  ufw status | grep -qx 'Status: active' || no "the firewall is off"
  grep -qxE 'DEFAULT_INPUT_POLICY="?(DROP|REJECT)"?' /etc/default/ufw || no "what no rule is about is let in"
  want=$(wanted)
  have=$(ours)
  missing=$(without "$want" "$have")
  [ -z "$missing" ] || no "no rule: $(echo "$missing" | head -n 1)"
  extra=$(without "$have" "$want")
  [ -z "$extra" ] || no "not wanted any more: $(echo "$extra" | head -n 1)"
  ;;
set)
  if [ ! -d "$kept" ]; then
    mkdir -p "${kept%/*}"
    temp=$(mktemp -d "$kept-XXXXXX")
    cp -a /etc/default/ufw /etc/ufw/ufw.conf /etc/ufw/user.rules /etc/ufw/user6.rules "$temp/"
    mv "$temp" "$kept"
  fi
  # SSH first: from the first moment on that the firewall is on, it lets us in.
  want=$(wanted)
  have=$(ours)
  without "$want" "$have" | while IFS= read -r rule; do [ -z "$rule" ] || ufw_do "$rule"; done
  without "$have" "$want" | while IFS= read -r rule; do [ -z "$rule" ] || ufw_do "--force delete $rule"; done
  grep -qxE 'DEFAULT_INPUT_POLICY="?(DROP|REJECT)"?' /etc/default/ufw || ufw default deny incoming
  ufw status | grep -qx 'Status: active' || ufw --force enable
  closed=$(shut)
  [ -z "$closed" ] || echo "closed to the outside now, though something listens there:$closed; firewall_allow opens ports"
  ;;
undo)
  [ -d "$kept" ] || exit 0
  ! grep -qx 'ENABLED=no' "$kept/ufw.conf" || ufw --force disable
  cp -a "$kept/ufw.conf" "$kept/user.rules" "$kept/user6.rules" /etc/ufw/
  cp -a "$kept/ufw" /etc/default/ufw
  ! grep -qx 'ENABLED=yes' "$kept/ufw.conf" || ufw reload
  rm -rf "$kept"
  ;;
esac
