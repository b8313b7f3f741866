# shellcheck shell=sh
# What a host is like before a plan runs there. It changes nothing, writes
# nothing but what it fetches into a folder in memory, and prints lines of
# words with tabs between them, the last of them "end". The input says what the
# plan needs: "apt" when it installs packages, "index URI SUITE", "url URL",
# "port N".
say() {
  line=$1
  shift
  for word; do line="$line	$(printf %s "$word" | tr '\t\n\r' '   ' | cut -c1-400)"; done
  printf '%s\n' "$line"
}
printf 'time\t%s\n' "$(date +%s.%N)"

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL=C
command -v timeout >/dev/null || timeout() { shift; "$@"; }
for place in /run /dev/shm /tmp; do
  temp=$(mktemp -d "$place/vpsctl-preflight.XXXXXX" 2>/dev/null) && break
done
trap 'rm -rf "${temp:-/nonexistent}"' EXIT
trap 'exit 1' HUP INT TERM

# machine: who we are there, and what it is.
machine() {
  sudo=no
  [ "$(id -u)" = 0 ] || ! sudo -n true >/dev/null 2>&1 || sudo=yes
  say who "$(id -u)" "$(id -un)" "$sudo"
  # shellcheck source=/dev/null
  say os "$(. /etc/os-release && echo "$ID-$VERSION_ID")" "$(uname -m)"
  awk '$1 == "MemTotal:" { total = $2 } $1 == "MemAvailable:" { avail = $2 }
    END { printf "memory\t%d\t%d\n", total / 1024, avail / 1024 }' /proc/meminfo
}

# room: of the file system a folder is on, or will be on once it is made.
room() {
  at=$1
  while [ ! -e "$at" ]; do at=$(dirname "$at"); done
  free=$(df -Pk "$at" | awk 'NR == 2 { printf "%d\t%s", $4 / 1024, $6 }')
  inodes=$(df -Pi "$at" 2>/dev/null | awk 'NR == 2 && $2 > 0 { print int($4) }')
  mount=${free#*	}
  options=$(awk -v at="$mount" '$2 == at { o = $4 } END { print o }' /proc/mounts | tr , '\n' | grep -xE 'ro|noexec' | paste -sd, -)
  say room "$1" "$mount" "${free%%	*}" "${inodes:--}" "$options"
}

# named is a process as people know it: pid 812 unattended-upgr (x.service).
named() {
  case $1 in '' | 0 | -*) echo "a process that the kernel does not name" && return ;; esac
  unit=$(tr / '\n' <"/proc/$1/cgroup" 2>/dev/null | grep -E '\.(service|scope)$' | head -n 1)
  echo "pid $1 $(cat "/proc/$1/comm" 2>/dev/null)${unit:+ ($unit)}"
}

# held: the locks of apt and dpkg that somebody has.
held() {
  for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock /var/lib/apt/daily_lock; do
    inode=$(stat -c %i "$file" 2>/dev/null) || continue
    pid=$(awk -v inode="$inode" '$2 != "->" { n = split($6, at, ":"); if (at[n] == inode) { print $5; exit } }' /proc/locks)
    [ -z "$pid" ] || say lock "$file" "$(named "$pid")"
  done
}

