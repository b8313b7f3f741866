#!/bin/sh
# apt.sh twice NAME  answers whether NAME.list stops apt, because NAME.sources
#                    has the same source with another key
# apt.sh repair      finishes what dpkg left half done
# apt.sh lists       fetches the package lists
# apt.sh listed      answers whether an upgrade can go by them, or is not due
# apt.sh upgrade     upgrades installed packages; removes none
# apt.sh upgraded    answers whether that is done, as $upgrade wants it:
#                    first = once on this host, always = nothing is left to do
# apt.sh whole       answers whether all sources were there for that
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none LC_ALL=C.UTF-8

root=${VPSCTL_ROOT-}
entries=$root/etc/apt/sources.list.d
lists=$root/var/lib/apt/lists
stamp=$root/var/lib/vpsctl/upgraded
debian=${PHASE_DIR:-/nonexistent}/debian # the sources that are left, once others have failed; as long as this phase runs

get() {
  [ ! -d "$debian" ] || set -- -o Dir::Etc::sourceparts="$debian" -o APT::Get::List-Cleanup=0 "$@"
  apt-get -y -q -o DPkg::Lock::Timeout=900 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# try does it without the sources of others when it fails with them: a vendor
# that is away shall not stop what comes from Debian, or from our mirror.
try() {
  get "$@" && return
  code=$?
  without_others || return "$code"
  get "$@" || { code=$? && rm -r "$debian" && return "$code"; }
}

# Others sign with a key that is not Debian's, or name no key and another suite.
# It fails where there are none, and where they are left out already.
without_others() {
  mkdir "$debian" 2>/dev/null || return
  others=''
  for f in "$entries"/*.list "$entries"/*.sources; do
    [ -e "$f" ] || continue
    mark=trixie
    ! grep -qi signed-by "$f" || mark='debian-archive'
    if grep -q "$mark" "$f"; then ln -s "$f" "$debian"; else others="$others ${f##*/}"; fi
  done
  echo "apt failed with all sources, and went on without$others" >"$debian.says"
  [ -n "$others" ] || { rm -r "$debian" && return 1; }
}

update() {
  try -o APT::Update::Error-Mode=any update
  touch "$lists" # their own dates are the mirror's
}

# The age of the lists is the age of our own stamp: apt gives them the time
# that the mirror has for them.
recent() { [ -n "$(find "$stamp" -mmin -360 2>/dev/null)" ]; }

fresh() {
  [ -n "$(find "$lists" -maxdepth 0 -mmin -360)" ] && [ -n "$(find "$lists" -name '*_Packages*' -print -quit)" ] &&
    [ -z "$(find "${entries%.d}" "$entries" -newer "$lists" -print -quit 2>/dev/null)" ]
}

case $1 in
twice)
  list=$entries/$2.list
  if [ ! -e "$list" ] || [ ! -e "$entries/$2.sources" ]; then echo "there are not both" && exit 1; fi
  uri=$(apt-get indextargets 2>&1 >/dev/null | sed -n 's,.*Conflicting values set for option Signed-By regarding source \([^ ]*[^ /]\)/* .*,\1,p' | head -n 1)
  if [ -z "$uri" ] || ! grep -qF "$uri" "$list"; then echo "apt can read them" && exit 1; fi
  ;;
repair)
  dpkg --force-confdef --force-confold --configure -a
  get -f install
  ;;
lists) update ;;
listed)
  ! sh "$0" upgraded >/dev/null || exit 0
  fresh || { echo "the package lists are old, or the sources have changed"; exit 1; }
  ;;
upgrade)
  fresh || update
  try upgrade
  mkdir -p "${stamp%/*}"
  : >"$stamp"
  ;;
upgraded)
  [ -e "$stamp" ] || { echo "packages have not been upgraded yet"; exit 1; }
  [ "${upgrade-first}" = always ] || exit 0
  recent || { echo "the package lists are older than 6 hours"; exit 1; }
  left=$(get -s -o Debug::NoLocking=true upgrade | grep -c '^Inst ') || true
  [ "$left" = 0 ] || { echo "$left packages can be upgraded"; exit 1; }
  ;;
whole) [ ! -d "$debian" ] || { cat "$debian.says" && exit 1; } ;;
*)
  echo "usage: apt.sh twice NAME|repair|lists|listed|upgrade|upgraded|whole" >&2
  exit 2
  ;;
esac
