package main

import (
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// options are the flags that the ACME server and the controllers share.
type options struct {
	namespace     string
	defaultIssuer objectName
	watch         listFlag
	externalURLs  listFlag
	plainURL      string
}

func (o *options) bind(flags *flag.FlagSet) {
	o.namespace = "acmeca-system"
	flags.StringVar(&o.namespace, "namespace", o.namespace, "the operator's own namespace")
	flags.Var(&o.defaultIssuer, "default-issuer", "`namespace/name` of the issuer that is also served under the short path /acme (default <namespace>/default)")
	flags.Var(&o.watch, "watch-namespaces", "`namespace` with issuers, or several separated by commas; repeatable. Other namespaces are ignored, and no rights are needed there (default all namespaces)")
	flags.Var(&o.externalURLs, "external-url", "base `URL` of the ACME server for clients, unless the issuer sets its own; repeatable (default https://acmeca.<namespace>.svc)")
	flags.StringVar(&o.plainURL, "plain-url", "", "base `URL` of the plain HTTP listener, which certificates name for CRLs and CA certificates (default http://acmeca.<namespace>.svc)")
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

// checkNamespaces splits, sorts and checks the watched namespaces.
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
		return fmt.Errorf("--watch-namespaces lacks %q, the namespace of the default issuer: add it, or set another --default-issuer", o.defaultIssuer.Namespace)
	}
	return nil
}

// plain returns the base URL of the plain HTTP listener.
func (o *options) plain() string {
	if o.plainURL == "" {
		return "http://acmeca." + o.namespace + ".svc"
	}
	return strings.TrimRight(o.plainURL, "/")
}

// urls returns the base URLs of the ACME server.
func (o *options) urls() []string {
	if len(o.externalURLs) == 0 {
		return []string{"https://acmeca." + o.namespace + ".svc"}
	}
	return o.externalURLs
}
