#!/bin/bash
# wolfSSL makes an HTTP request in the middle of a verification, if it has no CRL of the issuer.
#
# Versions: libwolfssl-dev 5.5.4 of Debian 12 (gcc, openssl 3.0, python3).
# Input: a certificate that names the URL of its CRL (RFC 5280 section 4.2.1.13), and a program that enables CRLs, loads none, and
# verifies the certificate from memory.
# Guess: a verification from memory uses the CRLs that the program loaded, so it ends with CRL_MISSING (-362), as it does for a
# certificate without a URL.
# Seen: the library connects to the URL within wolfSSL_CertManagerVerifyBuffer, takes the CRL from there, and accepts the
# certificate. The target of the request is in absolute form, as for a proxy, which some small HTTP servers don't know. Debian
# builds wolfSSL with HAVE_CRL_IO, and then wolfSSL_CertManagerEnableCRL sets the callback for the request.
set -euo pipefail
cd "$(mktemp -d)"
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$PWD"' EXIT
for program in gcc openssl python3; do
	command -v $program >/dev/null || { echo "$program is missing: apt-get install gcc openssl python3" >&2; exit 1; }
done
version=$(dpkg-query -W -f '${Version}' libwolfssl-dev 2>/dev/null || echo none)
case "$version" in
5.5.4-*) ;;
*) echo "not the version that this is about: libwolfssl-dev $version" >&2; exit 1 ;;
esac

cat >server.py <<'P'
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open('requests', 'a') as log:
            log.write(self.requestline + '\n')
        with open('root.crl', 'rb') as file:
            crl = file.read()
        self.send_response(200)
        self.send_header('Content-Type', 'application/pkix-crl')
        self.send_header('Content-Length', str(len(crl)))
        self.end_headers()
        self.wfile.write(crl)

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
with open('port.new', 'w') as file:
    file.write(str(server.server_port))
os.rename('port.new', 'port')
server.serve_forever()
P
python3 server.py &
server=$!
until [ -f port ]; do sleep 0.1; done

request() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" "${@:2}" 2>/dev/null; }
request root -x509 -days 7 -out root.pem -addext keyUsage=critical,keyCertSign,cRLSign
sign() { # name, extensions
	request "$1" -new -out "$1.csr"
	openssl x509 -req -in "$1.csr" -CA root.pem -CAkey root.key -CAcreateserial -days 7 -out "$1.pem" -extfile <(printf '%b' "$2") 2>/dev/null
}
sign without 'keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n'
sign with "keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\ncrlDistributionPoints=URI:http://127.0.0.1:$(cat port)/root.crl\n"
printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n' >ca.cnf
: >index
echo 01 >number
openssl ca -config ca.cnf -gencrl -keyfile root.key -cert root.pem 2>/dev/null | openssl crl -outform der -out root.crl

cat >verify.c <<'C'
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <stdio.h>

int main(int argc, char **argv) {
    static unsigned char text[1 << 16];
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CertManagerNew();
    wolfSSL_CertManagerLoadCA(manager, "root.pem", NULL);
    wolfSSL_CertManagerEnableCRL(manager, WOLFSSL_CRL_CHECKALL);
    FILE *file = fopen(argv[1], "r");
    long size = fread(text, 1, sizeof text, file);
    printf("%d\n", wolfSSL_CertManagerVerifyBuffer(manager, text, size, WOLFSSL_FILETYPE_PEM));
    return 0;
}
C
gcc -o verify verify.c -lwolfssl
: >requests
expect() { # certificate, result, requests
	local result
	result=$(./verify "$1.pem")
	echo "$1 a URL: $result, requests: $(tr '\n' ' ' <requests)"
	[ "$result" = "$2" ] && [ "$(cat requests)" = "$3" ] || { echo "changed: it was $2 with \"$3\"" >&2; exit 1; }
}
expect without -362 ""
expect with 1 "GET http://127.0.0.1:$(cat port)/root.crl HTTP/1.1"
