// Package cluster runs a Kubernetes cluster with real nodes on this machine, as root: etcd and a control plane, and for
// each node containerd, kubelet, kube-proxy and kube-router (network policies) in namespaces of their own.
//
// Everything is built from Go modules or comes from Debian packages. Nothing of the machine changes: the networks are
// in network namespaces, the mounts in mount namespaces, and all processes are in cgroups that Remove deletes. The API
// server is reachable on a port of loopback. Remove also works after the program that started the cluster was killed.
package cluster
