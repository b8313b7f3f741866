package remote

// into enters the folder a copy goes into: $dst itself when $kind is tree, else
// the one it lies in; it is made where it is missing. As root no link is
// followed on the way that another user could have laid. Sets $base.
const into = `
fail() { echo "$m FAILED"; exit; };
case $dst in /*) ;; *) dst=$HOME/$dst;; esac;
base=${dst##*/}; dir=${dst%/*}; [ "$kind" = tree ] && dir=$dst; [ "$dir" ] || dir=/;
q=$dir; while [ "$u" = 0 ] && [ "$q" ] && [ "$q" != / ]; do
  [ -L "$q" ] && [ "$(find "$q" -prune ! -user 0)" ] && { echo "$m LINK $q"; exit; };
  q=${q%/*};
done;
mkdir -p "$dir" && cd -P "$dir" || fail;
`

// mine holds when the folder is ours alone: what lies in it is what we put there.
const mine = `
mine() { [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && [ "$(find "$1" -prune -perm 700)" ]; };
`

// lookScript says what is there already of a copy. Arguments: marker, where to,
// file or tree, the copy's id. It reads the manifest: hash, mode, name and a
// slash. Answers: SAME with the numbers of files that are there and equal, as
// often as needed; then GO, our uid and the size of what came of an earlier
// copy ("-": nothing); or LINK, ISDIR, ISLINK, FAILED.
var lookScript = oneLine(`
m=$1 dst=$2 kind=$3 t=.vpsctl-push-$4 n=0 l=;
echo "$m"; LC_ALL=C; export LC_ALL; umask 022;
` + place + into + mine + `
[ "$kind" = file ] && [ -L "$base" ] && { echo "$m ISLINK"; exit; };
[ "$kind" = file ] && [ -d "$base" ] && { echo "$m ISDIR"; exit; };
while IFS=" " read -r h p f; do
  f=${f%/}; [ "$kind" = file ] && f=./$base;
  [ -f "$f" ] && [ ! -L "$f" ] && s=$(sha256sum <"$f") && [ "${s%% *}" = "$h" ] && chmod "$p" "$f" && l="$l $n";
  n=$((n+1));
  [ "${#l}" -gt 4000 ] && { echo "$m SAME$l"; l=; };
done;
[ "$l" ] && echo "$m SAME$l";
s=-; mine "$t" && [ -f "$t/blob" ] && s=$(wc -c <"$t/blob");
echo "$m GO $u $s";
`)

// settleScript puts a copy in its place, whole or not at all: of a tree, file by
// file. Arguments: marker, where to, file or tree, id, hash and size of the
// pack, mode of a file, and how the pack comes: "here" it lies already, "add"
// what is on stdin to it, "take" all of it from stdin. Answers: DONE, SHORT,
// HASH, CONFLICT name, LINK, FAILED.
var settleScript = oneLine(`
m=$1 dst=$2 kind=$3 t=.vpsctl-push-$4 sum=$5 size=$6 mode=$7 how=$8;
echo "$m"; LC_ALL=C; export LC_ALL; umask 022;
` + place + into + mine + `
case $how in
  take) t=$(mktemp -d ./.vpsctl-push-XXXXXX) || fail; trap "rm -rf \"\$t\"" 0; cat >"$t/blob" || fail;;
  add) mine "$t" || mkdir -m 700 "$t" || fail; cat >>"$t/blob" || fail;;
esac;
mine "$t" || fail;
n=$(wc -c <"$t/blob"); [ "$n" -ge "$size" ] || { echo "$m SHORT $n"; exit; };
s=$(sha256sum <"$t/blob"); [ "${s%% *}" = "$sum" ] || { rm -rf "$t"; echo "$m HASH ${s%% *}"; exit; };
if [ "$kind" = file ]; then
  [ ! -d "$base" ] && chmod "$mode" "$t/blob" && mv -fT "$t/blob" "$base" || fail;
else
  rm -rf "$t/tree"; mkdir "$t/tree" && (umask 0; tar -x -p -o -m -f "$t/blob" -C "$t/tree") || fail;
  rm -f "$t/blob"; top=$t/tree; export top m;
  (cd "$top" && find . -type d ! -name .) | while IFS= read -r f; do
    [ ! -L "$f" ] || { echo "$m CONFLICT $f"; exit 1; };
    [ -d "$f" ] || { mkdir "$f" && chmod "$(stat -c %a "$top/$f")" "$f"; } || { echo "$m FAILED"; exit 1; };
  done || exit 0;
  (cd "$top" && find . -type f) | while IFS= read -r f; do
    [ ! -d "$f" ] || { echo "$m CONFLICT $f"; exit 1; };
    mv -fT "$top/$f" "$f" || { echo "$m FAILED"; exit 1; };
  done || exit 0;
fi;
rm -rf "$t"; echo "$m DONE";
`)

// feedScript gives a pack that lies in a folder of the connecting user's home to
// a command: whoever that becomes, it never opens a path the user could swap.
var feedScript = oneLine(`
f=$1; shift;
"$@" <"$f/blob"; rc=$?;
rm -rf "$f"; find .vpsctl-push-* -prune -mtime +6 -exec rm -rf {} + 2>/dev/null;
exit $rc;
`)
