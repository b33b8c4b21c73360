package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// directoryInfo is the data that a client's configuration needs.
type directoryInfo struct {
	DirectoryURL string            `json:"directoryURL"`
	All          []string          `json:"allDirectoryURLs"`
	Profiles     map[string]string `json:"profiles"`
	Terms        string            `json:"termsOfService,omitempty"`
	EABRequired  bool              `json:"externalAccountRequired"`
}

func newDirectory(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "directory [ISSUER]",
		Short:             "Print the directory URL for the configuration of ACME clients",
		Example:           `  certbot certonly --standalone -d shop.example --server "$(kubectl acme directory)"`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.onIssuer(func(_ context.Context, issuer *v1alpha1.AcmeIssuer) error {
			info, err := directoryOf(issuer)
			if err != nil {
				return err
			}
			if done, err := o.structured(info); done {
				return err
			}
			urls := []string{info.DirectoryURL}
			if o.output == "wide" {
				urls = info.All
			}
			for _, url := range urls {
				o.say(o.Out, "%s", url)
			}
			return nil
		}),
	}
	o.addOutput(cmd, "wide", "json", "yaml")
	return cmd
}

func directoryOf(issuer *v1alpha1.AcmeIssuer) (directoryInfo, error) {
	if issuer.Status.DirectoryURL == "" {
		return directoryInfo{}, fmt.Errorf("issuer %s has no directory yet: run kubectl acme why issuer/%s", issuer.Name, issuer.Name)
	}
	info := directoryInfo{DirectoryURL: issuer.Status.DirectoryURL, Profiles: map[string]string{}, Terms: issuer.Spec.Account.TermsOfService,
		EABRequired: issuer.Spec.Account.ExternalAccountBinding.Required}
	for _, base := range issuer.Status.BaseURLs {
		info.All = append(info.All, acme.Base(base).URL(acme.DirectoryPath))
	}
	for _, profile := range issuer.Spec.Profiles {
		info.Profiles[profile.Name] = profile.Description
	}
	return info, nil
}
