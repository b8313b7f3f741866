#!/bin/sh
# deep.sh ID DEVELOPER [IDE…]: the workstation, used. Opens a desktop session
# as a throw-away account, from its password to its panel, comes back to it, and
# starts each IDE there as the developer, until its window is on the screen.
#
# Each finding is a line "deep: NAME ok|err SECONDS WORDS". Exits 1 when one was
# err. What was made is removed by a unit of its own: at our end, however it
# comes, and by a timer when we have no end.
# shellcheck disable=SC2016,SC2317 # scripts for other shells; functions called by name
set -u
export LC_ALL=C.UTF-8
id=$1 developer=$2
shift 2
user=vpsctl-$id
unit=vpsctl-deep-$id
dir=/run/$unit
wait=60000 # milliseconds for a session or a window
bad=0

now() { date +%s%3N; }
say() {
  [ "$2" = ok ] || bad=1
  echo "deep: $*"
}
# Seconds since $1, as 1.234.
since() { awk -v ms=$(($(now) - $1)) 'BEGIN { printf "%.3f", ms / 1000 }'; }

remove() {
  trap '' INT TERM HUP
  systemctl -q stop "$unit.timer" 2>/dev/null
  systemd-run --quiet --collect --wait --unit="$unit-end" sh "$dir/remove.sh" "$user" "$dir" 2>/dev/null
  if getent passwd "$user" >/dev/null || [ -e "/home/$user" ]; then
    say removed err - "the account $user could not be removed: userdel -r $user"
  else
    say removed ok - "the throw-away account and its session are gone"
  fi
}

# What an earlier one left that lost its power in the middle.
sweep() {
  getent passwd | awk -F: '$5 == "vpsctl verify --deep" { print $1 }' | while read -r old; do
    systemctl -q is-active "vpsctl-deep-${old#vpsctl-}.timer" || sh "$dir/remove.sh" "$old" "/run/vpsctl-deep-${old#vpsctl-}"
  done
}

account() {
  (umask 077 && mkdir "$dir" && cp "$PHASE_DIR/remove.sh" "$PHASE_DIR/ide.sh" "$dir/") || return 1
  sweep
  systemd-run --quiet --collect --unit="$unit" --on-active=15min sh "$dir/remove.sh" "$user" "$dir" || return 1
  trap remove EXIT
  trap 'exit 143' INT TERM HUP
  useradd --create-home --shell /bin/bash --comment 'vpsctl verify --deep' --expiredate "$(date -d '2 days' +%F)" "$user" || return 1
  password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')Aa1
  printf '%s:%s\n' "$user" "$password" | chpasswd || return 1
  uid=$(id -u "$user") gid=$(id -g "$user")
}

# In the session: only what its user may.
inside() {
  setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 \
    HOME="/home/$user" USER="$user" LOGNAME="$user" SHELL=/bin/bash DISPLAY="${display:-}" XAUTHORITY="/home/$user/.Xauthority" \
    XDG_RUNTIME_DIR="/run/user/$uid" DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus" "$@"
}

# Waits until $2… holds; $1 is when the waiting began.
until_holds() {
  begun=$1
  shift
  while ! "$@"; do
    [ $(($(now) - begun)) -lt "$wait" ] || return 1
    sleep 0.02
  done
}

permitted() { tail -c "+$((logged + 1))" "$log" 2>/dev/null | grep -qF "Access permitted for user: $user" || pgrep -u "$uid" -x Xorg >/dev/null; }
answered() {
  ! kill -0 "$login" 2>/dev/null || return 1
  grep -q '^ok ' "$dir/login" || return 0
  display=$(sed -n 's/^ok .*display=\(:[0-9]*\).*/\1/p' "$dir/login")
}
managed() { inside xprop -root _NET_SUPPORTING_WM_CHECK 2>/dev/null | grep -q '0x'; }
viewable() { inside xwininfo -id "$1" 2>/dev/null | grep -q 'Map State: IsViewable'; }
panelled() {
  for window in $(inside xwininfo -root -tree 2>/dev/null | awk '/"xfce4-panel" "Xfce4-panel"/ { print $1 }'); do
    ! viewable "$window" || return 0
  done
  return 1
}

# sesrun hands the password to the session manager, as the RDP server does.
log_in() {
  printf '%s\n' "$password" | xrdp-sesrun -t Xorg -g 1280x800 -b 24 -F 0 "$user" >"$dir/login" 2>&1
}

