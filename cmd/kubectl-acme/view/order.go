package view

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// OrderState returns the order's state, with revoked and expired in place of valid where they apply.
func OrderState(order *v1alpha1.AcmeOrder, now time.Time) string {
	switch {
	case order.Status.RevokedAt != nil:
		return "revoked"
	case order.Status.State == acme.StateValid && order.Status.NotAfter != nil && now.After(order.Status.NotAfter.Time):
		return "expired"
	case order.Status.State == "":
		return string(acme.StatePending)
	}
	return string(order.Status.State)
}

// Orders returns a table of orders.
func Orders(orders []v1alpha1.AcmeOrder, namespaces, wide bool, s Screen) *Table {
	t := &Table{Header: []string{"NAME", "STATE", "IDENTIFIERS", "ISSUER", "REASON", "EXPIRES", "AGE"}}
	if wide {
		t.Header = append(t.Header, "ACCOUNT", "SERIAL", "DETAIL")
	}
	if namespaces {
		t.Header = append([]string{"NAMESPACE"}, t.Header...)
	}
	for i := range orders {
		order := &orders[i]
		names := Identifiers(order.Spec.Identifiers)
		if !wide {
			names = shorten(order.Spec.Identifiers)
		}
		reason, detail := "", ""
		if p := order.Status.Problem; p != nil {
			reason, detail = string(p.Type), p.Detail
		}
		expires := "-"
		if order.Status.NotAfter != nil {
			expires = s.Left(order.Status.NotAfter.Time)
		}
		row := []Cell{plain(order.Name), state(OrderState(order, s.Now)), plain(names), plain(order.Spec.IssuerRef.Name),
			{reason, Bad}, plain(expires), plain(s.Age(order.CreationTimestamp.Time))}
		if wide {
			row = append(row, plain(order.Spec.AccountRef.Name), plain(order.Status.Serial), plain(detail))
		}
		if namespaces {
			row = append([]Cell{plain(order.Namespace)}, row...)
		}
		t.Add(row...)
	}
	return t
}

// Identifiers returns the values of identifiers.
func Identifiers(ids []v1alpha1.Identifier) string {
	values := make([]string, len(ids))
	for i, id := range ids {
		values[i] = id.Value
	}
	return strings.Join(values, ", ")
}

// shorten returns the first identifier, and the number of the others.
func shorten(ids []v1alpha1.Identifier) string {
	if len(ids) < 2 {
		return Identifiers(ids)
	}
	return fmt.Sprintf("%s +%d", ids[0].Value, len(ids)-1)
}

// OrderTree returns an order with its authorizations and account. Missing ones are nil.
func OrderTree(order *v1alpha1.AcmeOrder, authorizations []*v1alpha1.AcmeAuthorization, account *v1alpha1.AcmeAccount, s Screen) Node {
	word := OrderState(order, s.Now)
	n := Node{Label: "Order " + order.Name, Text: word, Style: OfState(word)}
	n.add("identifiers", Identifiers(order.Spec.Identifiers))
	issuer := order.Namespace + "/" + order.Spec.IssuerRef.Name
	if order.Spec.Profile != "" {
		issuer += ", profile " + order.Spec.Profile
	}
	n.add("issuer", issuer)
	if pod := order.Spec.Pod; pod != nil {
		n.add("pod", pod.Namespace+"/"+pod.Name+", ServiceAccount "+pod.ServiceAccountName+", rule "+pod.Rule)
		n.add("URI", pod.URI)
	} else {
		n.add("account", accountLine(order.Spec.AccountRef.Name, account))
	}
	n.add("created", s.when(order.CreationTimestamp.Time))
	if f := order.Spec.Finalization; f != nil {
		n.add("finalized", s.when(f.Time.Time))
	}
	if order.Status.Expires != nil && order.Status.NotAfter == nil {
		n.add("expires", s.when(order.Status.Expires.Time))
	}
	if c := meta.FindStatusCondition(order.Status.Conditions, v1alpha1.ConditionReady); c != nil && order.Status.Problem == nil {
		n.add("condition", c.Reason+": "+c.Message)
	}
	n.problem(order.Status.Problem)
	for i, name := range order.Spec.Authorizations {
		var authz *v1alpha1.AcmeAuthorization
		if i < len(authorizations) {
			authz = authorizations[i]
		}
		if authz == nil {
			n.Below = append(n.Below, Node{Label: "Authorization " + name, Text: "missing", Style: Bad})
			continue
		}
		if grant := order.Grant(i); grant != "" && authz.UID == "" {
			word := string(authz.Status.State)
			below := Node{Label: fmt.Sprintf("Authorization %s for %s", name, authz.Authorized().Value), Text: word, Style: OfState(word)}
			below.add("granted by", grant)
			n.Below = append(n.Below, below)
			continue
		}
		n.Below = append(n.Below, AuthorizationTree(authz, s))
	}
	if order.Status.Serial != "" {
		n.Below = append(n.Below, certificateTree(order, s))
	}
	return n
}

