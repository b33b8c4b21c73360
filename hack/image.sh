#!/bin/sh
# Builds acmeca's image without Docker, and prints its digest:
#  hack/image.sh NAME [ARGUMENT of hack/image ...]
# ARCHES lists the architectures, separated by spaces. The digest depends only on the source and the version of Go.
set -eu
name=${1:?"usage: NAME, such as registry.example/acmeca:v1"}
shift
cd "$(dirname "$0")/.."
arches=${ARCHES:-$(${GO:-go} env GOARCH)}
for arch in $arches; do
	GOARCH=$arch hack/release-binary.sh "bin/acmeca-linux-$arch"
done
CGO_ENABLED=0 ${GO:-go} -C hack/image build -trimpath -o ../../bin/image .
bin/image -name "$name" -arch "$(echo "$arches" | tr ' ' ',')" \
	-label org.opencontainers.image.title=acmeca \
	-label org.opencontainers.image.description="An ACME certificate authority on Kubernetes resources" \
	-label org.opencontainers.image.source=https://github.com/acmeca/acmeca \
	-label org.opencontainers.image.licenses=Apache-2.0 \
	"$@" "bin/acmeca-linux-{arch}=/acmeca"