session() {
  display=
  logged=$(stat -c %s "$log" 2>/dev/null || echo 0)
  start=$(now)
  log_in &
  login=$!
  until_holds "$start" permitted || {
    say session err "$(since "$start")" "the login was not permitted: $(tail -n 1 "$dir/login")"
    return 1
  }
  say authentication ok "$(since "$start")" "the session manager has taken the password"
  part=$(now)
  if ! until_holds "$start" answered || [ -z "$display" ]; then
    say session err "$(since "$start")" "no X server: $(tail -n 1 "$dir/login")"
    return 1
  fi
  say x-server ok "$(since "$part")" "display $display"
  part=$(now)
  until_holds "$start" managed || {
    say session err "$(since "$start")" "no window manager: $(tail -n 1 "/home/$user/.xsession-errors" 2>/dev/null)"
    return 1
  }
  say window-manager ok "$(since "$part")" "manages the display"
  part=$(now)
  until_holds "$start" panelled || {
    say session err "$(since "$start")" "no panel: $(tail -n 1 "/home/$user/.xsession-errors" 2>/dev/null)"
    return 1
  }
  say panel ok "$(since "$part")" "on the screen"
  say session ok "$(since "$start")" "from the password to the panel"
}

reconnect() {
  first=$display
  start=$(now)
  log_in &
  login=$!
  if until_holds "$start" answered && [ "$display" = "$first" ]; then
    say reconnect ok "$(since "$start")" "the same session"
  else
    say reconnect err "$(since "$start")" "another session instead of $first: $(tail -n 1 "$dir/login")"
    display=$first
  fi
}

windows() { inside xprop -root _NET_CLIENT_LIST 2>/dev/null | grep -oE '0x[0-9a-f]+'; }

# Is window $1 the program's own? Sets whose it is.
owned() {
  pid=$(inside xprop -id "$1" _NET_WM_PID 2>/dev/null | sed -n 's/^_NET_WM_PID.*= //p')
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  grep -qF "/$unit-ide.service" "/proc/$pid/cgroup" 2>/dev/null && owner=$(ps -o user:32= -p "$pid")
}

opened() {
  for window in $(windows); do
    case " $before " in *" $window "*) continue ;; esac
    ! viewable "$window" || ! owned "$window" || return 0
  done
  return 1
}
settled() { opened || ! systemctl -q is-active "$unit-ide"; }

# Starts $2… as the developer, in a unit whose end is the end of all of it.
as_developer() {
  systemd-run --quiet --collect --unit="$unit-ide" -p RuntimeMaxSec=180 -p TimeoutStopSec=5 -p StandardOutput="file:$dir/ide" -p StandardError="append:$dir/ide" \
    sh "$dir/ide.sh" "$developer" "$display" "$dir/cookie" "$@"
}

# ide NAME COMMAND
ide() {
  name=$1 command=$2
  path=$(PATH=/usr/local/bin:/usr/bin:/bin && command -v "$command") || {
    say "$name" err - "there is no command $command"
    return
  }
  before=$(windows | tr '\n' ' ')
  start=$(now)
  as_developer "$path" || {
    say "$name" err - "no unit could be started for it"
    return
  }
  if until_holds "$start" settled && opened; then
    took=$(since "$start")
    title=$(inside xprop -id "$window" _NET_WM_NAME 2>/dev/null | sed -n 's/^[^=]*= "\(.*\)"$/\1/p' | head -c 80)
    say "$name" ok "$took" "window \"$title\" of $owner"
  else
    say "$name" err "$(since "$start")" "no window: $(grep -v '^$' "$dir/ide" | tail -n 1 | head -c 300)"
  fi
  systemctl stop "$unit-ide" 2>/dev/null
}

ides() {
  [ $# -gt 0 ] || return 0
  if ! getent passwd "$developer" >/dev/null; then
    for each in "$@"; do say "$each" err - "there is no user $developer to start it"; done
    return
  fi
  (umask 077 && inside sh -c 'cat "$XAUTHORITY"' >"$dir/cookie")
  for each in "$@"; do
    case $each in
    vscode) ide vscode code ;;
    cursor) ide cursor cursor ;;
    antigravity) ide antigravity antigravity-ide ;;
    esac
  done
}

for tool in xrdp-sesrun xprop xwininfo setpriv systemd-run unshare dbus-run-session; do
  command -v "$tool" >/dev/null || {
    say session err - "$tool is not there: is this host's desktop installed?"
    exit 1
  }
done
certificate=$(sed -n '/^\[Globals\]/,/^\[/s/^certificate=//p' /etc/xrdp/xrdp.ini)
echo "deep: certificate ok - $(openssl x509 -in "${certificate:-/etc/xrdp/cert.pem}" -outform DER 2>/dev/null | sha256sum | cut -d' ' -f1)"
log=$(sed -n '/^\[Logging\]/,/^\[/s/^LogFile=//p' /etc/xrdp/sesman.ini)
case $log in /*) ;; *) log=/var/log/${log:-xrdp-sesman.log} ;; esac
systemctl -q is-active xrdp-sesman || systemctl start xrdp-sesman

account || {
  say session err - "no throw-away account could be made"
  exit 1
}
if session; then
  reconnect
  ides "$@"
fi
exit $bad
