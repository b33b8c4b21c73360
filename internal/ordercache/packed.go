package ordercache

import (
	"encoding/hex"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"unique"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// packed is an order whose certificate was issued and isn't revoked, as AcmeOrder.Compact leaves it, in a quarter of the
// memory. Times are in seconds since 1970.
type packed struct {
	// Text that many orders have in common is held once. The finalizer is zero where there is none.
	namespace, issuer, account, profile, crl, finalizer, authorityKey unique.Handle[string]
	// text has the name, what the order replaces, the authorizations, of which one with the order's own name is empty, and the
	// types and values of the identifiers, with separators between them.
	text string

	created, finalized, notBefore, notAfter int64
	generation                              int64
	resourceVersion                         uint64
	uid                                     uuid.UUID
	serial                                  [maxSerial]byte
	serialSize                              uint8
}

const (
	maxSerial = 20 // RFC 5280 section 4.1.2.2
	separator = "\x00"
)

// pack gives an order's small form; nil where it hasn't one.
func pack(order *v1alpha1.AcmeOrder) *packed {
	meta, spec, status := &order.ObjectMeta, &order.Spec, &order.Status
	version, versionErr := strconv.ParseUint(meta.ResourceVersion, 10, 64)
	uid, uidErr := uuid.Parse(string(meta.UID))
	serial, serialErr := hex.DecodeString(status.Serial)
	if versionErr != nil || uidErr != nil || serialErr != nil || len(serial) > maxSerial || status.State != acme.StateValid ||
		spec.Finalization == nil || status.NotBefore == nil || status.NotAfter == nil || !onlyWhatIsPacked(order) {
		return nil
	}
	key, _, _ := strings.Cut(status.CertificateID, ".")
	p := &packed{
		namespace: unique.Make(meta.Namespace), issuer: unique.Make(spec.IssuerRef.Name), account: unique.Make(spec.AccountRef.Name),
		profile: unique.Make(spec.Profile), crl: unique.Make(status.CRL), authorityKey: unique.Make(key),
		text: textOf(order), created: meta.CreationTimestamp.Unix(), finalized: spec.Finalization.Time.Unix(), notBefore: status.NotBefore.Unix(), notAfter: status.NotAfter.Unix(),
		generation: meta.Generation, resourceVersion: version, uid: uid, serialSize: uint8(len(serial)), //nolint:gosec // as long as was checked
	}
	copy(p.serial[:], serial)
	for _, finalizer := range meta.Finalizers {
		p.finalizer = unique.Make(finalizer)
	}
	if p.text == "" || p.version() != meta.ResourceVersion || uid.String() != string(meta.UID) || p.serialText() != status.Serial || p.certificateID() != status.CertificateID {
		return nil // it is written in another way than it would be given back
	}
	return p
}

// onlyWhatIsPacked reports whether an order has nothing but what a packed one holds.
func onlyWhatIsPacked(order *v1alpha1.AcmeOrder) bool {
	rest := *order
	meta, spec, status := &rest.ObjectMeta, &rest.Spec, &rest.Status
	if len(meta.Finalizers) > 1 || len(meta.Finalizers) == 0 && meta.Finalizers != nil || len(spec.Identifiers) == 0 || len(spec.Authorizations) != len(spec.Identifiers) ||
		*spec.Finalization != (v1alpha1.Finalization{Time: spec.Finalization.Time}) {
		return false
	}
	for _, at := range []metav1.Time{meta.CreationTimestamp, spec.Finalization.Time, *status.NotBefore, *status.NotAfter} {
		if at.Nanosecond() != 0 {
			return false
		}
	}
	meta.Namespace, meta.Name, meta.UID, meta.ResourceVersion, meta.Generation, meta.CreationTimestamp, meta.Finalizers = "", "", "", "", 0, metav1.Time{}, nil
	spec.IssuerRef.Name, spec.AccountRef.Name, spec.Profile, spec.Replaces = "", "", "", ""
	spec.Identifiers, spec.Authorizations, spec.Finalization = nil, nil, nil
	status.State, status.Serial, status.CertificateID, status.CRL, status.NotBefore, status.NotAfter = "", "", "", "", nil, nil
	return reflect.ValueOf(rest).IsZero()
}

// textOf is packed.text; "" where the parts couldn't be told from each other.
func textOf(order *v1alpha1.AcmeOrder) string {
	parts := make([]string, 0, 2+3*len(order.Spec.Identifiers))
	parts = append(parts, order.Name, order.Spec.Replaces)
	for _, name := range order.Spec.Authorizations {
		switch name {
		case "":
			return ""
		case order.Name:
			name = ""
		}
		parts = append(parts, name)
	}
	for _, id := range order.Spec.Identifiers {
		parts = append(parts, string(id.Type), id.Value)
	}
	text := strings.Join(parts, separator)
	if strings.Count(text, separator) != len(parts)-1 {
		return ""
	}
	return text
}

// order gives the order back, as it was.
func (p *packed) order() *v1alpha1.AcmeOrder {
	parts := strings.Split(p.text, separator)
	notBefore, notAfter := metav1.Unix(p.notBefore, 0), metav1.Unix(p.notAfter, 0)
	order := &v1alpha1.AcmeOrder{
		ObjectMeta: *p.metadata(),
		Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: p.issuer.Value()}, AccountRef: v1alpha1.ObjectRef{Name: p.account.Value()}, Profile: p.profile.Value(),
			Replaces: parts[1], Finalization: &v1alpha1.Finalization{Time: metav1.Unix(p.finalized, 0)},
		},
		Status: v1alpha1.AcmeOrderStatus{
			State: acme.StateValid, Serial: p.serialText(), CertificateID: p.certificateID(), CRL: p.crl.Value(), NotBefore: &notBefore, NotAfter: &notAfter,
		},
	}
	order.Generation, order.CreationTimestamp = p.generation, metav1.Unix(p.created, 0)
	if p.finalizer != (unique.Handle[string]{}) {
		order.Finalizers = []string{p.finalizer.Value()}
	}
	count := (len(parts) - 2) / 3
	authorizations, identifiers := parts[2:2+count], parts[2+count:]
	order.Spec.Authorizations, order.Spec.Identifiers = authorizations, make([]v1alpha1.Identifier, count)
	for i := range order.Spec.Identifiers {
		if authorizations[i] == "" {
			authorizations[i] = order.Name
		}
		order.Spec.Identifiers[i] = v1alpha1.Identifier{Type: acme.IdentifierType(identifiers[2*i]), Value: identifiers[2*i+1]}
	}
	return order
}

// metadata is what an informer needs to know.
func (p *packed) metadata() *metav1.ObjectMeta {
	name, _, _ := strings.Cut(p.text, separator)
	return &metav1.ObjectMeta{Namespace: p.namespace.Value(), Name: name, UID: types.UID(p.uid.String()), ResourceVersion: p.version()}
}

// GetObjectMeta implements metav1.ObjectMetaAccessor, by which an informer finds the name.
func (p *packed) GetObjectMeta() metav1.Object { return p.metadata() }

func (p *packed) version() string { return strconv.FormatUint(p.resourceVersion, 10) }

func (p *packed) serialText() string { return hex.EncodeToString(p.serial[:p.serialSize]) }

// certificateID is the key identifier with the serial number (RFC 9773 section 4.1).
func (p *packed) certificateID() string {
	return p.authorityKey.Value() + acme.NewCertID(nil, new(big.Int).SetBytes(p.serial[:p.serialSize])).String()
}
