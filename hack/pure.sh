#!/bin/sh
# Tests the pure packages under the race detector, prints their coverage, and fails below 90%.
set -eu
cd "$(dirname "$0")/.."

# Packages without tests, such as helpers for tests, are left out.
packages=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' \
	./api/acme ./internal/jws/... ./internal/pki/... ./internal/policy/... ./acmeserver/nonce ./controllers/ca ./controllers/validation/...)
# shellcheck disable=SC2086 # several packages
if ! output=$(go test -race -cover -timeout 15m $packages); then
	printf '%s\n' "$output"
	exit 1
fi
printf '%s\n' "$output" | awk '
	{print}
	/coverage:/ {
		seen++
		for (i = 1; i < NF; i++) if ($i == "coverage:" && $(i + 1) + 0 < 90) {
			print "pure: " $2 " is covered by less than 90%" > "/dev/stderr"
			failed = 1
		}
	}
	END {
		if (!seen) print "pure: no package was covered" > "/dev/stderr"
		exit failed || !seen
	}'
