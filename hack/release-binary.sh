#!/bin/sh
# Builds the operator into the file of the argument. The bytes depend only on the source and the version of Go: the
# binary is static, without paths, symbols and the state of the working copy. GOARCH selects the architecture.
set -eu
out=$(realpath -m "$1")
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOOS=linux
${GO:-go} build -trimpath -buildvcs=false -ldflags "-s -w -buildid=" -o "$out" ./cmd/acmeca
