package acme

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// registered are IANA's ACME Error Types (RFC 8555 section 9.7.4): those of RFC 8555 and RFC 9773, and badPublicKey from
// its section 6.2. invalidProfile is to be registered by draft-ietf-acme-profiles.
var registered = map[string]bool{
	"accountDoesNotExist": true, "alreadyReplaced": true, "alreadyRevoked": true, "badCSR": true, "badNonce": true,
	"badPublicKey": true, "badRevocationReason": true, "badSignatureAlgorithm": true, "caa": true, "compound": true,
	"connection": true, "dns": true, "externalAccountRequired": true, "incorrectResponse": true, "invalidContact": true,
	"malformed": true, "orderNotReady": true, "rateLimited": true, "rejectedIdentifier": true, "serverInternal": true,
	"tls": true, "unauthorized": true, "unsupportedContact": true, "unsupportedIdentifier": true, "userActionRequired": true,

	"invalidProfile": true,
}

// RFC 8555 section 6.7: nothing else stands in ACME's part of the URN space.
func TestProblemTypesAreRegistered(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "ProblemType" {
			return true
		}
		for _, value := range spec.Values {
			text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil || !registered[text] {
				t.Errorf("%s is not registered (%v)", text, err)
			}
			found++
		}
		return true
	})
	if found < 25 {
		t.Errorf("only %d types were found", found)
	}
}
