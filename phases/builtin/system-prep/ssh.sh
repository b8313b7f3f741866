#!/bin/sh
# ssh.sh FILE USER: is every line of FILE what sshd goes by when USER logs in?
set -eu

[ -e "$1" ] || { echo "$1 is not there"; exit 1; }
[ -d /run/sshd ] || mkdir -m 0755 /run/sshd
now=$(/usr/sbin/sshd -T -C "user=$2,host=localhost,addr=127.0.0.1")
wrong=$(printf '%s\n' "$now" | awk -v file="$1" '
  { name = tolower($1); $1 = ""; have[name] = tolower(substr($0, 2)) }
  END {
    while ((getline line < file) > 0) {
      if (line ~ /^[[:space:]]*(#|$)/) continue
      split(line, word, /[[:space:]]+/)
      name = tolower(word[1]); want = tolower(word[2])
      if (have[name] != want) print word[1] " is " have[name] ", not " want
    }
  }')
[ -z "$wrong" ] || { echo "$wrong"; exit 1; }
