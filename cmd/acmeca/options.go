package main

import (
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// options are the flags of both halves.
type options struct {
	namespace     string
	defaultIssuer objectName
	watch         listFlag
	externalURLs  listFlag
	plainURL      string
}

func (o *options) bind(flags *flag.FlagSet) {
	o.namespace = "acmeca-system"
	flags.StringVar(&o.namespace, "namespace", o.namespace, "the namespace that the operator is in")
	flags.Var(&o.defaultIssuer, "default-issuer", "`namespace/name` of the issuer that is also served under /acme (default <namespace>/default)")
	flags.Var(&o.watch, "watch-namespaces", "`namespace` with issuers, or several with commas between; may be given again. The others are left alone, and no right is needed there (default all namespaces)")
	flags.Var(&o.externalURLs, "external-url", "base `URL` under which clients reach the ACME server, for issuers that name none; may be given again (default https://acmeca.<namespace>.svc)")
	flags.StringVar(&o.plainURL, "plain-url", "", "base `URL` of the plain HTTP listener, from which certificates say that CA certificates can be had (default http://acmeca.<namespace>.svc)")
}

func (o *options) check() error {
	if o.defaultIssuer.Name == "" {
		o.defaultIssuer = objectName{Namespace: o.namespace, Name: "default"}
	}
	if err := o.checkNamespaces(); err != nil {
		return err
	}
	for _, text := range o.externalURLs {
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("--external-url %q is not a plain https URL", text)
		}
	}
	if u, err := url.Parse(o.plainURL); err != nil || o.plainURL != "" && (u.Scheme != "http" || u.Host == "") {
		return fmt.Errorf("--plain-url %q is not an http URL", o.plainURL)
	}
	return nil
}

// checkNamespaces checks the namespaces, and takes apart those that one argument names.
func (o *options) checkNamespaces() error {
	o.watch = slices.Compact(slices.Sorted(strings.SplitSeq(o.watch.String(), ",")))
	if len(o.watch) == 1 && o.watch[0] == "" {
		o.watch = nil
		return nil
	}
	for _, namespace := range o.watch {
		if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
			return fmt.Errorf("--watch-namespaces: %q is not a namespace: %s", namespace, strings.Join(problems, "; "))
		}
	}
	if !slices.Contains(o.watch, o.defaultIssuer.Namespace) {
		return fmt.Errorf("--watch-namespaces leaves out %q, where the default issuer is: add it, or name another one with --default-issuer", o.defaultIssuer.Namespace)
	}
	return nil
}

// caches restricts a cache to the namespaces that are watched, and has it start from pages.
func (o *options) caches(c cache.Options) cache.Options {
	c.NewInformer = newPagedInformer
	if len(o.watch) > 0 {
		c.DefaultNamespaces = map[string]cache.Config{}
	}
	for _, namespace := range o.watch {
		c.DefaultNamespaces[namespace] = cache.Config{}
	}
	return c
}

func (o *options) plain() string {
	if o.plainURL == "" {
		return "http://acmeca." + o.namespace + ".svc"
	}
	return strings.TrimRight(o.plainURL, "/")
}

func (o *options) urls() []string {
	if len(o.externalURLs) == 0 {
		return []string{"https://acmeca." + o.namespace + ".svc"}
	}
	return o.externalURLs
}

// restConfig is how to reach the API server: by a kubeconfig file, or as a Pod does.
func restConfig(kubeconfig string) (config *rest.Config, err error) {
	if kubeconfig == "" {
		config, err = ctrl.GetConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err == nil {
		config.Wrap(decodeAnswers)
		config.Timeout = 0 // a watch that is decoded here would end with the answer that client-go is handed
	}
	return config, err
}

// objectName is a flag of the form namespace/name.
type objectName client.ObjectKey

func (n *objectName) String() string { return n.Namespace + "/" + n.Name }

func (n *objectName) Set(text string) error {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%q is not namespace/name", text)
	}
	*n = objectName{Namespace: namespace, Name: name}
	return nil
}

// listFlag is a flag that may be given several times.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

func (l *listFlag) Set(text string) error {
	*l = append(*l, strings.TrimRight(text, "/"))
	return nil
}

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
