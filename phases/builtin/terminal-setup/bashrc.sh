#!/bin/sh
# bashrc.sh add|ask|remove FILE: the block of aliases and prompt in a .bashrc.
#
# The block is known by its first line. What stands below it is its user's to
# change: while that line is there, nothing is written again.
set -eu
LC_ALL=C
export LC_ALL
first='# >>> vpsctl: aliases and prompt; yours to change, not written again while this line is here'
last='# <<< vpsctl: aliases and prompt'
act=$1
file=$(readlink -f "$2") || { echo "$2 leads nowhere"; exit 2; }
if [ -e "$file" ] && { [ ! -f "$file" ] || [ ! -r "$file" ]; }; then
  echo "$file is no file that can be read"
  exit 2
fi

line_of() { [ ! -e "$file" ] || grep -nxF "$1" "$file" | head -n 1 | cut -d: -f1; }

# replace makes FILE what comes in, at once or not at all.
replace() {
  temp=$(mktemp "$file.vpsctl-XXXXXX")
  trap 'rm -f "$temp"' EXIT
  cat >"$temp"
  if [ -e "$file" ]; then
    chmod --reference="$file" "$temp"
    chown --reference="$file" "$temp" 2>/dev/null || true
  else
    chmod 0644 "$temp"
  fi
  mv -f "$temp" "$file"
}

# The empty line before the block also ends a last line that had no end, so
# that remove can give back every byte as it was.
block() {
  [ ! -e "$file" ] || { cat "$file"; echo; }
  echo "$first"
  cat "$PHASE_DIR/bashrc.bash"
  echo "$last"
}

# rest is FILE without its lines $1 to $2.
rest() {
  after=$(tail -n "+$(($2 + 1))" "$file" | head -c 1 | wc -c)
  if [ "$1" -gt 1 ] && { [ "$after" = 0 ] || [ -z "$(sed -n "$(($1 - 1))p" "$file")" ]; }; then
    head -n "$(($1 - 1))" "$file" | head -c -1
  elif [ "$1" -gt 1 ]; then
    head -n "$(($1 - 1))" "$file"
  fi
  tail -n "+$(($2 + 1))" "$file"
}

begin=$(line_of "$first")
case $act in
ask) [ -n "$begin" ] || { echo "$2 has no block of vpsctl"; exit 1; } ;;
add) [ -n "$begin" ] || block | replace ;;
remove)
  [ -n "$begin" ] || exit 0
  end=$(line_of "$last")
  if [ "${end:-0}" -le "$begin" ]; then
    echo "the last line of the block is gone from $2: remove it by hand"
    exit 1
  fi
  rest "$begin" "$end" | replace
  if [ "$begin" = 1 ] && [ ! -s "$file" ]; then
    rm -f "$file"
  fi
  ;;
*)
  echo "usage: bashrc.sh add|ask|remove FILE" >&2
  exit 2
  ;;
esac
