package conformance

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// auditLines returns the operator's audit lines so far whose field has a value.
func auditLines(field string, value any) []map[string]any {
	GinkgoHelper()
	file, err := os.Open(running.OperatorLog())
	Expect(err).NotTo(HaveOccurred())
	defer file.Close()
	var found []map[string]any
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil && line["logger"] == "audit" && line[field] == value {
			found = append(found, line)
		}
	}
	Expect(lines.Err()).NotTo(HaveOccurred())
	return found
}

var _ = Describe("The audit log", func() {
	It("records each issuance and revocation once, with account, time and reason", func() {
		a := registered("ES256")
		_, der, _ := a.issued("audited.test")
		serial := hex.EncodeToString(parseDER(der).SerialNumber.Bytes())
		revocation := map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(der), "reason": 4}
		Expect(registered("ES256").post(a.base+"revoke-cert", revocation).StatusCode).To(Equal(http.StatusForbidden))
		Expect(a.post(a.base+"revoke-cert", revocation).StatusCode).To(Equal(http.StatusOK))

		var lines []map[string]any
		Eventually(func() []map[string]any { lines = auditLines("serial", serial); return lines }, "5s", "50ms").Should(HaveLen(3))
		for i, event := range []string{"certificate issued", "request refused", "certificate revoked"} {
			Expect(lines[i]).To(And(
				HaveKeyWithValue("msg", event), HaveKeyWithValue("issuer", "default"), HaveKeyWithValue("account", a.url[len(a.base+"acct/"):]),
				HaveKeyWithValue("identifiers", []any{"audited.test"}), HaveKeyWithValue("profile", "default"),
				HaveKey("order"), HaveKey("notAfter"), HaveKey("ts")))
		}
		Expect(lines[2]).To(And(HaveKeyWithValue("reason", "superseded"), HaveKeyWithValue("by", "client")))
		Eventually(func() []map[string]any { return auditLines("msg", "CRL published") }, "5s", "50ms").
			Should(ContainElement(HaveKeyWithValue("entries", BeNumerically(">", 0))))
		Expect(auditLines("msg", "CA key made")).NotTo(BeEmpty())
	})
})
