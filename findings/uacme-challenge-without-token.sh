#!/bin/bash
# uacme depends on the order of challenges: one without a token ends it, if that one comes first.
#
# Versions: uacme 1.7.4 (Debian 12).
# Input: an authorization with an http-01 challenge, which uacme's hook takes, and a challenge of a type that uacme does not
# know, with and without a token. RFC 8555 section 8 gives each type its own fields: the token is a field of http-01 and
# dns-01. The draft of dns-persist-01 has none. The order of the list has no meaning.
# Guess: a client takes the challenge that it can do, and ignores the others.
# Seen: uacme offers each challenge to its hook in the order of the list, and goes on with the first that the hook takes. If
# a challenge without a token comes before that one, uacme says "failed to parse challenge" and never calls the hook. If it
# comes after, uacme does not read it, and asks for http-01. With a token both orders work.
set -euo pipefail
cd "$(mktemp -d)"
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$PWD"' EXIT
for program in uacme python3; do
	command -v $program >/dev/null || { echo "$program is missing: apt-get install $program" >&2; exit 1; }
done
version=$({ uacme --version || true; } 2>&1 | sed -n 's/^uacme: version //p')
[ "$version" = 1.7.4 ] || { echo "not the version that this is about: $version" >&2; exit 1; }

cat >server.py <<'P'
import base64, http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body, **headers):
        self.send_response(status)
        self.send_header('Replay-Nonce', os.urandom(16).hex())
        self.send_header('Content-Type', 'application/problem+json' if status >= 400 else 'application/json')
        for name, value in headers.items():
            self.send_header(name, value)
        text = json.dumps(body).encode() if status != 204 else b''
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        if self.command != 'HEAD' and status != 204:
            self.wfile.write(text)

    def do_HEAD(self):
        self.reply(200, {})

    def do_GET(self):
        names = {'newNonce': '/nonce', 'newAccount': '/account', 'newOrder': '/order', 'revokeCert': '/revoke', 'keyChange': '/key'}
        if self.path == '/nonce':
            self.reply(204, {})
            return
        self.reply(200, {name: self.base() + path for name, path in names.items()})

    def base(self):
        return 'http://' + self.headers['Host']

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        payload = request['payload'] + '=' * (-len(request['payload']) % 4)
        registered, path = os.path.exists('registered'), self.path
        if path == '/account' and b'onlyReturnExisting' in base64.urlsafe_b64decode(payload) and not registered:
            self.reply(400, {'type': 'urn:ietf:params:acme:error:accountDoesNotExist', 'detail': 'none', 'status': 400})
        elif path.startswith('/account'):
            open('registered', 'w').close()
            self.reply(200 if registered else 201, {'status': 'valid', 'contact': [], 'orders': self.base() + '/orders'}, Location=self.base() + '/account/1')
        elif path.startswith('/order'):
            self.reply(201, {'status': 'pending', 'identifiers': [{'type': 'dns', 'value': 'www.corp.example'}],
                             'authorizations': [self.base() + '/authorization'], 'finalize': self.base() + '/finalize'}, Location=self.base() + '/order/1')
        elif path == '/authorization':
            token = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip('=')
            known = {'type': 'http-01', 'status': 'pending', 'url': self.base() + '/challenge/1', 'token': token}
            other = {'type': 'other-01', 'status': 'pending', 'url': self.base() + '/challenge/2'}
            mode = open('mode').read()
            if 'token' in mode:
                other['token'] = token
            challenges = [other, known] if 'first' in mode else [known, other]
            self.reply(200, {'status': 'pending', 'identifier': {'type': 'dns', 'value': 'www.corp.example'}, 'challenges': challenges})
        else:
            self.reply(403, {'type': 'urn:ietf:params:acme:error:unauthorized', 'detail': 'the script ends here', 'status': 403})

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
with open('port.new', 'w') as file:
    file.write(str(server.server_port))
os.rename('port.new', 'port')
server.serve_forever()
P
printf '#!/bin/sh\necho "$1 $2" >>hook.log\n[ "$2" = http-01 ]\n' >hook
chmod +x hook
echo >mode
python3 server.py &
server=$!
until [ -f port ]; do sleep 0.1; done
uacme=(uacme --yes --acme-url "http://127.0.0.1:$(cat port)/directory" --confdir conf --hook ./hook)
"${uacme[@]}" new >new.log 2>&1 || { cat new.log >&2; exit 1; }

issue() { # mode, line that shows the outcome
	echo "$1" >mode
	: >hook.log
	"${uacme[@]}" --verbose issue www.corp.example >issue.log 2>&1 || true
	grep -qF "$2" issue.log || { cat issue.log >&2; echo "changed: $1 had \"$2\"" >&2; exit 1; }
	echo "$1: $2"
}
# The server refuses the challenge at last, which the script does not need any more.
issue "with token, after" "starting challenge at"
issue "with token, first" "starting challenge at"
issue "without, after" "starting challenge at"
issue "without, first" "failed to parse challenge"
[ ! -s hook.log ] || { echo "changed: the hook was called" >&2; exit 1; }
