#!/bin/sh
# Builds the operator into the file that the argument names, the same bytes wherever and whenever it is built with the same
# version of Go: static, without paths, symbols or the state of a working copy. GOARCH chooses for what.
set -eu
out=$(realpath -m "$1")
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOOS=linux
${GO:-go} build -trimpath -buildvcs=false -ldflags "-s -w -buildid=" -o "$out" ./cmd/acmeca
