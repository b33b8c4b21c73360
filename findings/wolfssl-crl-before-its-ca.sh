#!/bin/bash
# wolfSSL loads the CRL of an intermediate only if it has the intermediate already.
#
# Versions: libwolfssl-dev 5.5.4 of Debian 12 (gcc, openssl 3.0 to make certificates and CRLs).
# Input: a root, an intermediate, and a current CRL of each, both right by RFC 5280. The program trusts the root, as a TLS client
# does that gets the intermediate in the handshake.
# Guess: a CRL is verified when it is used, or at the latest when the intermediate comes, so both CRLs load. OpenSSL, GnuTLS, NSS
# and Mbed TLS load both.
# Seen: wolfSSL_CertManagerLoadCRLBuffer returns -190 (ASN_CRL_NO_SIGNER_E) for the CRL of the intermediate, and 1 for the CRL of
# the root. After the intermediate was loaded as a CA, both return 1. So a program has to have every intermediate in advance.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
for program in gcc openssl; do
	command -v $program >/dev/null || { echo "$program is missing: apt-get install gcc openssl" >&2; exit 1; }
done
version=$(dpkg-query -W -f '${Version}' libwolfssl-dev 2>/dev/null || echo none)
case "$version" in
5.5.4-*) ;;
*) echo "not the version that this is about: libwolfssl-dev $version" >&2; exit 1 ;;
esac

request() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" "${@:2}" 2>/dev/null; }
request root -x509 -days 7 -out root.pem -addext keyUsage=critical,keyCertSign,cRLSign
request intermediate -new -out intermediate.csr
openssl x509 -req -in intermediate.csr -CA root.pem -CAkey root.key -CAcreateserial -days 7 -out intermediate.pem 2>/dev/null \
	-extfile <(printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n')
for ca in root intermediate; do
	printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n' >ca.cnf
	: >index
	echo 01 >number
	openssl ca -config ca.cnf -gencrl -keyfile $ca.key -cert $ca.pem -out $ca.crl 2>/dev/null
done

cat >load.c <<'C'
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <stdio.h>

static int load(WOLFSSL_CERT_MANAGER *manager, const char *name) {
    static unsigned char text[1 << 16];
    FILE *file = fopen(name, "r");
    long size = fread(text, 1, sizeof text, file);
    fclose(file);
    return wolfSSL_CertManagerLoadCRLBuffer(manager, text, size, WOLFSSL_FILETYPE_PEM);
}

int main(void) {
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CertManagerNew();
    wolfSSL_CertManagerLoadCA(manager, "root.pem", NULL);
    wolfSSL_CertManagerEnableCRL(manager, WOLFSSL_CRL_CHECKALL);
    printf("root %d, intermediate %d\n", load(manager, "root.crl"), load(manager, "intermediate.crl"));
    wolfSSL_CertManagerLoadCA(manager, "intermediate.pem", NULL);
    printf("with the intermediate: root %d, intermediate %d\n", load(manager, "root.crl"), load(manager, "intermediate.crl"));
    return 0;
}
C
gcc -o load load.c -lwolfssl
output=$(./load)
echo "$output"
expected="root 1, intermediate -190
with the intermediate: root 1, intermediate 1"
[ "$output" = "$expected" ] || { echo "changed; it was:
$expected" >&2; exit 1; }
