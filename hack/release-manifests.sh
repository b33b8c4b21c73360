#!/bin/sh
# Renders what a release installs, for those without kustomize, into dist/:
#   hack/release-manifests.sh v1.2.3
# DIST chooses another directory, IMG another image. It refuses a version that isn't everywhere yet.
set -eu
cd "$(dirname "$0")/.."

version=${1:?"say the version, such as v1.2.3"}
dist=${DIST:-dist}
number=${version#v}
image=${IMG:-ghcr.io/acmeca/acmeca:$number} # as chart and bundle name it
csv=config/manifests/acmeca.clusterserviceversion.yaml

has() { # FILE LINE
	grep -qxF -- "$2" "$1" || { echo "release-manifests: $1 lacks the line \"$2\": docs/release.md" >&2; exit 1; }
}
has charts/acmeca/Chart.yaml "version: $number"
has charts/acmeca/Chart.yaml "appVersion: $number"
has "$csv" "  name: acmeca.v$number"
has "$csv" "  version: $number"
has "$csv" "    containerImage: ghcr.io/acmeca/acmeca:$number"

PATH=$PWD/bin:$PATH
mkdir -p "$dist"
kubectl kustomize config/crd >"$dist/acmeca-crds-$version.yaml"
kubectl kustomize config/default | sed "s|image: acmeca:dev\$|image: $image|" >"$dist/acmeca-$version.yaml"
(cd "$dist" && sha256sum "acmeca-crds-$version.yaml" "acmeca-$version.yaml")
