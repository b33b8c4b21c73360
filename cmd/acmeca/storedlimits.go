package main

import (
	"errors"
	"flag"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/acmeca/acmeca/controllers/budget"
)

// storedLimits are the flags with the ceilings of stored bytes.
type storedLimits struct{ total, issuer byteSize }

// defaultStored is half of etcd's default quota of 2 GiB, whose database also holds old revisions, free pages and other objects.
const defaultStored = 1 << 30

func (l *storedLimits) bind(flags *flag.FlagSet) {
	l.total = defaultStored
	flags.Var(&l.total, "max-stored-bytes", "`quantity` of bytes that the objects of all issuers may use in etcd, such as 1Gi; beyond it, clients "+
		"can't create objects; 0 means no limit")
	flags.Var(&l.issuer, "max-stored-bytes-per-issuer", "`quantity` of bytes that the objects of one issuer may use in etcd; 0 means half of --max-stored-bytes")
}

func (l *storedLimits) limits() (budget.Limits, error) {
	if l.total > 0 && l.issuer > l.total {
		return budget.Limits{}, errors.New("--max-stored-bytes-per-issuer must not exceed --max-stored-bytes")
	}
	limits := budget.Limits{Total: int64(l.total), Issuer: int64(l.issuer)}
	if l.issuer == 0 {
		limits.Issuer = limits.Total / 2
	}
	return limits, nil
}

// byteSize is a flag with a number of bytes, written as a Kubernetes quantity.
type byteSize int64

// String implements flag.Value.
func (s *byteSize) String() string {
	return resource.NewQuantity(int64(*s), resource.BinarySI).String()
}

// Set implements flag.Value.
func (s *byteSize) Set(text string) error {
	quantity, err := resource.ParseQuantity(text)
	if err != nil || quantity.Sign() < 0 {
		return fmt.Errorf("%q is not a number of bytes such as 512Mi", text)
	}
	*s = byteSize(quantity.Value())
	return nil
}
