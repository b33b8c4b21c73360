#!/bin/bash
# No CRL satisfies OpenSSL's -crl_check_all where the trust anchor is an intermediate.
#
# Versions: openssl 3.0.x of Debian 12 (seen with 3.0.22).
# Input: a root, an intermediate and a leaf, and current CRLs of root and intermediate. The verifier trusts the intermediate
# alone (-partial_chain -trusted).
# Guess: -crl_check_all needs the CRL of the leaf's issuer alone, since a trust anchor is not subject to path validation
# (RFC 5280 section 6.1). Or at worst the root's CRL too.
# Seen: -crl_check says "leaf.pem: OK". -crl_check_all with the same CRL says "error 3 at 1 depth lookup: unable to get
# certificate CRL" for the intermediate, and says so too with the root's CRL, and with the root as -untrusted. With the root
# as the trust anchor, and both CRLs, it says OK.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
case "$(openssl version)" in
"OpenSSL 3.0."*) ;;
*) echo "not the version that this is about: $(openssl version)" >&2; exit 1 ;;
esac

request() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" "${@:2}" 2>/dev/null; }
sign() { # name, issuer, extensions
	request "$1" -new -out "$1.csr"
	openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 7 -out "$1.pem" -extfile <(printf '%b' "$3") 2>/dev/null
}
list() {
	printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n' >ca.cnf
	: >index
	echo 01 >number
	openssl ca -config ca.cnf -gencrl -keyfile "$1.key" -cert "$1.pem" -out "$1.crl" 2>/dev/null
}
request root -x509 -days 7 -out root.pem -addext keyUsage=critical,keyCertSign,cRLSign
sign intermediate root 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n'
sign leaf intermediate 'keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n'
list intermediate
list root

expect() { # text, arguments
	local output
	output=$(openssl verify "${@:2}" leaf.pem 2>&1 || true)
	echo "openssl verify ${*:2}: $output"
	grep -qF "$1" <<<"$output" || { echo "changed: this had \"$1\"" >&2; exit 1; }
}
anchored=(-partial_chain -trusted intermediate.pem)
missing="error 3 at 1 depth lookup: unable to get certificate CRL"
expect "leaf.pem: OK" "${anchored[@]}" -crl_check -CRLfile intermediate.crl
expect "$missing" "${anchored[@]}" -crl_check_all -CRLfile intermediate.crl
expect "$missing" "${anchored[@]}" -crl_check_all -CRLfile intermediate.crl -CRLfile root.crl
expect "$missing" "${anchored[@]}" -untrusted root.pem -crl_check_all -CRLfile intermediate.crl -CRLfile root.crl
expect "leaf.pem: OK" -CAfile root.pem -untrusted intermediate.pem -crl_check_all -CRLfile intermediate.crl -CRLfile root.crl
