package history

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Fault is the severity of a violation.
type Fault string

// These are the faults.
const (
	Lost       Fault = "lost"       // a client was told about it, but it is not stored
	Duplicated Fault = "duplicated" // there are two where one is allowed
	Broken     Fault = "broken"     // anything else
)

// A Violation is a broken promise.
type Violation struct {
	Fault Fault
	What  string
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s", v.Fault, v.What) }

// checker collects violations.
type checker struct {
	*History
	found []Violation
	// final holds each object's last version.
	orders map[string]Version[*v1alpha1.AcmeOrder]
	// authorizations holds the versions of each authorization.
	authorizations map[string][]Version[*v1alpha1.AcmeAuthorization]
	// certificates holds the certificates of orders, by order.
	certificates map[string]*x509.Certificate
	revocations  []revocation
}

// revocation is a revocation as the controllers decided it.
type revocation struct {
	revision             uint64
	order, shard, serial string
	notAfter             time.Time
}

// Check returns the broken promises. The history must be complete, and the operator must be idle.
func (h *History) Check() []Violation {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &checker{
		History: h, orders: map[string]Version[*v1alpha1.AcmeOrder]{}, certificates: map[string]*x509.Certificate{},
		authorizations: map[string][]Version[*v1alpha1.AcmeAuthorization]{},
	}
	slices.SortStableFunc(h.Orders, func(a, b Version[*v1alpha1.AcmeOrder]) int { return compare(a.Revision, b.Revision) })
	slices.SortStableFunc(h.Authorizations, func(a, b Version[*v1alpha1.AcmeAuthorization]) int { return compare(a.Revision, b.Revision) })
	slices.SortStableFunc(h.CRLs, func(a, b CRL) int { return compare(a.Revision, b.Revision) })
	for _, version := range h.Authorizations {
		c.authorizations[version.Object.Name] = append(c.authorizations[version.Object.Name], version)
	}
	for _, gap := range h.Gaps {
		c.report(Broken, "the history has a gap: %s", gap)
	}
	c.checkOrders()
	c.checkCertificates()
	c.checkReplacements()
	c.checkAudit()
	c.checkLists()
	c.checkAnswers()
	return c.found
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *checker) report(fault Fault, format string, args ...any) {
	c.found = append(c.found, Violation{fault, fmt.Sprintf(format, args...)})
}

func finished(state acme.State) bool { return state == acme.StateValid || state == acme.StateInvalid }

// checkOrders checks that each order ends once, with one certificate whose names were authorized at that moment.
func (c *checker) checkOrders() {
	for _, version := range c.Orders {
		var before v1alpha1.AcmeOrderStatus
		if earlier, known := c.orders[version.Object.Name]; known {
			before = earlier.Object.Status
		}
		c.orders[version.Object.Name] = version
		c.checkOrder(version, before)
	}
	for name, version := range c.orders {
		if !version.Deleted && !finished(version.Object.Status.State) {
			c.report(Lost, "order %s never ended: it is %q", name, version.Object.Status.State)
		}
	}
}

// checkOrder checks a version of an order. before is the status in the previous version.
func (c *checker) checkOrder(version Version[*v1alpha1.AcmeOrder], before v1alpha1.AcmeOrderStatus) {
	order := version.Object
	if version.Deleted {
		if !finished(order.Status.State) {
			c.report(Lost, "order %s was removed while %q", order.Name, order.Status.State)
		}
		return
	}
	if finished(before.State) && before.State != order.Status.State {
		c.report(Broken, "order %s was %s and is %q at %d", order.Name, before.State, order.Status.State, version.Revision)
	}
	if before.RevokedAt != nil && order.Status.RevokedAt == nil {
		c.report(Lost, "the revocation of order %s is lost at %d", order.Name, version.Revision)
	}
	if order.Status.RevokedAt != nil && before.RevokedAt == nil {
		c.addRevocations(version)
	}
	if order.Status.State == acme.StateValid {
		c.checkIssued(version)
	}
}

// owingCRLs returns the CRLs that have to list a revoked order: the complete one, and the shard if the certificate names one.
func owingCRLs(order *v1alpha1.AcmeOrder) []string {
	names := []string{order.Status.CRL}
	if complete := v1alpha1.CompleteCRL(order.Status.CRL); complete != order.Status.CRL {
		names = append(names, complete)
	}
	for i, name := range names {
		names[i] = order.Namespace + "/" + v1alpha1.CRLConfigMap(order.Spec.IssuerRef.Name, name)
	}
	return names
}

// addRevocations adds the revocation of an order for each CRL that has to list it.
func (c *checker) addRevocations(version Version[*v1alpha1.AcmeOrder]) {
	order := version.Object
	for _, shard := range owingCRLs(order) {
		r := revocation{revision: version.Revision, order: order.Name, serial: order.Status.Serial, shard: shard}
		if order.Status.NotAfter != nil {
			r.notAfter = order.Status.NotAfter.Time
		}
		c.revocations = append(c.revocations, r)
	}
}

// checkIssued checks an order that has a certificate.
func (c *checker) checkIssued(version Version[*v1alpha1.AcmeOrder]) {
	order := version.Object
	block, _ := pem.Decode([]byte(order.Status.Certificate))
	if block == nil {
		c.report(Lost, "order %s is valid without a certificate at %d", order.Name, version.Revision)
		return
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.report(Broken, "the certificate of order %s: %v", order.Name, err)
		return
	}
	if before := c.certificates[order.Name]; before != nil {
		if !before.Equal(certificate) {
			c.report(Duplicated, "order %s has a second certificate at %d", order.Name, version.Revision)
		}
		return
	}
	c.certificates[order.Name] = certificate
	if serialOf(certificate.SerialNumber) != order.Status.Serial {
		c.report(Broken, "order %s has serial number %s in its status, and %s in its certificate", order.Name, order.Status.Serial, serialOf(certificate.SerialNumber))
	}
	if len(order.Spec.Authorizations) != len(order.Spec.Identifiers) || len(certificate.DNSNames) != len(order.Spec.Identifiers) {
		c.report(Broken, "order %s has %d identifiers, %d authorizations and %d names in its certificate", order.Name,
			len(order.Spec.Identifiers), len(order.Spec.Authorizations), len(certificate.DNSNames))
		return
	}
	for i, id := range order.Spec.Identifiers {
		if !slices.Contains(certificate.DNSNames, id.Value) {
			c.report(Broken, "the certificate of order %s lacks %q", order.Name, id.Value)
		}
		if fault := c.authorizationFault(order, order.Spec.Authorizations[i], id, version.Revision); fault != "" {
			c.report(Broken, "order %s was issued for %q on an authorization that %s", order.Name, id.Value, fault)
		}
	}
}

// authorizationFault returns why an authorization, in its version when an order was issued, does not authorize that
// issuance.
func (c *checker) authorizationFault(order *v1alpha1.AcmeOrder, name string, id v1alpha1.Identifier, at uint64) string {
	var now *v1alpha1.AcmeAuthorization
	for _, version := range c.authorizations[name] {
		if version.Revision < at && !version.Deleted {
			now = version.Object
		}
	}
	switch {
	case now == nil:
		return "doesn't exist"
	case now.Status.State != acme.StateValid:
		return fmt.Sprintf("is %q", now.Status.State)
	case now.Spec.AccountRef != order.Spec.AccountRef || now.Spec.IssuerRef != order.Spec.IssuerRef:
		return "belongs to another account or issuer"
	case !now.Covers(id.ACME()):
		return "is for " + now.Authorized().Value
	case now.Status.Expires == nil || now.Status.Expires.Before(&order.Spec.Finalization.Time):
		return "had expired"
	}
	return ""
}

// checkCertificates checks that serial numbers are unique.
func (c *checker) checkCertificates() {
	orders := map[string]string{}
	for name, certificate := range c.certificates {
		serial := serialOf(certificate.SerialNumber)
		if other, taken := orders[serial]; taken {
			c.report(Duplicated, "orders %s and %s have the serial number %s", other, name, serial)
		}
		orders[serial] = name
	}
}

// checkReplacements checks that a certificate is replaced once, by an order that names an issued certificate (RFC 9773 section 5).
func (c *checker) checkReplacements() {
	issued, replacements := map[string]bool{}, map[string]string{}
	for _, certificate := range c.certificates {
		issued[acme.NewCertID(certificate.AuthorityKeyId, certificate.SerialNumber).String()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.certificates)) {
		replaced := c.orders[name].Object.Spec.Replaces
		if replaced == "" {
			continue
		}
		if !issued[replaced] {
			c.report(Broken, "order %s replaced %s, which was not issued", name, replaced)
		}
		if other, taken := replacements[replaced]; taken {
			c.report(Duplicated, "orders %s and %s replaced the certificate %s", other, name, replaced)
		}
		replacements[replaced] = name
	}
}

// checkAudit checks that the audit log names a certificate at most once, and no other certificate than the order's.
func (c *checker) checkAudit() {
	told := map[string]bool{}
	for _, line := range c.Issued {
		if told[line.Order] {
			c.report(Duplicated, "the audit log records the issuance of order %s twice", line.Order)
		}
		told[line.Order] = true
		certificate := c.certificates[line.Order]
		if certificate == nil || serialOf(certificate.SerialNumber) != line.Serial {
			c.report(Broken, "the audit log has certificate %s of order %s, which is not stored", line.Serial, line.Order)
		}
	}
}

// checkLists checks that CRL numbers rise, and that a revocation is in every CRL: from the first CRL after the
// revocation until one CRL listed it past the certificate's expiry. A CRL may lack the newest revocations if the
// controllers did not know them yet. But the controllers see revocations in the order of storage, so a CRL with a
// later revocation lacks no earlier one.
func (c *checker) checkLists() {
	last := map[string]*CRL{}
	listed, done := map[string]bool{}, map[string]bool{} // by shard and serial
	for i := range c.CRLs {
		crl := &c.CRLs[i]
		if before := last[crl.Shard]; before != nil {
			c.checkNumber(before, crl)
		}
		last[crl.Shard] = crl
		ofShard := slices.DeleteFunc(slices.Clone(c.revocations), func(r revocation) bool { return r.shard != crl.Shard })
		newest := newestListed(crl, ofShard)
		for _, r := range ofShard {
			key := r.shard + " " + r.serial
			switch {
			case crl.Serials[r.serial]:
				if r.revision > crl.Revision {
					c.report(Broken, "CRL %s has %s at %d before it was revoked", crl.Shard, r.serial, crl.Revision)
				}
				listed[key] = true
				done[key] = done[key] || crl.ThisUpdate.After(r.notAfter)
			case done[key]:
			case listed[key], r.revision < newest:
				c.report(Lost, "CRL %s number %s lacks %s, which was revoked before", crl.Shard, crl.Number, r.serial)
			}
		}
	}
	for _, r := range c.revocations {
		if !listed[r.shard+" "+r.serial] {
			c.report(Lost, "no CRL of %s has %s, which was revoked", r.shard, r.serial)
		}
	}
}

// newestListed returns the revision of the newest revocation that a CRL lists, or 0.
func newestListed(crl *CRL, revocations []revocation) (newest uint64) {
	for _, r := range revocations {
		if crl.Serials[r.serial] {
			newest = max(newest, r.revision)
		}
	}
	return newest
}

// CheckFresh returns a violation for each CRL whose last version has expired.
func (h *History) CheckFresh(now time.Time) (found []Violation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := map[string]CRL{}
	for _, crl := range h.CRLs {
		if crl.Revision >= last[crl.Shard].Revision {
			last[crl.Shard] = crl
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if crl := last[name]; !now.Before(crl.NextUpdate) {
			found = append(found, Violation{Broken, fmt.Sprintf("CRL %s number %s expired at %s", name, crl.Number, crl.NextUpdate)})
		}
	}
	return found
}

// checkNumber compares the numbers of two consecutive CRLs of a shard.
func (c *checker) checkNumber(before, crl *CRL) {
	switch crl.Number.Cmp(before.Number) {
	case -1:
		c.report(Broken, "CRL %s has number %s at %d after %s", crl.Shard, crl.Number, crl.Revision, before.Number)
	case 0:
		if !maps.Equal(crl.Serials, before.Serials) {
			c.report(Duplicated, "CRL %s has number %s twice", crl.Shard, crl.Number)
		}
	}
}

// ranks orders the states of a resource. A client never sees a lower rank after a higher one, and the highest rank of
// a kind is final.
var ranks = map[Kind]map[string]int{
	Order:         {"pending": 1, "ready": 2, "processing": 3, "valid": 4, "invalid": 4},
	Authorization: {"pending": 1, "valid": 2, "invalid": 3, "deactivated": 3, "expired": 3, "revoked": 3},
	Challenge:     {"pending": 1, "processing": 2, "valid": 3, "invalid": 3},
	Account:       {"valid": 1, "deactivated": 2, "revoked": 2},
}

// resource is a resource as one client sees it.
type resource struct {
	client string
	kind   Kind
	id     string
}

// checkAnswers checks that answers to a client are stored and never undone.
func (c *checker) checkAnswers() {
	// last is the last answer to any client; shown is the least state that each client must see from then on.
	last, shown := map[resource]string{}, map[resource]string{}
	revoked := map[string]bool{}
	for _, r := range c.revocations {
		revoked[r.serial] = true
	}
	for _, answer := range c.Answers {
		key := resource{answer.Client, answer.Kind, answer.ID}
		before, known := shown[key]
		if answer.State != "" {
			last[key], shown[key] = answer.State, answer.State
		}
		switch {
		case answer.Kind == Loss && c.Several:
			maps.DeleteFunc(shown, func(r resource, _ string) bool { return r.client == answer.Client })
		case answer.Kind == Loss:
		case answer.State == "":
			if known && !c.removed(answer) {
				c.report(Lost, "%s got the answer that there is no %s %s, after it was %q", answer.Client, answer.Kind, answer.ID, before)
			}
		default:
			c.checkAnswer(answer, before, known, revoked)
		}
	}
	c.checkLast(last)
}

// checkAnswer checks an answer with a state. before is the state that the client saw last, if known.
func (c *checker) checkAnswer(answer Answer, before string, known bool, revoked map[string]bool) {
	switch answer.Kind {
	case Revocation:
		if !revoked[answer.ID] {
			c.report(Lost, "%s got the answer that %s is revoked, but it is not", answer.Client, answer.ID)
		}
	case Certificate:
		certificate := c.certificates[answer.ID]
		if certificate == nil || !bytes.Equal(certificate.Raw, []byte(answer.State)) {
			c.report(Lost, "%s got a certificate for order %s that is not the order's", answer.Client, answer.ID)
		}
	default:
		c.checkStep(answer, before, known)
	}
	if answer.Kind == Order {
		if _, stored := c.orders[answer.ID]; !stored {
			c.report(Lost, "%s got an answer about order %s, which is not stored", answer.Client, answer.ID)
		}
	}
}

// checkLast checks that orders are stored in the final states that clients saw.
func (c *checker) checkLast(last map[resource]string) {
	for key, text := range last {
		state := acme.State(text)
		version, stored := c.orders[key.id]
		if key.kind == Order && stored && finished(state) && state != version.Object.Status.State {
			c.report(Lost, "%s got the answer that order %s is %s, but it is stored as %q", key.client, key.id, state, version.Object.Status.State)
		}
	}
}

// checkStep compares two consecutive answers about a resource.
func (c *checker) checkStep(answer Answer, before string, known bool) {
	ranks := ranks[answer.Kind]
	rank, ok := ranks[answer.State]
	if !ok {
		c.report(Broken, "%s got the answer that %s %s is %q", answer.Client, answer.Kind, answer.ID, answer.State)
		return
	}
	if !known {
		return
	}
	if rank < ranks[before] || rank == ranks[before] && answer.State != before {
		c.report(Broken, "%s got the answer that %s %s is %s after it was %s", answer.Client, answer.Kind, answer.ID, answer.State, before)
	}
}

// removed reports whether retention has removed a resource.
func (c *checker) removed(answer Answer) bool {
	if answer.Kind == Order || answer.Kind == Certificate {
		return c.orders[answer.ID].Deleted
	}
	name, _, _ := strings.Cut(answer.ID, ".") // a challenge is AUTHORIZATION.TYPE
	return slices.ContainsFunc(c.authorizations[name], func(version Version[*v1alpha1.AcmeAuthorization]) bool { return version.Deleted })
}

// Count is the size of a part of a history.
func (h *History) Count() (certificates, renewals, revocations int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	issued, renewed, revoked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, version := range h.Orders {
		if version.Object.Status.State == acme.StateValid {
			issued[version.Object.Name] = true
			if version.Object.Spec.Replaces != "" {
				renewed[version.Object.Name] = true
			}
		}
		if version.Object.Status.RevokedAt != nil {
			revoked[version.Object.Name] = true
		}
	}
	return len(issued), len(renewed), len(revoked)
}

// CertificatesOf returns the number of certificates of an issuer.
func (h *History) CertificatesOf(issuer string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	issued := map[string]bool{}
	for _, version := range h.Orders {
		if version.Object.Status.State == acme.StateValid && version.Object.Spec.IssuerRef.Name == issuer {
			issued[version.Object.Name] = true
		}
	}
	return len(issued)
}
