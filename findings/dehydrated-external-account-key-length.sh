#!/bin/bash
# dehydrated registers with external account keys of some lengths only.
#
# Versions: dehydrated 0.7.0 (Debian 12's 0.7.0-3), hexdump of util-linux 2.38, openssl 3.0.
# Input: a server that requires external account binding (RFC 8555 section 7.3.4), and HMAC keys of 16, 24, 32 and 39 bytes in
# base64url. HMAC takes keys of any length.
# Guess: a key that certbot and lego register with works with dehydrated.
# Seen: 16 and 32 bytes register. 24 and 39 bytes end with "MAC parameter error" and "illegal hex digit" from openssl, and no
# request for an account: hexdump fills the last line of 16 bytes with blanks, and these get into the key. So a CA does well
# to hand out keys of 32 or 64 bytes.
set -euo pipefail
cd "$(mktemp -d)"
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$PWD"' EXIT
for program in dehydrated curl python3 hexdump; do
	command -v $program >/dev/null || { echo "$program is missing: apt-get install dehydrated curl python3 bsdextrautils" >&2; exit 1; }
done
version=$(dehydrated --version | sed -n 's/^Dehydrated version: //p')
[ "$version" = 0.7.0 ] || { echo "not the version that this is about: $version" >&2; exit 1; }

cat >server.py <<'P'
import http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, status, body, **headers):
        self.send_response(status)
        self.send_header('Replay-Nonce', os.urandom(16).hex())
        self.send_header('Content-Type', 'application/json')
        for name, value in headers.items():
            self.send_header(name, value)
        text = json.dumps(body).encode()
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(text)

    def do_HEAD(self):
        self.reply(200, {})

    def do_GET(self):
        base = 'http://' + self.headers['Host']
        names = {'newNonce': '/nonce', 'newAccount': '/account', 'newOrder': '/order', 'revokeCert': '/revoke', 'keyChange': '/key'}
        directory = {name: base + path for name, path in names.items()}
        self.reply(200, {**directory, 'meta': {'externalAccountRequired': True}})

    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        with open('requests', 'a') as log:
            log.write(self.path + '\n')
        self.reply(201, {'status': 'valid'}, Location='http://' + self.headers['Host'] + '/account/1')

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

register() { # length of the key
	local key
	key=$(head -c "$1" /dev/urandom | openssl base64 -A | tr '+/' '-_' | tr -d =)
	mkdir "$1"
	: >requests
	printf 'CA="http://127.0.0.1:%s/directory"\nBASEDIR="%s"\nKEYSIZE=2048\nEAB_KID=key\nEAB_HMAC_KEY="%s"\n' "$(cat port)" "$PWD/$1" "$key" >"$1/config"
	dehydrated --config "$1/config" --register --accept-terms >"$1/output" 2>&1
}
for length in 16 32; do
	register $length || { cat $length/output >&2; echo "changed: a key of $length bytes fails" >&2; exit 1; }
	grep -q /account requests
	echo "$length bytes: registered"
done
for length in 24 39; do
	if register $length; then
		echo "changed: a key of $length bytes registers" >&2
		exit 1
	fi
	grep -q "illegal hex digit" $length/output || { cat $length/output >&2; echo "changed: another error" >&2; exit 1; }
	[ ! -s requests ] || { echo "changed: a request was sent" >&2; exit 1; }
	echo "$length bytes: $(grep -o 'MAC parameter error' $length/output)"
done
