#!/bin/sh
# rdp.sh service    are xrdp and its session manager up, now and after a boot?
# rdp.sh port       does something on 3389 speak RDP, over TLS only, with a
#                   certificate of its own that is valid?
# shellcheck disable=SC2016 # a script for bash
set -eu
no() {
  echo "$1"
  exit 1
}

# The server's answer to a client that can do so much, as hex.
answer() {
  timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/3389 && printf "\3\0\0\23\16\340\0\0\0\0\0\1\0\10\0\\x0$1\0\0\0" >&3 && head -c 19 <&3' bash "$1" 2>/dev/null |
    od -An -v -tx1 | tr -d ' \n'
}

setting() { sed -n '/^\[Globals\]/,/^\[/s/^'"$1"'=//p' /etc/xrdp/xrdp.ini; }

case $1 in
service)
  for unit in xrdp xrdp-sesman; do
    systemctl -q is-active "$unit" || no "$unit is not running"
  done
  systemctl -q is-enabled xrdp || no "xrdp will not be started at the next boot"
  ;;
port)
  tls=$(answer 1)
  [ -n "$tls" ] || no "nothing answers on port 3389"
  case $tls in
  0300001*d0*02??080001000000) ;;
  *) no "port 3389 does not agree to TLS" ;;
  esac
  case $(answer 0) in
  0300001*d0*03??080001000000) ;;
  *) no "clients without TLS are not refused" ;;
  esac
  cert=$(setting certificate)
  key=$(setting key_file)
  case $(readlink -f "$cert") in
  *snakeoil*) no "the certificate is the one Debian makes for everything" ;;
  esac
  openssl x509 -in "$cert" -noout -checkend 86400 >/dev/null || no "the certificate ends today or has ended"
  [ "$(openssl x509 -in "$cert" -noout -pubkey)" = "$(openssl pkey -in "$key" -pubout)" ] || no "key and certificate are no pair"
  [ -z "$(find -L "$key" -perm /007)" ] || no "everybody can read the key"
  ;;
esac
