#!/bin/sh
# Removes from the cluster the objects of acmeca's kinds, and then what the kustomization that the argument names has in it.
#
# The objects go first, while the controllers run that let go of revoked orders. It is also what keeps the removal of the
# CustomResourceDefinitions from hanging: kube-apiserver sets up a kind's storage when the kind is first used, and where
# that is its own removal of the kind's objects, it finds the storage not ready, and may lose the next try to a conflict
# with its own note of that, until it looks at everything again after five minutes (crd_finalizer.go).
set -eu
kubectl=${KUBECTL:-kubectl} # may have arguments, so it isn't quoted below

# A kind that has just been installed is served a moment later.
delete_all() {
	for try in 1 2 3 4 5 6 7 8 9; do
		$kubectl delete "$1" --all --all-namespaces && return
		sleep 1
	done
	$kubectl delete "$1" --all --all-namespaces
}

for kind in acmeorders acmeauthorizations acmeaccounts acmeissuers; do
	installed=$($kubectl get customresourcedefinitions --ignore-not-found --output name "$kind.acmeca.dev")
	[ -z "$installed" ] || delete_all "$kind.acmeca.dev"
done
$kubectl delete --ignore-not-found -k "$1"
