# shellcheck shell=sh disable=SC2154
# A new password for $username, by a file: never in an argument.
set -eu
getent passwd "$username" >/dev/null || { echo "there is no user $username" >&2; exit 1; }
printf '%s:%s\n' "$username" "$(cat "$VPSCTL_SECRETS/developer_password")" | chpasswd
# From here on the new one is in force, which is what our status tells.
if [ "$must_change" = true ]; then chage -d 0 "$username" || echo "it need not be changed at the next login: chage has failed" >&2; fi
