#!/bin/sh
# Builds the image of acmeca-pkcs11 without Docker, and prints its digest:
#  hack/pkcs11-image.sh NAME ARCHIVE FILE ...
# The files are a vendor's PKCS#11 library and its programs. They get the same paths in the image, and so do the shared libraries of this
# machine that they and acmeca-pkcs11 are linked with. The digest depends on the source, the versions of Go and gcc, and these files.
set -eu
usage="usage: NAME ARCHIVE FILE ..., such as registry.example/acmeca-hsm:v1 image.tar /usr/lib/libhsm.so"
name=${1:?$usage}
archive=${2:?$usage}
shift 2
cd "$(dirname "$0")/.."
CGO_ENABLED=1 ${GO:-go} -C cmd/acmeca-pkcs11 build -trimpath -buildvcs=false -ldflags="-s -w -buildid=" -o ../../bin/acmeca-pkcs11 .
CGO_ENABLED=0 ${GO:-go} -C hack/image build -trimpath -o ../../bin/image .
files=
for file in "$@" $(ldd bin/acmeca-pkcs11 "$@" | awk '$2 == "=>" { print $3 } $1 ~ "^/" && $2 ~ "^[(]" { print $1 }' | sort -u); do
	files="$files $file=$file"
done
# shellcheck disable=SC2086 # paths without spaces
bin/image -name "$name" -o "$archive" -label org.opencontainers.image.title=acmeca-pkcs11 \
	-label org.opencontainers.image.description="acmeca's key service for PKCS#11" \
	-label org.opencontainers.image.source=https://github.com/acmeca/acmeca \
	-label org.opencontainers.image.licenses=Apache-2.0 \
	bin/acmeca-pkcs11=/acmeca-pkcs11 $files
