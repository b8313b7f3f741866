#!/bin/sh
# ssh.sh try FILE         would sshd start with FILE read before all else?
# ssh.sh holds FILE USER  is every line of FILE what sshd goes by for USER?
set -eu

# sshd wants this folder even for a test; a socket-activated one has none.
[ -d /run/sshd ] || mkdir -m 0755 /run/sshd

case $1 in
try)
  # The first value wins, so what the file says cannot be hidden by the rest.
  cat -- "$2" /etc/ssh/sshd_config | /usr/sbin/sshd -t -f /dev/stdin
  ;;
holds)
  [ -e "$2" ] || { echo "$2 is not there"; exit 1; }
  now=$(/usr/sbin/sshd -T -C "user=$3,host=localhost,addr=127.0.0.1")
  wrong=$(printf '%s\n' "$now" | awk -v file="$2" '
    { name = tolower($1); $1 = ""; have[name] = tolower(substr($0, 2)) }
    END {
      while ((getline line < file) > 0) {
        if (line ~ /^[[:space:]]*(#|$)/) continue
        split(line, word, /[[:space:]]+/)
        name = tolower(word[1]); want = tolower(word[2])
        if (want == "prohibit-password") want = "without-password"
        if (have[name] != want) print word[1] " is " have[name] ", not " want
      }
    }')
  [ -z "$wrong" ] || { echo "$wrong"; exit 1; }
  ;;
*)
  echo "usage: ssh.sh try FILE | holds FILE USER" >&2
  exit 2
  ;;
esac
