#!/bin/sh
# certificates.sh ROOT RELEASE: is no certificate that this release of the
# program, in the folder ROOT, carries past its date? Files with several are
# collections of authorities, some of which are always old; those of tests are
# nobody's.
set -eu
old=$(find "$1" -xdev -type f \( -name '*.pem' -o -name '*.crt' \) -size -64k \
  ! -path '*/node_modules/*' ! -path '*/test/*' ! -path '*/tests/*' | sort | while read -r file; do
  [ "$(grep -c -e '-----BEGIN CERTIFICATE-----' "$file")" = 1 ] || continue
  until=$(openssl x509 -noout -enddate -in "$file" 2>/dev/null) || continue
  openssl x509 -noout -checkend 0 -in "$file" >/dev/null || echo "$file of release $2 expired on ${until#notAfter=}: parts of it no longer work"
done)
[ -z "$old" ] || { echo "$old"; exit 1; }
