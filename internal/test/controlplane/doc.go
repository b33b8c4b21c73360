// Package controlplane runs a real Kubernetes control plane on loopback: etcd and kube-apiserver, as children of this
// program, for local use (hack/run) and for tests.
//
// There are no kubelet and no controllers of Kubernetes, so nothing runs Pods or makes default ServiceAccounts;
// StartControllers starts some of them, such as the one that collects garbage.
// RBAC and the default admission plugins are on, and every connection is authenticated by TLS, etcd's too, since other
// users of the machine can reach loopback. It knows nothing of acmeca but where its manifests are.
package controlplane
