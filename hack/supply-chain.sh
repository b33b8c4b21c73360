#!/bin/sh
# Checks what is built in: that the modules are those of go.sum, their licences, and, where the database of Go's known
# vulnerabilities can be reached, that none is called.
set -eu
cd "$(dirname "$0")/.."

go mod verify
go run ./hack/licences ./cmd/...

database=${GOVULNDB:-https://vuln.go.dev}
case $database in
file://*) reachable=true ;;
*) reachable=$(curl -fsS -m 10 -o /dev/null "$database/index/db.json" 2>/dev/null && echo true || echo false) ;;
esac
if [ "$reachable" = true ]; then
	go -C hack/tools tool govulncheck -db "$database" -C "$PWD" ./cmd/...
else
	echo "supply-chain: known vulnerabilities were NOT looked for: $database can't be reached"
fi
