#!/bin/sh
# ide.sh set|ask|unset ROOT, ide.sh works COMMAND LAUNCHER ROOT PROGRAM: an IDE
# made like VS Code, whose files lie in the folder ROOT.
#
# set, ask and unset are about the settings of whoever runs this: no telemetry,
# no crash reports, no updates by itself, and no graphics card, which an RDP
# session has none of. A file that is there already is its user's own, and so is
# what a user makes of ours; unset removes only what nobody has changed.
set -eu
umask 077

# What the IDE calls its folders; it says so itself.
named() {
  name=$(grep -o "\"$1\": *\"[^\"]*\"" "$root/resources/app/product.json" | head -n 1 | cut -d '"' -f 4)
  case $name in
  '' | . | .. | *[!A-Za-z0-9._\ -]*) echo "$root/resources/app/product.json does not tell its $1"; exit 2 ;;
  esac
  echo "$name"
}

settings() {
  cat <<'JSON'
{
    "telemetry.telemetryLevel": "off",
    "update.mode": "manual",
    "extensions.autoUpdate": false,
    "extensions.autoCheckUpdates": false
}
JSON
}

switches() {
  cat <<'JSON'
{
    "enable-crash-reporter": false,
    "disable-hardware-acceleration": true
}
JSON
}

# each VERB: for both files, in the user's home.
each() {
  user=$HOME/.config/$(named nameShort)
  own=$HOME/$(named dataFolderName)
  "$1" "$user/User/settings.json" settings
  "$1" "$own/argv.json" switches
}

make() {
  [ -e "$1" ] || [ -L "$1" ] || {
    mkdir -p "${1%/*}"
    "$2" >"$1.vpsctl" && mv "$1.vpsctl" "$1"
  }
}

there() { [ -e "$1" ] || [ -L "$1" ] || { echo "$1 is not there"; exit 1; }; }

unmake() {
  [ -f "$1" ] && "$2" | cmp -s - "$1" || return 0
  rm -f "$1"
  folder=${1%/*}
  while [ "$folder" != "$HOME" ] && rmdir "$folder" 2>/dev/null; do folder=${folder%/*}; done
}

bad() { echo "$*"; exit 1; }

# Not by starting it, which takes a screen: what has to be there, and all that
# the system has to bring along for it.
works() {
  path=$(command -v "$1") || bad "there is no command $1"
  [ -x "$(readlink -f "$path")" ] || bad "$path leads nowhere"
  [ -s "$2" ] || bad "there is no launcher $2"
  exe=$(sed -n 's/^Exec=//p' "$2" | head -n 1)
  [ -x "${exe%% *}" ] || bad "the launcher $2 starts ${exe%% *}, which is not there"
  [ -x "$3/$4" ] || bad "there is no program $3/$4"
  [ "$(stat -c '%a %U' "$3/chrome-sandbox")" = "4755 root" ] || bad "$3/chrome-sandbox does not belong to root with mode 4755"
  missing=$(ldd "$3/$4" 2>/dev/null | awk '/=> not found/ { print $1 }' | tr '\n' ' ')
  [ -z "$missing" ] || bad "$3/$4 misses $missing"
}

verb=$1
shift
case $verb in
set) root=$1 && each make ;;
ask) root=$1 && each there ;;
unset) root=$1 && { [ ! -e "$root/resources/app/product.json" ] || each unmake; } ;;
works) works "$@" ;;
*) exit 2 ;;
esac
