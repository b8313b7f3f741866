# shellcheck shell=sh
# Prints where cloud-init stands whenever that changes, until it has ended or
# so many seconds, the first line of the input, have passed.
read -r left || exit 2
was=
while :; do
  now=$(cloud_init)
  [ "$now" = "$was" ] || printf '%s\n' "$now"
  was=$now
  case $now in running*) ;; *) exit 0 ;; esac
  [ "$left" -gt 0 ] || exit 1
  left=$((left - 1))
  sleep 1
done
