#!/bin/sh
# Checks that everything generated is what the generators make now, and that go.mod is tidy. It leaves the tree as the
# generators do, so what it complains about is mended by a commit.
set -eu
cd "$(dirname "$0")/.."

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
cp -R api config charts bundle docs/reference "$before"
make -s generate manifests api-reference
status=0
for dir in api config charts bundle docs/reference; do
	diff -ru "$before/${dir##*/}" "$dir" || status=1
done
if [ $status -ne 0 ]; then
	echo "verify: the above was out of date: commit what \`make generate manifests api-reference\` has made" >&2
fi
if ! go mod tidy -diff; then
	echo "verify: go.mod or go.sum is out of date: run \`go mod tidy\`" >&2
	status=1
fi
exit $status
