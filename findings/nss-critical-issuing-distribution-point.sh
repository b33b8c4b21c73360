#!/bin/bash
# NSS refuses a CRL that names its distribution point as RFC 5280 wants it named: in a critical extension.
#
# Versions: libnss3 3.87.1 of Debian 12 (crlutil from libnss3-tools, openssl 3.0 to make the CRLs).
# Input: three empty CRLs of one CA: without an issuing distribution point, with one that is not critical, and with one that
# is critical, all of them complete for their scope. RFC 5280 section 5.2.5 says "is a critical CRL extension".
# Guess: the CRL that follows the RFC imports, and a CRL with the extension not critical is the doubtful one.
# Seen: the first two import. The critical one ends with SEC_ERROR_CRL_UNKNOWN_CRITICAL_EXTENSION: RFC 5280 lets an
# implementation leave the extension out, so crlutil imports no CRL that is divided as the RFC says.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
for program in crlutil certutil openssl; do
	command -v $program >/dev/null || { echo "$program is missing: apt-get install libnss3-tools openssl" >&2; exit 1; }
done
version=$(dpkg-query -W -f '${Version}' libnss3)
case "$version" in
2:3.87.1-*) ;;
*) echo "not the version that this is about: libnss3 $version" >&2; exit 1 ;;
esac

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 7 -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
cat >ca.cnf <<'C'
[ca]
default_ca = c
[c]
database = index
crlnumber = number
default_md = sha256
default_crl_days = 7
[none]
authorityKeyIdentifier = keyid
[noncritical]
authorityKeyIdentifier = keyid
issuingDistributionPoint = @point
[critical]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical,@point
[point]
fullname = URI:http://crl.corp.example/0.crl
C
: >index
echo 01 >number
import() {
	rm -rf db && mkdir db
	certutil -N -d db --empty-password
	certutil -A -d db -n ca -t CT,, -i ca.pem
	openssl ca -config ca.cnf -crlexts "$1" -gencrl -keyfile ca.key -cert ca.pem -out "$1.pem" 2>/dev/null
	openssl crl -in "$1.pem" -outform der -out "$1.crl"
	crlutil -I -d db -i "$1.crl" 2>&1
}
for extensions in none noncritical; do
	import $extensions || { echo "changed: the CRL with $extensions did not import" >&2; exit 1; }
	echo "$extensions: imported"
done
if output=$(import critical); then
	echo "changed: the critical one imports" >&2
	exit 1
fi
echo "critical: $output"
grep -q SEC_ERROR_CRL_UNKNOWN_CRITICAL_EXTENSION <<<"$output" || { echo "changed: another error" >&2; exit 1; }
