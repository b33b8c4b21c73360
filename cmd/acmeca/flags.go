package main

import (
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// objectName is a flag of the form namespace/name.
type objectName client.ObjectKey

// String implements flag.Value.
func (n *objectName) String() string { return n.Namespace + "/" + n.Name }

// Set implements flag.Value.
func (n *objectName) Set(text string) error {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%q is not namespace/name", text)
	}
	*n = objectName{Namespace: namespace, Name: name}
	return nil
}

// listFlag is a repeatable flag.
type listFlag []string

// String implements flag.Value.
func (l *listFlag) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value. It trims slashes from the end, which URLs may have.
func (l *listFlag) Set(text string) error {
	*l = append(*l, strings.TrimRight(text, "/"))
	return nil
}

// parseCIDRs parses the values of a flag. Bits outside the prefix are cleared.
func parseCIDRs(flag string, cidrs []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range cidrs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s %q is not a CIDR such as 10.0.0.0/8", flag, text)
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}
