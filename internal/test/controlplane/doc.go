// Package controlplane runs a real Kubernetes control plane on loopback: etcd and kube-apiserver, as children of this
// program, for local use (hack/run) and for tests.
//
// There is no kubelet and no controller of Kubernetes, so nothing runs Pods or creates default ServiceAccounts.
// StartControllers starts some controllers, such as the garbage collector. RBAC and the default admission plugins are
// on. Every connection is authenticated by TLS, etcd's too, because other users of the machine can reach loopback.
// The package knows nothing about acmeca except the paths of its manifests.
package controlplane
