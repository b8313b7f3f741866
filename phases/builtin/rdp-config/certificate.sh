#!/bin/sh
# certificate.sh make HOST ADDRESS   a pair of our own for xrdp, for ten years
# certificate.sh ask                 is it there, whole, and good for 30 days?
# certificate.sh remove
#
# Who has connected once knows the certificate: it is made anew only when it
# has to be.
set -eu
cert=/etc/xrdp/vpsctl-cert.pem
key=/etc/xrdp/vpsctl-key.pem
no() {
  echo "$1"
  exit 1
}

case $1 in
make)
  name=$(hostname -f 2>/dev/null) || name=$(hostname)
  names="DNS:$name,DNS:localhost,IP:127.0.0.1,IP:::1"
  case $2 in
  "$name" | *[!A-Za-z0-9.-]*) ;;
  *) names="$names,DNS:$2" ;;
  esac
  case $3 in
  '') ;;
  *:*) names="$names,IP:$3" ;;
  *[!A-Za-z0-9.-]*) ;;
  *[!0-9.]*) names="$names,DNS:$3" ;;
  *) names="$names,IP:$3" ;;
  esac
  umask 077
  temp=$(mktemp -d /etc/xrdp/vpsctl-XXXXXX)
  trap 'rm -rf "$temp"' EXIT
  # A name in a certificate has 64 letters at the most.
  openssl req -x509 -newkey rsa:4096 -nodes -sha256 -days 3650 -subj "/CN=$(printf %.64s "$name")" \
    -addext "subjectAltName=$names" -addext 'extendedKeyUsage=serverAuth' \
    -keyout "$temp/key" -out "$temp/cert" 2>"$temp/said" || { cat "$temp/said" >&2; exit 2; }
  chgrp xrdp "$temp/key"
  chmod 0640 "$temp/key"
  chmod 0644 "$temp/cert"
  mv -f "$temp/key" "$key"
  mv -f "$temp/cert" "$cert"
  ;;
ask)
  [ -f "$cert" ] || no "xrdp has no certificate of its own"
  [ -f "$key" ] || no "the key of xrdp's certificate is not there"
  [ "$(stat -c '%U:%G %a' "$key")" = 'root:xrdp 640' ] || no "$key is $(stat -c '%U:%G %a' "$key"), not root:xrdp 640"
  openssl x509 -in "$cert" -noout -checkend 2592000 >/dev/null 2>&1 || no "the certificate ends within 30 days"
  [ "$(openssl x509 -in "$cert" -noout -pubkey 2>/dev/null)" = "$(openssl pkey -in "$key" -pubout 2>/dev/null)" ] ||
    no "certificate and key do not belong together"
  ;;
remove)
  rm -f "$cert" "$key"
  ;;
esac
