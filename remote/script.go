package remote

import (
	"crypto/rand"
	"encoding/hex"
)

// The fixed scripts. Each prints a random marker before anything else, so that
// what rc files print is told apart from the answer; then lines that begin with
// the marker. They are written to be joined into one line.

// Every program such a script starts costs a host a millisecond, so the shell
// itself does what it can.

// place finds who we are and where our things lie on the host.
const place = `
u=; while read -r k q q2; do [ "$k" = Uid: ] && u=${q2%%[!0-9]*} && break; done </proc/self/status;
[ "$u" ] || u=$(id -u);
if [ "$u" = 0 ]; then d=/var/lib/vpsctl; else d=$HOME/.local/state/vpsctl; fi;
`

// safe holds when nobody but us (or root) can change what lies in $d/bin, nor
// the file $h in it, if one is named: the real path $p and every folder above
// it. Folders with the sticky bit let nobody touch what others own; above our
// own folders a user's group is his business. $bad gets the offenders. With
// arguments the same find also says what its first one asks of the file, and
// that has to be the second one.
const safe = `
safe() {
  bad= w=$1 x=$2; cd -P "$d/bin" 2>/dev/null && p=$PWD || return 1;
  b=$p/$h; q=$p; set --; while [ "$q" ]; do set -- "$@" "$q"; q=${q%/*}; done;
  [ -z "$h" ] || set -- "$@" "$b";
  if [ "$u" = 0 ]; then
    bad=$(find / "$@" -prune \( \( ! -user 0 -o -perm -2 ! -perm -1000 -o -perm -20 ! -perm -1000 -o -type f ! -perm 755 \) -print $w \)) || return 1;
  else
    bad=$(find / "$@" -prune \( \( ! -user "$u" ! -user 0 -o -perm -2 ! -perm -1000 -o -type f ! -perm 755 \) -print $w \) &&
      find "$p" "${p%/*}" -prune \( ! -user "$u" -o -perm -20 -o -perm -2 \) -print) || return 1;
  fi;
  [ "$bad" = "$x" ];
};
`

// right holds when the collector $h is ours, safe, and has the hash it is named
// by. What was hashed is noted beside it: this boot, device, inode, size, and
// the time of its last change, which nobody sets. While they are the same, the
// kernel has seen no write since, and it is not hashed once more; a find that
// cannot tell them leaves no note. They are read before the hash is taken.
const right = `
right() {
  [ "${#h}" = 64 ] && [ -f "$d/bin/$h" ] && [ ! -L "$d/bin/$h" ] && [ -O "$d/bin/$h" ] || return 1;
  n=$d/bin/.$h.ok i= k=;
  { read -r k </proc/sys/kernel/random/boot_id; [ -O "$n" ] && read -r i <"$n"; } 2>/dev/null;
  [ "$k" ] && safe "-o -type f -printf $k:%D:%i:%s:%C@" "${i:-none}" 2>/dev/null && return;
  i=$bad; safe && s=$(sha256sum <"$b") && [ "${s%% *}" = "$h" ] || return 1;
  case $i in "$k":*) (umask 077; echo "$i" >"$n") 2>/dev/null;; esac;
  return 0;
};
`

// startScript runs the collector. Arguments: marker, run ("" for a verb that
// belongs to none), the hashes for amd64 and arm64, then the collector's
// arguments. Answers: RUN, NORUN, MISSING arch gzip|cat hash. A collector is
// only ever put on a host it runs on: the one that is there is the right one.
var startScript = oneLine(`
m=$1 run=$2 amd=$3 arm=$4; shift 4;
echo "$m";
` + place + safe + right + `
h=;
if [ "$run" ]; then
  [ -d "$d/runs/$run" ] || { echo "$m NORUN"; exit 4; };
  read -r h <"$d/runs/$run/collector";
else
  for q in "$amd" "$arm"; do [ -f "$d/bin/$q" ] && h=$q; done;
fi;
case $h in *[!0-9a-f]*) h=;; esac;
GOMAXPROCS=1; export GOMAXPROCS;
right && cd / && echo "$m RUN" && exec "$b" "$@";
z=cat; command -v gzip >/dev/null && z=gzip;
k=$(uname -m); case $k in x86_64) k=amd64;; aarch64|arm64) k=arm64;; esac;
echo "$m MISSING $k $z $h";
`)

// placeScript puts the collector that comes on stdin into its place. Arguments:
// marker, hash, and gzip or cat. Answers: DONE, UNSAFE folders, FAILED, HASH
// what came, NOEXEC. It is tried before it gets its name; where it does not run
// (mounted noexec), bin becomes a link to a new folder of our own where it does.
var placeScript = oneLine(`
m=$1 new=$2 z=$3 h=;
echo "$m"; umask 022; LC_ALL=C; export LC_ALL;
` + place + safe + `
[ -d "$d/bin" ] || rm -f "$d/bin"; mkdir -p "$d/bin" || { echo "$m FAILED"; exit; };
safe || { echo "$m UNSAFE" $bad; exit; };
t=$(mktemp "$p/.new.XXXXXX") || { echo "$m FAILED"; exit; };
trap "rm -f \"\$t\"" 0;
case $z in gzip) gzip -dc;; *) cat;; esac >"$t" || { echo "$m FAILED"; exit; };
s=$(sha256sum <"$t") || { echo "$m FAILED"; exit; };
[ "${s%% *}" = "$new" ] || { echo "$m HASH ${s%% *}"; exit; };
chmod 0755 "$t" || { echo "$m FAILED"; exit; };
"$t" version >/dev/null </dev/null || {
  x=; for c in "$XDG_RUNTIME_DIR" "/run/user/$u" /run /dev/shm /var/tmp /tmp "$HOME"; do
    [ "$c" ] && f=$(mktemp -d "$c/vpsctl-XXXXXXXXXX" 2>/dev/null) || continue;
    mkdir "$f/bin" && cp "$t" "$f/bin/$new" && "$f/bin/$new" version >/dev/null 2>&1 </dev/null && x=$f && break;
    rm -rf "$f";
  done;
  [ "$x" ] || { echo "$m NOEXEC $p"; exit; };
  rm -rf "$d/bin" && ln -s "$x/bin" "$d/bin" && safe && echo "$m DONE" || echo "$m FAILED";
  exit;
};
mv -f "$t" "$p/$new" && echo "$m DONE" || echo "$m FAILED";
`)

// fetchScript feeds an uploaded file to a command and removes its folder, and
// those of uploads that were cut off. Its arguments: the folder, then the
// command, which reads what the connecting user's shell has opened: whoever it
// becomes, it never opens a path.
var fetchScript = oneLine(`
f=$1; shift;
"$@" <"$f/collector"; rc=$?;
rm -rf "$f"; find .vpsctl-upload-* -prune -mtime +0 -exec rm -rf {} + 2>/dev/null;
exit $rc;
`)

// pingScript answers.
const pingScript = `echo "$1"`

// newMarker is a word nobody can guess.
func newMarker() string {
	var b [12]byte
	rand.Read(b[:]) // never fails
	return "vpsctl-" + hex.EncodeToString(b[:])
}
