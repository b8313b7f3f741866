#!/bin/sh
# ide.sh COMMAND LAUNCHER: can this user start the IDE, from a shell and from
# the menu? It is asked for its version, which loads it without a window.
set -eu
no() {
  echo "$1"
  exit 1
}

command -v "$1" >/dev/null || no "there is no command $1"
launcher=/usr/share/applications/$2.desktop
[ -s "$launcher" ] || no "the menu does not have it: no $launcher"
program=$(sed -n 's/^Exec=\([^ ]*\).*/\1/p' "$launcher" | head -n 1)
command -v "$program" >/dev/null || no "the menu starts $program, which is not there"
said=$(timeout 30 "$1" --version 2>&1 </dev/null) || no "$1 does not start: $(printf '%s' "$said" | tail -n 1)"
printf '%s' "$said" | grep -q '[0-9]' || no "$1 does not tell its version"
