#!/bin/sh
# ssh.sh USER: what sshd goes by, not what its files say.
set -eu
no() {
  echo "$1"
  exit 1
}

of() { /usr/sbin/sshd -T -C "user=$1,host=localhost,addr=127.0.0.1"; }
user=$(of "$1")
root=$(of root)

for line in 'passwordauthentication no' 'kbdinteractiveauthentication no' 'permitemptypasswords no' \
  'pubkeyauthentication yes' 'usepam yes' 'maxauthtries 6'; do
  echo "$user" | grep -qxF "$line" || no "not so for $1: $line"
done
echo "$root" | grep -qxE 'permitrootlogin (no|without-password)' || no "root can log in with a password"
echo "$root" | grep -qxF 'passwordauthentication no' || no "passwords are accepted for root"
weak='^(kexalgorithms|macs) .*(sha1|md5|group1[,-]|group14-sha1|umac-64)|^ciphers .*(cbc|3des|arcfour)|^hostkeyalgorithms .*(ssh-dss|ssh-rsa(,|$))'
! echo "$user" | grep -qE "$weak" || no "weak algorithms are allowed: $(echo "$user" | grep -E "$weak" | cut -d' ' -f1 | paste -sd' ')"
