#!/bin/sh
# sources.sh rest [ask]  puts the host's own entries for Debian's main archive
#                        to rest, because a mirror serves it; security and the
#                        sources of others are left as they are
# sources.sh ''   [ask]  wakes them again
# sources.sh             does what fits: rest where our mirror's file is
# With ask nothing is changed: exit code 1 says that something would be.
#
# A line that is changed is kept as a comment behind "#vpsctl#", and the line
# after it is what replaces it.
set -eu
dir=${VPSCTL_APT:-/etc/apt}
mirror=$dir/sources.list.d/vpsctl-mirror.sources

if [ $# -eq 0 ]; then
  mode=''
  [ ! -e "$mirror" ] || mode=rest
else
  mode=$1
fi
ask=${2-}

wake() {
  awk '/^#vpsctl#/ {
    was = substr($0, 10)
    getline
    if (was != "") print was
    next
  }
  { print }' "$1"
}

# One line per entry: deb [options] uri suite component…
rest_list() {
  awk '
  function ours(line,   options, word, n, i) {
    options = ""
    if (match(line, /\[[^]]*\]/)) {
      options = substr(line, RSTART, RLENGTH)
      line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
    }
    if (options ~ /signed-by=/ && options !~ /debian-archive/) return 0
    n = split(line, word)
    if (n < 4 || word[1] !~ /^deb(-src)?$/ || word[3] !~ /^(trixie|stable)(-updates)?$/) return 0
    for (i = 4; i <= n; i++)
      if (word[i] ~ /^#/) break
      else if (word[i] !~ /^(main|contrib|non-free|non-free-firmware)$/) return 0
    return 1
  }
  ours($0) { print "#vpsctl# " $0; print "# rests while apt_mirror is set"; next }
  { print }' "$1"
}

# Paragraphs of fields. One that has other suites as well keeps those.
rest_sources() {
  awk '
  function flush(   i, word, n, mine, others) {
    mine = 0; others = ""
    if (open && debian) {
      n = split(suites, word)
      for (i = 1; i <= n; i++)
        if (word[i] ~ /^(trixie|stable)(-updates)?$/) mine++
        else others = others " " word[i]
    }
    if (mine && others == "") { print "#vpsctl#"; print "Enabled: no" }
    for (i = 1; i <= count; i++)
      if (mine && others != "" && i == suitesAt) { print "#vpsctl# " text[i]; print "Suites:" others }
      else print text[i]
    count = 0; suites = ""; suitesAt = 0; open = 1; debian = 1; field = ""
  }
  BEGIN { open = 1; debian = 1 }
  /^[[:space:]]*$/ { flush(); print; next }
  {
    text[++count] = $0
    if ($0 ~ /^#/) next
    value = $0
    if ($0 ~ /^[^[:space:]]/) {
      field = tolower($0); sub(/:.*/, "", field)
      sub(/^[^:]*:[[:space:]]*/, "", value)
      if (field == "suites") suitesAt = count
    }
    if (field == "suites") suites = suites " " value
    if (field == "enabled" && tolower(value) ~ /^(no|false|0|off)/) open = 0
    if (field == "signed-by" && value != "" && value !~ /debian-archive/) debian = 0
    if (field == "components") {
      n = split(value, word)
      for (i = 1; i <= n; i++) if (word[i] !~ /^(main|contrib|non-free|non-free-firmware)$/) debian = 0
    }
  }
  END { flush() }' "$1"
}

change() {
  file=$1
  [ -f "$file" ] || return 0
  case $mode/$file in
  rest/*.list) new=$(rest_list "$file" && echo .) ;;
  rest/*) new=$(rest_sources "$file" && echo .) ;;
  *) new=$(wake "$file" && echo .) ;;
  esac
  [ "$new" != "$(cat "$file" && echo .)" ] || return 0
  if [ "$ask" = ask ]; then
    echo "$file has entries to ${mode:-wake}"
    exit 1
  fi
  temp=$(mktemp "$file.vpsctl-XXXXXX")
  printf %s "${new%.}" >"$temp"
  chmod --reference="$file" "$temp"
  chown --reference="$file" "$temp"
  mv -f "$temp" "$file"
}

change "$dir/sources.list"
for f in "$dir"/sources.list.d/*.list "$dir"/sources.list.d/*.sources; do
  [ "$f" = "$mirror" ] || change "$f"
done
