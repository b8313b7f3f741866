#!/bin/sh
# terminal.sh: has this user, in an interactive bash, our aliases and prompt?
set -eu
no() {
  echo "$1"
  exit 1
}

# Nothing but the marker's lines counts: a .bashrc may print what it likes.
# shellcheck disable=SC2016
ask='for a in gs ga gc gp gl gco gb; do alias $a >/dev/null 2>&1 || echo "vpsctl: alias $a"; done
case $PS1 in *"\\e["*__git_ps1*) ;; *) echo "vpsctl: coloured prompt with the branch" ;; esac
echo "vpsctl: asked"'
said=$(TERM=xterm-256color timeout 20 bash -ic "$ask" </dev/null 2>/dev/null) || true
said=$(printf '%s\n' "$said" | sed -n 's/^vpsctl: //p')
case $said in
asked) ;;
*asked) no "missing: $(printf '%s\n' "$said" | sed '$d' | paste -sd, | sed 's/,/, /g')" ;;
*) no "an interactive bash does not come to its prompt" ;;
esac
for key in alias.st alias.ci alias.co alias.br alias.lg; do
  git config --get "$key" >/dev/null || no "git has no $key"
done
