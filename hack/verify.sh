#!/bin/sh
# Checks that generated files and go.mod are up to date. It leaves the tree as the generators write it: commit the result.
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
	echo "verify: the files above were out of date: commit the output of \`make generate manifests api-reference\`" >&2
fi
if ! go mod tidy -diff; then
	echo "verify: go.mod or go.sum is out of date: run \`go mod tidy\`" >&2
	status=1
fi

# .github: each module and each part of .ci/run is named, and each action is pinned by its digest.
for mod in $(find . -name go.mod | sort); do
	dir=${mod#.}
	dir=${dir%/go.mod}
	if ! grep -qxF "  - ${dir:-/}" .github/dependabot.yml; then
		echo "verify: .github/dependabot.yml lacks the module ${dir:-/}" >&2
		status=1
	fi
done
for part in $(sed -n 's/^parts="\(.*\)"$/\1/p' .ci/run); do
	if ! grep -Eq "^        part: \[(.*, )?$part[],]|^    - run: .ci/run $part\$" .github/workflows/ci.yml; then
		echo "verify: .github/workflows/ci.yml lacks the part $part of .ci/run" >&2
		status=1
	fi
done
if grep -E 'uses: ' .github/workflows/*.yml | grep -Ev 'uses: [^@ ]+@[0-9a-f]{40} # v[0-9]'; then
	echo "verify: the actions above are not pinned by a commit digest with the version as a comment" >&2
	status=1
fi
exit $status
