#!/bin/sh
# Renders the manifests of a release into dist/, for use without kustomize:
#  hack/release-manifests.sh v1.2.3
# DIST sets another directory, IMG another image. Fails unless chart and bundle have the same version.
set -eu
cd "$(dirname "$0")/.."

version=${1:?"usage: VERSION, such as v1.2.3"}
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
