#!/bin/sh
# Runs each fuzz target for the given time, one after the other, since go test fuzzes one target at a time. With "plain" as the
# second argument the tests are compiled as they are for every other run, which costs next to nothing, and inputs are mutated
# without looking at what they reach; else with coverage, which takes minutes the first time.
set -eu
cd "$(dirname "$0")/.."

time=$1
instrument=-fuzz=.
[ "${2:-}" != plain ] || instrument=
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What fuzzing finds that reaches more code goes where `go test -fuzz` keeps it too.
cache=$(go env GOCACHE)/fuzz

for package in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
	go test -c $instrument -o "$work/test" "$package"
	for target in $(cat "$package"/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p'); do
		echo "$package $target"
		if ! (cd "$package" && "$work/test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" \
			-test.fuzzcachedir "$cache/$(go list -f '{{.ImportPath}}' .)") </dev/null >"$work/output" 2>&1; then
			cat "$work/output"
			# A busy machine has Go take the end of the time for a failure (https://go.dev/issue/75804): without an input there is none.
			grep -q 'context deadline exceeded' "$work/output" && ! grep -q 'Failing input written' "$work/output"
		fi
		tail -n 2 "$work/output" | grep execs || true
	done
	cd "$root"
done
