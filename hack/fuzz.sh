#!/bin/sh
# Runs each fuzz target for the given time, one after the other, since go test fuzzes one target at a time.
set -eu
cd "$(dirname "$0")/.."

# `go test -list` prints the targets of a package, and then a line that names the package.
go test -list '^Fuzz' ./... | awk '
	/^Fuzz/ {targets[n++] = $1}
	$1 == "ok" {for (i = 0; i < n; i++) print $2, targets[i]; n = 0}
' | while read -r package target; do
	echo "$package $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$package" </dev/null
done
