#!/bin/bash
# Builds the kubectl plugin for each platform into dist/, as archives that krew installs, and the krew manifest for
# them:
#  hack/release-plugin.sh v1.2.3
# PLATFORMS and DIST set other values. The test sets BUILDFLAGS and CGO_ENABLED for a faster build. Without them the
# archives depend only on the source tree and the version of Go.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:?"usage: VERSION, such as v1.2.3"}
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64}
dist=${DIST:-dist}
url=https://github.com/acmeca/acmeca/releases/download/$version

mkdir -p "$dist"
manifest=$dist/acme.yaml
sed "s|@VERSION@|$version|" hack/krew/acme.yaml >"$manifest"

for platform in $platforms; do
	os=${platform%/*} arch=${platform#*/}
	binary=kubectl-acme
	[ "$os" != windows ] || binary=kubectl-acme.exe
	work=$(mktemp -d)
	# shellcheck disable=SC2086 # BUILDFLAGS are several words
	GOOS=$os GOARCH=$arch CGO_ENABLED=${CGO_ENABLED:-0} go build ${BUILDFLAGS--trimpath} -buildvcs=false -ldflags "-s -w -X github.com/acmeca/acmeca/cmd/kubectl-acme/plugin.released=$version" -o "$work/$binary" ./cmd/kubectl-acme
	cp LICENSE "$work/"
	archive=kubectl-acme_${version}_${os}_$arch.tar.gz
	tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u+rwX,go+rX -cf - LICENSE "$binary" | gzip -9n >"$dist/$archive"
	rm -r "$work"
	digest=$(sha256sum "$dist/$archive" | cut -d' ' -f1)
	echo "$digest  $archive"
	cat >>"$manifest" <<-PLATFORM
	  - selector:
	      matchLabels:
	        os: $os
	        arch: $arch
	    uri: $url/$archive
	    sha256: $digest
	    bin: $binary
	PLATFORM
done
echo "the krew manifest is $manifest"
