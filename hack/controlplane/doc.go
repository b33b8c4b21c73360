// Package controlplane runs a real Kubernetes control plane on loopback: etcd and kube-apiserver, as children of this
// program, for local use (hack/run) and for tests.
//
// There is no kubelet and no controller manager, so nothing runs Pods, collects garbage or makes default ServiceAccounts.
// RBAC and the default admission plugins are on, and every connection is authenticated by TLS, etcd's too, since other
// users of the machine can reach loopback. It knows nothing of acmeca but where its manifests are.
package controlplane
