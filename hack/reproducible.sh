#!/bin/sh
# Builds the operator, its image and the plugin's archive for linux in two copies of the tree, and compares the results. One
# build uses the build cache, the other an empty cache. The cache was filled at another time and mostly in another
# place, so a second full build would show nothing more.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # DIRECTORY
	mkdir -p "$1"
	git ls-files -z | tar --null -T - -cf - | tar -C "$1" -xf -
	"$1/hack/release-binary.sh" "$1/release/acmeca"
	"$1/hack/image.sh" registry.test/acmeca:v0.0.0 -o "$1/release/image.tar" >/dev/null
	PLATFORMS="linux/$(go env GOARCH)" DIST="$1/release" "$1/hack/release-plugin.sh" v0.0.0 >/dev/null
}

build "$work/one"
export GOCACHE="$work/cache"
build "$work/another/place"
(cd "$work/one/release" && sha256sum -- *)
diff -r "$work/one/release" "$work/another/place/release"
echo "reproducible: the two builds are identical"
