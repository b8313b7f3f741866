#!/bin/sh
# apt.sh repair    finishes what dpkg left half done
# apt.sh lists     fetches the package lists
# apt.sh listed    answers whether an upgrade can go by them, or is not due
# apt.sh upgrade   upgrades installed packages; removes none
# apt.sh upgraded  answers whether that is done, as $upgrade wants it:
#                  first = once on this host, always = nothing is left to do
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none LC_ALL=C.UTF-8

stamp=/var/lib/vpsctl/upgraded

get() {
  apt-get -y -q -o DPkg::Lock::Timeout=900 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# The age of the lists is the age of our own stamp: apt gives them the time
# that the mirror has for them.
recent() { [ -n "$(find "$stamp" -mmin -360 2>/dev/null)" ]; }

fresh() {
  [ -n "$(find /var/lib/apt/lists -maxdepth 0 -mmin -360)" ] && [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit)" ] &&
    [ -z "$(find /etc/apt/sources.list /etc/apt/sources.list.d -newer /var/lib/apt/lists -print -quit 2>/dev/null)" ]
}

case $1 in
repair)
  dpkg --force-confdef --force-confold --configure -a
  get -f install
  ;;
lists)
  get -o APT::Update::Error-Mode=any update
  touch /var/lib/apt/lists # their own dates are the mirror's
  ;;
listed)
  ! sh "$0" upgraded >/dev/null || exit 0
  fresh || { echo "the package lists are old, or the sources have changed"; exit 1; }
  ;;
upgrade)
  fresh || { get -o APT::Update::Error-Mode=any update; touch /var/lib/apt/lists; }
  get upgrade
  mkdir -p "${stamp%/*}"
  : >"$stamp"
  ;;
upgraded)
  [ -e "$stamp" ] || { echo "packages have not been upgraded yet"; exit 1; }
  [ "${upgrade-first}" = always ] || exit 0
  recent || { echo "the package lists are older than 6 hours"; exit 1; }
  left=$(apt-get -s -q -o Debug::NoLocking=true upgrade | grep -c '^Inst ') || true
  [ "$left" = 0 ] || { echo "$left packages can be upgraded"; exit 1; }
  ;;
*)
  echo "usage: apt.sh repair|lists|listed|upgrade|upgraded" >&2
  exit 2
  ;;
esac
