#!/bin/sh
# swap.sh wanted auto|off   shall this host get a swap file, and can it?
# swap.sh make|ask|remove   /swapfile, and the unit that has it used at boot
set -eu
file=${VPSCTL_ROOT-}/swapfile
unit=${VPSCTL_ROOT-}/etc/systemd/system/swapfile.swap
no() {
  echo "$1"
  exit 1
}

memory() { awk '$1 == "MemTotal:" { print int($2 / 1024) }' "${VPSCTL_PROC:-/proc}/meminfo"; }

case $1 in
wanted)
  [ "$2" = auto ] || no "swap is $2"
  ! systemd-detect-virt -cq || no "a container cannot have swap of its own"
  # What a server sold with 2 GB really has is somewhat less.
  [ "$(memory)" -le 2100 ] || no "there is enough memory: $(memory) MiB"
  [ -e "$unit" ] && exit
  [ -z "$(swapon --show --noheadings)" ] || no "there is swap already"
  [ ! -e "$file" ] || no "$file is there, and not ours"
  case $(findmnt -n -o FSTYPE -T "${file%/*}/") in
  ext4 | xfs) ;;
  *) no "swap files are made on ext4 and xfs only" ;;
  esac
  # Two GiB, and room enough left for what is to be installed.
  [ "$(df -P -BM / | awk 'NR == 2 { print int($4) }')" -ge 8192 ] || no "less than 8 GiB available on /"
  ;;
make)
  # The unit first: a swap file without it would be taken for somebody else's.
  if [ ! -e "$unit" ] || [ ! -e "$file" ]; then
    rm -f "$file.new"
    (umask 077 && fallocate -l 2G "$file.new")
    mkswap "$file.new" >/dev/null
    printf '%s\n' '# Written by vpsctl.' '[Swap]' "What=$file" '' '[Install]' 'WantedBy=swap.target' >"$unit"
    mv "$file.new" "$file"
  fi
  systemctl daemon-reload
  systemctl enable --now swapfile.swap
  ;;
ask)
  systemctl -q is-active swapfile.swap || no "no swap of ours is in use"
  systemctl -q is-enabled swapfile.swap || no "it is not used from the next boot on"
  ;;
remove)
  [ -e "$unit" ] || [ -e "$file.new" ] || exit 0
  if [ -e "$unit" ]; then
    systemctl disable --now swapfile.swap
    rm -f "$unit" "$file"
    systemctl daemon-reload
  fi
  rm -f "$file.new"
  ;;
esac
