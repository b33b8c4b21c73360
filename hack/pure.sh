#!/bin/sh
# Tests the pure packages under the race detector, prints their coverage, and fails below 90%. The tests of all of them count for each:
# a package below controllers/validation is tested by its callers too.
set -eu
cd "$(dirname "$0")/.."

profile=$(mktemp)
trap 'rm -f "$profile"' EXIT
# Packages without tests, such as helpers for tests, are left out.
packages=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' \
	./api/acme ./internal/jws/... ./internal/pki/... ./internal/policy/... ./acmeserver/nonce ./controllers/ca ./controllers/validation/...)
# shellcheck disable=SC2086 # several packages
go test -race -timeout 15m -coverprofile "$profile" -coverpkg "$(echo $packages | tr ' ' ,)" $packages

# A line of the profile is "package/file.go:range statements count", once for each test program.
awk '
	NR > 1 {
		if ($3 > hits[$1]) hits[$1] = $3
		statements[$1] = $2
	}
	END {
		for (block in statements) {
			package = block
			sub("/[^/]*$", "", package)
			all[package] += statements[block]
			if (hits[block] > 0) covered[package] += statements[block]
		}
		for (package in all) {
			seen++
			percent = 100 * covered[package] / all[package]
			printf "%s: %.1f%% of %d statements\n", package, percent, all[package]
			if (percent < 90) {
				print "pure: " package " is covered by less than 90%" > "/dev/stderr"
				failed = 1
			}
		}
		if (!seen) print "pure: no package was covered" > "/dev/stderr"
		exit failed || !seen
	}' "$profile"
