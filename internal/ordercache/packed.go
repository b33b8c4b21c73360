package ordercache

import (
	"encoding/hex"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unique"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// packed holds a compact order whose certificate was issued and is not revoked, in a quarter of the memory. Times are Unix
// seconds.
type packed struct {
	// Strings that many orders share are interned. finalizer is zero if the order has none.
	// grants joins spec.grants with separators, and is zero if there are none.
	namespace, issuer, account, profile, crl, finalizer, authorityKey, grants unique.Handle[string]
	// text joins, with separators: the name, spec.replaces, the names of the authorizations, and type and value of each
	// identifier. The name of the order's own authorization (v1alpha1.OwnAuthorization) is empty.
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

// pack returns the packed form of an order, or nil if unpacking would not return the same order.
func pack(order *v1alpha1.AcmeOrder) *packed {
	meta, spec, status := &order.ObjectMeta, &order.Spec, &order.Status
	version, versionErr := strconv.ParseUint(meta.ResourceVersion, 10, 64)
	uid, uidErr := uuid.Parse(string(meta.UID))
	serial, serialErr := hex.DecodeString(status.Serial)
	if versionErr != nil || uidErr != nil || serialErr != nil || len(serial) > maxSerial || status.State != acme.StateValid ||
		spec.Finalization == nil || status.NotBefore == nil || status.NotAfter == nil || !hasOnlyPackedFields(order) {
		return nil
	}
	key, _, _ := strings.Cut(status.CertificateID, ".")
	p := &packed{
		namespace: unique.Make(meta.Namespace), issuer: unique.Make(spec.IssuerRef.Name), account: unique.Make(spec.AccountRef.Name),
		profile: unique.Make(spec.Profile), crl: unique.Make(status.CRL), authorityKey: unique.Make(key),
		text: textOf(order), created: meta.CreationTimestamp.Unix(), finalized: spec.Finalization.Time.Unix(),
		notBefore: status.NotBefore.Unix(), notAfter: status.NotAfter.Unix(),
		generation: meta.Generation, resourceVersion: version, uid: uid, serialSize: uint8(len(serial)), //nolint:gosec // at most maxSerial
	}
	copy(p.serial[:], serial)
	for _, finalizer := range meta.Finalizers {
		p.finalizer = unique.Make(finalizer)
	}
	if len(spec.Grants) > 0 {
		p.grants = unique.Make(strings.Join(spec.Grants, separator))
	}
	if p.text == "" || p.version() != meta.ResourceVersion || uid.String() != string(meta.UID) || p.serialText() != status.Serial ||
		p.certificateID() != status.CertificateID {
		return nil // unpacking would write it differently
	}
	return p
}

// hasOnlyPackedFields reports whether an order has no fields but those that packed holds.
func hasOnlyPackedFields(order *v1alpha1.AcmeOrder) bool {
	rest := *order
	meta, spec, status := &rest.ObjectMeta, &rest.Spec, &rest.Status
	if len(meta.Finalizers) > 1 || len(meta.Finalizers) == 0 && meta.Finalizers != nil || len(spec.Identifiers) == 0 ||
		len(spec.Authorizations) != len(spec.Identifiers) || !hasPackableGrants(spec) ||
		*spec.Finalization != (v1alpha1.Finalization{Time: spec.Finalization.Time}) {
		return false
	}
	for _, at := range []metav1.Time{meta.CreationTimestamp, spec.Finalization.Time, *status.NotBefore, *status.NotAfter} {
		if at.Nanosecond() != 0 {
			return false
		}
	}
	meta.Namespace, meta.Name, meta.UID, meta.ResourceVersion = "", "", "", ""
	meta.Generation, meta.CreationTimestamp, meta.Finalizers = 0, metav1.Time{}, nil
	spec.IssuerRef.Name, spec.AccountRef.Name, spec.Profile, spec.Replaces = "", "", "", ""
	spec.Identifiers, spec.Authorizations, spec.Grants, spec.Finalization = nil, nil, nil, nil
	status.State, status.Serial, status.CertificateID, status.CRL, status.NotBefore, status.NotAfter = "", "", "", "", nil, nil
	return reflect.ValueOf(rest).IsZero()
}

// hasPackableGrants reports whether an order has no grants, or one for each identifier.
func hasPackableGrants(spec *v1alpha1.AcmeOrderSpec) bool {
	return spec.Grants == nil || len(spec.Grants) == len(spec.Identifiers) &&
		!slices.ContainsFunc(spec.Grants, func(name string) bool { return strings.Contains(name, separator) })
}

// textOf returns packed.text, or "" if a part contains a separator or cannot be restored.
func textOf(order *v1alpha1.AcmeOrder) string {
	parts := make([]string, 0, 2+3*len(order.Spec.Identifiers))
	parts = append(parts, order.Name, order.Spec.Replaces)
	for i, name := range order.Spec.Authorizations {
		switch {
		case name == "":
			return ""
		case order.IsOwnAuthorization(i):
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

// order unpacks the order.
func (p *packed) order() *v1alpha1.AcmeOrder {
	parts := strings.Split(p.text, separator)
	notBefore, notAfter := metav1.Unix(p.notBefore, 0), metav1.Unix(p.notAfter, 0)
	order := &v1alpha1.AcmeOrder{
		ObjectMeta: *p.metadata(),
		Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: p.issuer.Value()}, AccountRef: v1alpha1.ObjectRef{Name: p.account.Value()},
			Profile:  p.profile.Value(),
			Replaces: parts[1], Finalization: &v1alpha1.Finalization{Time: metav1.Unix(p.finalized, 0)},
		},
		Status: v1alpha1.AcmeOrderStatus{
			State: acme.StateValid, Serial: p.serialText(), CertificateID: p.certificateID(), CRL: p.crl.Value(),
			NotBefore: &notBefore, NotAfter: &notAfter,
		},
	}
	order.Generation, order.CreationTimestamp = p.generation, metav1.Unix(p.created, 0)
	if p.finalizer != (unique.Handle[string]{}) {
		order.Finalizers = []string{p.finalizer.Value()}
	}
	if p.grants != (unique.Handle[string]{}) {
		order.Spec.Grants = strings.Split(p.grants.Value(), separator)
	}
	count := (len(parts) - 2) / 3
	authorizations, identifiers := parts[2:2+count], parts[2+count:]
	order.Spec.Authorizations, order.Spec.Identifiers = authorizations, make([]v1alpha1.Identifier, count)
	for i := range order.Spec.Identifiers {
		if authorizations[i] == "" {
			authorizations[i] = v1alpha1.OwnAuthorization(order.Name, i)
		}
		order.Spec.Identifiers[i] = v1alpha1.Identifier{Type: acme.IdentifierType(identifiers[2*i]), Value: identifiers[2*i+1]}
	}
	return order
}

// metadata returns the fields that an informer reads.
func (p *packed) metadata() *metav1.ObjectMeta {
	name, _, _ := strings.Cut(p.text, separator)
	return &metav1.ObjectMeta{Namespace: p.namespace.Value(), Name: name, UID: types.UID(p.uid.String()), ResourceVersion: p.version()}
}

// GetObjectMeta implements metav1.ObjectMetaAccessor. An informer reads the name through it.
func (p *packed) GetObjectMeta() metav1.Object { return p.metadata() }

func (p *packed) version() string { return strconv.FormatUint(p.resourceVersion, 10) }

func (p *packed) serialText() string { return hex.EncodeToString(p.serial[:p.serialSize]) }

// certificateID returns status.certificateID: the key identifier and the serial number (RFC 9773 section 4.1).
func (p *packed) certificateID() string {
	return p.authorityKey.Value() + acme.NewCertID(nil, new(big.Int).SetBytes(p.serial[:p.serialSize])).String()
}
