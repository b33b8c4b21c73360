package view

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// Status is the status of issuers and their orders.
type Status struct {
	Issuers []IssuerStatus `json:"issuers"`
	Orders  []OrderCounts  `json:"orders"`
}

// IssuerStatus is a summary of an issuer.
type IssuerStatus struct {
	Namespace   string     `json:"namespace"`
	Name        string     `json:"name"`
	Ready       string     `json:"ready"`
	Reason      string     `json:"reason"`
	Message     string     `json:"message,omitempty"`
	Directory   string     `json:"directoryURL,omitempty"`
	CASubject   string     `json:"caSubject,omitempty"`
	CASHA256    string     `json:"caSHA256,omitempty"`
	CAExpires   *time.Time `json:"caExpires,omitempty"`
	RootExpires *time.Time `json:"rootExpires,omitempty"`
	CRL         *CRLStatus `json:"crl,omitempty"`
}

// CRLStatus is a summary of the complete CRLs and shards of the CAs that still sign.
type CRLStatus struct {
	// Shards is the number of shards. Revoked is the number of entries of the complete CRLs.
	Shards  int `json:"shards"`
	Revoked int `json:"revoked"`
	// ThisUpdate is the oldest one of all CRLs, NextUpdate the earliest one.
	ThisUpdate time.Time `json:"thisUpdate"`
	NextUpdate time.Time `json:"nextUpdate"`
}

// OrderCounts are the numbers of orders in a namespace by state.
type OrderCounts struct {
	Namespace string `json:"namespace"`
	Total     int    `json:"total"`
	// ByState has all states except valid, which is the rest of Total. More marks states whose count stopped at a limit.
	ByState map[acme.State]int  `json:"byState"`
	More    map[acme.State]bool `json:"more,omitempty"`
}

// IssuerStatusOf returns the summary of an issuer and its CRL ConfigMaps.
func IssuerStatusOf(issuer *v1alpha1.AcmeIssuer, crls []corev1.ConfigMap) IssuerStatus {
	out := IssuerStatus{Namespace: issuer.Namespace, Name: issuer.Name, Ready: "Unknown", Directory: issuer.Status.DirectoryURL,
		Reason: "NotSeen", Message: "no controller has processed it: check that `acmeca controller` is running"}
	if c := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		out.Ready, out.Reason, out.Message = string(c.Status), c.Reason, c.Message
	}
	if c := issuer.Status.IssuingCertificate; c != nil {
		out.CASubject, out.CASHA256, out.CAExpires = c.Subject, c.SHA256, &c.NotAfter.Time
	}
	for _, root := range Certificates(issuer.Status.CABundle) {
		if out.RootExpires == nil || root.NotAfter.After(*out.RootExpires) {
			out.RootExpires = &root.NotAfter
		}
	}
	out.CRL = crlStatusOf(issuer, crls)
	return out
}

// crlStatusOf skips the CRLs of CAs that no longer sign. Their last CRL is final.
func crlStatusOf(issuer *v1alpha1.AcmeIssuer, configMaps []corev1.ConfigMap) *CRLStatus {
	signing := Certificates(issuer.Status.RetiredCertificates)
	if c := issuer.Status.IssuingCertificate; c != nil {
		signing = append(signing, first(Certificates(c.Chain))...)
	}
	var out *CRLStatus
	for _, certificate := range signing {
		shards, _ := issuer.Status.ShardsOf(certificate)
		for number := -1; number < shards; number++ {
			name := v1alpha1.CAName(certificate)
			if number >= 0 {
				name = v1alpha1.CRLShardName(certificate, number)
			}
			list := crlOf(configMaps, v1alpha1.CRLConfigMap(issuer.Name, name))
			if list == nil {
				continue
			}
			if out == nil {
				out = &CRLStatus{ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}
			}
			out.add(list, number < 0)
		}
	}
	return out
}

// add counts a CRL: a complete one, whose entries are all revocations, or a shard of it.
func (s *CRLStatus) add(list *x509.RevocationList, complete bool) {
	if complete {
		s.Revoked += len(list.RevokedCertificateEntries)
	} else {
		s.Shards++
	}
	if list.ThisUpdate.Before(s.ThisUpdate) {
		s.ThisUpdate = list.ThisUpdate
	}
	if list.NextUpdate.Before(s.NextUpdate) {
		s.NextUpdate = list.NextUpdate
	}
}