func accountLine(name string, account *v1alpha1.AcmeAccount) string {
	if account == nil {
		return name + " (missing)"
	}
	line := name + " (" + string(account.Status.State)
	if len(account.Status.Contact) > 0 {
		line += ", " + strings.Join(account.Status.Contact, ", ")
	}
	if id := account.Status.ExternalAccountKeyID; id != "" {
		line += ", bound by key " + id
	}
	return line + ")"
}

func certificateTree(order *v1alpha1.AcmeOrder, s Screen) Node {
	n := Node{Label: "Certificate", Text: order.Status.Serial}
	if t := timeOf(order.Status.NotBefore); !t.IsZero() {
		n.add("from", s.when(t))
	}
	if t := timeOf(order.Status.NotAfter); !t.IsZero() {
		n.add("until", s.when(t))
	}
	n.add("CRL", order.Status.CRL)
	if asked := order.Spec.Revocation; asked != nil {
		text := "requested, " + ReasonName(asked.Reason)
		if by := order.Annotations[v1alpha1.RevokedByAnnotation]; by != "" && asked.Request == nil {
			text += ", by " + by
		} else if asked.Request != nil {
			text += ", by a client"
		}
		if order.Status.RevokedAt != nil {
			text = strings.Replace(text, "requested", s.when(order.Status.RevokedAt.Time), 1)
		}
		n.add("revocation", text, Bad)
		if handled := order.Status.Revocation; handled != nil {
			n.problem(handled.Problem)
		}
	}
	return n
}

// ReasonName returns the name of a reason code in RFC 5280.
func ReasonName(code int) string {
	if name, ok := acme.RevocationReasonNames[code]; ok {
		return name
	}
	return fmt.Sprintf("reason %d", code)
}

// AuthorizationTree returns an authorization with its challenge and validation record.
func AuthorizationTree(authz *v1alpha1.AcmeAuthorization, s Screen) Node {
	word := string(authz.Status.State)
	n := Node{Label: fmt.Sprintf("Authorization %s for %s", authz.Name, authz.Authorized().Value), Text: word, Style: OfState(word)}
	if t := timeOf(authz.Status.Expires); !t.IsZero() {
		n.add("expires", s.when(t))
	}
	tried := authz.Status.Challenge
	if tried == nil || tried.Problem == nil {
		n.problem(authz.Status.Problem)
	}
	if tried == nil {
		text := "none chosen by the client yet"
		if len(authz.Spec.Challenges) > 0 {
			text = authz.Offered() + "; " + text
		}
		if chosen := authz.Spec.Response; chosen != nil {
			text = string(chosen.Type) + " is chosen, not tried yet"
		}
		n.add("challenges", text)
		return n
	}
	n.Below = append(n.Below, challengeTree(tried, s))
	return n
}

func challengeTree(c *v1alpha1.ChallengeStatus, s Screen) Node {
	n := Node{Label: "Challenge " + string(c.Type), Text: string(c.State), Style: OfState(string(c.State))}
	if c.Attempts > 0 {
		n.add("attempts", fmt.Sprint(c.Attempts))
	}
	if t := timeOf(c.ValidatedAt); !t.IsZero() {
		n.add("proved", s.when(t))
	}
	if t := timeOf(c.CAACheckedAt); !t.IsZero() {
		n.add("CAA checked", s.when(t))
	}
	n.problem(c.Problem)
	if c.Record != nil {
		n.record(c.Record, s)
	}
	return n
}

func (n *Node) record(r *v1alpha1.ValidationRecord, s Screen) {
	if t := timeOf(r.Time); !t.IsZero() {
		n.add("tried", s.when(t)+fmt.Sprintf(", for %d ms", r.DurationMillis))
	}
	n.add("resolver", r.Resolver)
	n.add("authoritative server", r.AuthoritativeServer)
	n.add("addresses", strings.Join(r.Addresses, ", "))
	n.add("connected", r.AddressUsed)
	for _, url := range r.URLs {
		n.add("fetched", url)
	}
	for _, record := range r.Records {
		n.add("record", record)
	}
	for _, p := range r.Perspectives {
		word, style := "proved", Good
		if !p.Valid {
			word, style = "not proved", Bad
		}
		below := Node{Label: "seen from " + p.Name, Text: word, Style: style}
		below.add("problem", p.Problem, Bad)
		below.add("resolver", p.Resolver)
		below.add("authoritative server", p.AuthoritativeServer)
		below.add("addresses", strings.Join(p.Addresses, ", "))
		below.add("connected", p.AddressUsed)
		n.Below = append(n.Below, below)
	}
}

func (n *Node) problem(p *v1alpha1.Problem) {
	if p == nil {
		return
	}
	n.add("problem", string(p.Type)+": "+p.Detail, Bad)
	for _, sub := range p.Subproblems {
		text := string(sub.Type) + ": " + sub.Detail
		if sub.Identifier != nil {
			text = sub.Identifier.Value + ": " + text
		}
		n.add("problem", text, Bad)
	}
}
