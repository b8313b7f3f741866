#!/bin/sh
# git.sh set|ask|unset FILE [USER]: the settings in FILE, lines of "key value",
# in the git configuration of whoever runs this, or of USER when root does.
#
# A setting that is there already is its user's own, whatever its value. Ours
# end in the comment "# vpsctl", by which unset tells them.
set -eu
if [ $# -gt 2 ]; then
  home=$(getent passwd "$3" | cut -d: -f6)
  exec runuser -u "$3" -- env HOME="$home" sh "$0" "$1" "$2"
fi
config=$HOME/.gitconfig
[ -e "$config" ] || [ ! -e "$HOME/.config/git/config" ] || config=$HOME/.config/git/config

has() {
  rc=0
  git config --global --includes --get "$key" >/dev/null || rc=$?
  [ "$rc" -le 1 ] || { echo "$config cannot be read"; exit 2; }
  return "$rc"
}

ours() { grep -qiE "^[[:space:]]*${key##*.} = .*[[:space:]]#[[:space:]]*vpsctl\$" "$config" 2>/dev/null; }

while read -r key value; do
  case $1/$key in
  */ | */'#'*) ;;
  set/*) has || git config --global --comment vpsctl "$key" "$value" ;;
  ask/*) has || { echo "$key is not set"; exit 1; } ;;
  unset/*) ! ours || git config --global --fixed-value --unset "$key" "$value" || [ $? = 5 ] ;;
  esac
done <"$2"
if [ "$1" = unset ] && [ -f "$config" ] && [ ! -s "$config" ]; then
  rm -f "$config"
fi