// crlOf returns the CRL in the ConfigMap of a name and its parts, or nil if there is none.
func crlOf(configMaps []corev1.ConfigMap, name string) *x509.RevocationList {
	get := func(_ context.Context, name string) (*corev1.ConfigMap, error) {
		i := slices.IndexFunc(configMaps, func(c corev1.ConfigMap) bool { return c.Name == name })
		if i < 0 {
			return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), name)
		}
		return &configMaps[i], nil
	}
	_, content, err := crlstore.Read(context.Background(), get, name, nil)
	if err != nil {
		return nil
	}
	list, err := x509.ParseRevocationList(content.DER)
	if err != nil {
		return nil
	}
	return list
}

func first[T any](list []T) []T { return list[:min(1, len(list))] }

// Certificates returns the certificates in PEM text, and skips blocks that can't be parsed.
func Certificates(text string) []*x509.Certificate {
	var out []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, certificate)
		}
	}
	return out
}

// Write writes the status as tables.
func (st Status) Write(s Screen, wide bool) {
	if len(st.Issuers) == 0 {
		fmt.Fprintln(s, "No AcmeIssuer found. Use -A for all namespaces.")
		return
	}
	issuers := &Table{Header: []string{"NAMESPACE", "ISSUER", "READY", "REASON", "CA EXPIRES", "CRL AGE", "DIRECTORY"}}
	if wide {
		issuers.Header = append(issuers.Header, "ROOT EXPIRES", "CRL ENDS", "SHARDS", "REVOKED", "CA", "SHA-256")
	}
	for _, i := range st.Issuers {
		crlAge, crlEnds, shards, revoked := Cell{Text: "-", Style: Warn}, Cell{}, "0", "0"
		if i.CRL != nil {
			crlAge, crlEnds = plain(s.Age(i.CRL.ThisUpdate)), plain(s.Left(i.CRL.NextUpdate))
			shards, revoked = fmt.Sprint(i.CRL.Shards), fmt.Sprint(i.CRL.Revoked)
			if s.Now.After(i.CRL.NextUpdate) {
				crlAge = Cell{crlAge.Text + ", " + crlEnds.Text, Bad}
			}
		}
		row := []Cell{plain(i.Namespace), plain(i.Name), state(i.Ready), state(i.Reason), s.end(i.CAExpires), crlAge, plain(i.Directory)}
		if wide {
			row = append(row, s.end(i.RootExpires), crlEnds, plain(shards), plain(revoked), plain(i.CASubject), plain(i.CASHA256))
		}
		issuers.Add(row...)
	}
	issuers.Write(s)
	for _, i := range st.Issuers {
		if i.Ready != "True" || i.Reason != v1alpha1.ReasonReady {
			fmt.Fprintf(s, "\n%s: %s\n", s.styled(i.Namespace+"/"+i.Name, Bold), s.styled(i.Message, Warn))
		}
	}
	fmt.Fprintln(s)
	st.orders().Write(s)
}

func (st Status) orders() *Table {
	t := &Table{Header: []string{"NAMESPACE", "ORDERS", "PENDING", "READY", "PROCESSING", "VALID", "INVALID"}}
	for _, o := range st.Orders {
		valid, at := o.Total, ""
		for state, n := range o.ByState {
			valid -= n
			if o.More[state] {
				at = "≤"
			}
		}
		count := func(state acme.State, style Style) Cell {
			text := fmt.Sprint(o.ByState[state])
			if o.More[state] {
				text += "+"
			}
			if o.ByState[state] == 0 {
				style = Plain
			}
			return Cell{text, style}
		}
		t.Add(plain(o.Namespace), plain(fmt.Sprint(o.Total)), count(acme.StatePending, Plain), count(acme.StateReady, Plain),
			count(acme.StateProcessing, Warn), Cell{at + fmt.Sprint(max(valid, 0)), Good}, count(acme.StateInvalid, Bad))
	}
	return t
}

// soon is the time before an end from which it is highlighted.
const soon = 14 * 24 * time.Hour

func (s Screen) end(t *time.Time) Cell {
	if t == nil {
		return plain("-")
	}
	cell := plain(s.Left(*t))
	switch {
	case s.Now.After(*t):
		cell.Style = Bad
	case t.Sub(s.Now) < soon && t.Sub(s.Now) > 0:
		cell.Style = Warn
	}
	return cell
}
