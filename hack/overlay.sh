#!/bin/sh
# Writes the kustomization .local/deploy: config/default with the image of the argument. The source tree does not
# change.
set -eu
cd "$(dirname "$0")/.."

image=$1
case ${image##*/} in # the last element, since a registry's port has a colon too
*@*) name=${image%@*} version="digest: ${image##*@}" ;;
*:*) name=${image%:*} version="newTag: \"${image##*:}\"" ;;
*) name=$image version="newTag: latest" ;;
esac
mkdir -p .local/deploy
cat >.local/deploy/kustomization.yaml <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- ../../config/default
images:
- name: acmeca
  newName: $name
  $version
END
