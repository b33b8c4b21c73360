#!/bin/sh
# Removes the objects of acmeca's kinds from the cluster, and then the kustomization of the argument.
#
# The objects are removed first, while the controllers run, because the controllers remove the finalizer of revoked
# orders. Without objects, the removal of the CustomResourceDefinitions also does not hang: kube-apiserver sets up the
# storage of a kind at its first use. If the first use is the removal of the kind's own objects, the storage is not
# ready. A conflict may fail the next try, and kube-apiserver retries after five minutes (crd_finalizer.go).
set -eu
kubectl=${KUBECTL:-kubectl} # may have arguments, so it isn't quoted below

# A new kind is served with a short delay. kubectl would wait for each object by itself, which takes minutes for hundreds of them.
delete_all() {
	for try in 1 2 3 4 5 6 7 8 9; do
		$kubectl delete "$1" --all --all-namespaces --wait=false >/dev/null && return
		sleep 1
	done
	$kubectl delete "$1" --all --all-namespaces --wait=false >/dev/null
}

# Waits until a kind has no objects.
await_none() {
	for try in $(seq 120); do
		left=$($kubectl get "$1" --all-namespaces --output name) || return 1
		[ -n "$left" ] || return 0
		sleep 1
	done
	echo "These objects have a finalizer that no controller removes. docs/troubleshooting.md says how to remove it:" >&2
	echo "$left" | head >&2
	return 1
}

for kind in acmeorders acmeauthorizations acmeaccounts acmeissuers; do
	installed=$($kubectl get customresourcedefinitions --ignore-not-found --output name "$kind.acmeca.dev")
	[ -z "$installed" ] || { echo "deleting all $kind" && delete_all "$kind.acmeca.dev" && await_none "$kind.acmeca.dev"; }
done
$kubectl delete --ignore-not-found -k "$1"