# current: the run of vpsctl that goes on here, by its lock.
current() {
  lock=/run/lock/vpsctl
  [ "$(id -u)" = 0 ] || lock=$HOME/.local/state/vpsctl/lock
  [ -f "$lock" ] || return 0
  pid=$(sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' "$lock" 2>/dev/null | head -n 1)
  inode=$(stat -c %i "$lock")
  awk -v inode="$inode" -v pid="$pid" '$2 == "FLOCK" && $5 == pid { n = split($6, at, ":"); if (at[n] == inode) found = 1 }
    END { exit !found }' /proc/locks || return 0
  say run "$(head -c 1000 "$lock")"
}

port() {
  hex=$(printf ':%04X' "$1")
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' ||
    { say port "$1" free; return; }
  who=$(ss -Hltnp "sport = :$1" 2>/dev/null | grep -o '(("[^"]*"' | cut -d'"' -f2 | sort -u | paste -sd, -)
  say port "$1" taken "$who"
}

# fetched: has a URL an answer? Its first byte is enough.
fetched() {
  said=$2.said
  if [ -x /usr/lib/apt/apt-helper ]; then
    timeout 20 /usr/lib/apt/apt-helper -o Acquire::Retries=0 -o Acquire::http::Timeout=8 -o Acquire::https::Timeout=8 \
      download-file "$1" "$2" >"$said" 2>&1 &
    helper=$!
    while kill -0 "$helper" 2>/dev/null; do
      if [ -s "$2" ]; then
        kill "$helper" 2>/dev/null
        wait "$helper" 2>/dev/null
        return 0
      fi
      sleep 0.1
    done
    wait "$helper"
  elif command -v curl >/dev/null; then
    timeout 20 curl -sSfL -o /dev/null -r 0-0 --connect-timeout 8 "$1" >"$said" 2>&1
  elif command -v wget >/dev/null; then
    timeout 20 wget -q --spider -T 8 -t 1 "$1" >"$said" 2>&1
  else
    echo "neither apt-helper, curl nor wget is there to ask with" >"$said"
    return 1
  fi
}

# why is the best line of what a failed fetch said.
why() {
  text=$(grep -E '^(E:|curl|wget)' "$1" 2>/dev/null | head -n 1 | sed -e 's/^E: *//' -e 's/^Failed to fetch [^ ]* *//')
  echo "${text:-no answer within 20 s}"
}

# url KIND NAME URL…: one of the URLs has to answer.
url() {
  kind=$1 name=$2
  shift 2
  n=0
  for u; do
    n=$((n + 1))
    file=$temp/$(printf '%s %s' "$kind" "$u" | cksum | tr ' ' -).$n
    if fetched "$u" "$file"; then
      say "$kind" "$name" ok
      return
    fi
    grep -q 404 "$file.said" || break
  done
  say "$kind" "$name" no "$(why "$file.said")"
}

# index KIND URI SUITE: the release file of an archive of packages.
index() {
  base=${2#mirror+}
  case $base in http://* | https://*) ;; *) return 0 ;; esac
  resolve "$base" &
  case $3 in */) at=${base%/}/$3 ;; *) at=${base%/}/dists/$3/ ;; esac
  case $2 in
  mirror+*) url "$1" "$2 $3" "$base" ;;
  *) url "$1" "$2 $3" "${at}InRelease" "${at}Release" ;;
  esac
  wait
}

resolve() {
  name=$(printf %s "$1" | sed -e 's|^[a-z]*://||' -e 's|/.*||' -e 's|.*@||' -e 's|:[0-9]*$||' -e 's|^\[||' -e 's|\]$||')
  if timeout 10 getent ahosts "$name" >/dev/null 2>&1; then say name "$name" ok; else say name "$name" no; fi
}

# sources are the archives that the host's own apt goes to.
sources() {
  command -v apt-get >/dev/null || { say apt no; return; }
  say apt yes "$(dpkg --audit 2>&1 | head -n 1)"
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Identifier: Packages' 2>"$temp/sources" | sort -u | head -n 40 >"$temp/own"
  [ ! -s "$temp/sources" ] || say sources "$(grep '^E:' "$temp/sources" | head -n 1)"
  while read -r uri suite; do index own "$uri" "$suite" & done <"$temp/own"
  wait
}

machine
state=/var/lib/vpsctl
[ "$(id -u)" = 0 ] || state=$HOME/.local/state/vpsctl
for folder in / "$state" /var/cache/apt/archives /var/lib/dpkg /var/log /tmp /run; do room "$folder"; done
held
current
say cloud "$(cloud_init)"
if [ -z "$temp" ]; then
  say nowhere
else
  while read -r what a b; do
    case $what in
    apt) sources & ;;
    index) index plan "$a" "$b" & ;;
    url) { resolve "$a" & url link "$a" "$a"; wait; } & ;;
    port) port "$a" ;;
    esac
  done
  wait
fi
printf 'end\n'
