#!/bin/sh
# Runs each fuzz target for the given time, one after the other, because go test fuzzes one target at a time. With
# "plain" as second argument the tests are compiled without coverage, which is fast, and inputs are mutated blindly.
# Otherwise they are compiled with coverage, which takes minutes the first time.
set -eu
cd "$(dirname "$0")/.."

time=$1
instrument=-fuzz=.
[ "${2:-}" != plain ] || instrument=
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Inputs that reach new code are kept in the same cache as `go test -fuzz` uses.
cache=$(go env GOCACHE)/fuzz

for package in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
	(cd "$package" && go test -c $instrument -o "$work/test" .) # in its directory, since it may be of another module
	for target in $(cat "$package"/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p'); do
		echo "$package $target"
		if ! (cd "$package" && "$work/test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" \
			-test.fuzzcachedir "$cache/$(go list -f '{{.ImportPath}}' .)") </dev/null >"$work/output" 2>&1; then
			cat "$work/output"
			# On a busy machine Go may report the end of the time as a failure (https://go.dev/issue/75804). Such a
			# failure has no input.
			if grep -q 'Failing input written' "$work/output" || ! grep -q 'context deadline exceeded' "$work/output"; then
				exit 1
			fi
		fi
		tail -n 2 "$work/output" | grep execs || true
	done
	cd "$root"
done
