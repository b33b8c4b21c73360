package keyservice

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/programs"
)

// vault is a Vault server with its transit engine. `make vault` builds it; it is no part of CI.
type vault struct {
	address, caFile string
	client          *http.Client
	unsealKey, root string
}

const kubernetesPlugin = "vault-plugin-auth-kubernetes"

// newVault starts a server. It skips the specs if the server was not built.
func newVault() *vault {
	GinkgoHelper()
	server, err := binaries.Path("vault")
	if err != nil {
		Skip("Vault isn't built: " + err.Error())
	}
	plugin, err := binaries.Path(kubernetesPlugin)
	if err != nil {
		Skip("Vault isn't built: " + err.Error())
	}
	dir := GinkgoT().TempDir()
	port := programs.FreePort()
	v := &vault{address: fmt.Sprintf("https://127.0.0.1:%d", port), caFile: filepath.Join(dir, "ca.pem")}
	v.makeCertificate(dir)
	program, err := os.ReadFile(plugin)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.Mkdir(filepath.Join(dir, "plugins"), 0o700)).To(Succeed())
	Expect(os.WriteFile(filepath.Join(dir, "plugins", kubernetesPlugin), program, 0o700)).To(Succeed())
	config := fmt.Sprintf(`storage "inmem" {}
listener "tcp" {
  address = "127.0.0.1:%d"
  tls_cert_file = %q
  tls_key_file = %q
}
api_addr = %q
plugin_directory = %q
disable_mlock = true
`, port, v.caFile, filepath.Join(dir, "key.pem"), v.address, filepath.Join(dir, "plugins"))
	Expect(os.WriteFile(filepath.Join(dir, "vault.hcl"), []byte(config), 0o600)).To(Succeed())
	programs.Start(programs.Accepts(strings.TrimPrefix(v.address, "https://")), nil, server, "server", "-config", filepath.Join(dir, "vault.hcl"))

	var keys struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	v.call(http.MethodPut, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1}, &keys)
	v.unsealKey, v.root = keys.Keys[0], keys.Root
	v.unseal()
	sum := sha256.Sum256(program)
	Eventually(func() error {
		return v.try(http.MethodPut, "sys/plugins/catalog/auth/kubernetes", map[string]any{"sha256": hex.EncodeToString(sum[:]), "command": kubernetesPlugin}, nil)
	}).WithTimeout(time.Minute).Should(Succeed(), "the server becomes active after it was unsealed")
	v.call(http.MethodPost, "sys/auth/kubernetes", map[string]any{"type": "kubernetes"}, nil)
	v.call(http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"}, nil)
	return v
}

// makeCertificate makes the server's certificate, which is its own CA.
func (v *vault) makeCertificate(dir string) {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	Expect(err).NotTo(HaveOccurred())
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(v.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)).To(Succeed())
	Expect(os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)).To(Succeed())
	certificate, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	v.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	DeferCleanup(v.client.CloseIdleConnections)
}

// call calls the API as root, as a person does.
func (v *vault) call(method, path string, request, result any) {
	GinkgoHelper()
	Expect(v.try(method, path, request, result)).To(Succeed())
}

func (v *vault) try(method, path string, request, result any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(method, v.address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("X-Vault-Token", v.root)
	response, err := v.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode >= 300:
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	case result == nil:
		return nil
	}
	return json.Unmarshal(answer, result)
}

func (v *vault) seal() { GinkgoHelper(); v.call(http.MethodPut, "sys/seal", nil, nil) }

func (v *vault) unseal() {
	GinkgoHelper()
	v.call(http.MethodPut, "sys/unseal", map[string]any{"key": v.unsealKey}, nil)
}

// trust lets the controllers' ServiceAccount log in, with the policy of the guide. The server reviews tokens with a ServiceAccount of
// its own.
func (v *vault) trust(ctx context.Context, acmeca *local.Local) {
	GinkgoHelper()
	reviewer := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: "vault"}}
	Expect(acmeca.Client().Create(ctx, reviewer)).To(Succeed())
	Expect(acmeca.Client().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "vault-reviews-tokens"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: reviewer.Namespace, Name: reviewer.Name}},
	})).To(Succeed())
	config, err := acmeca.Plane().ServiceAccountConfig(ctx, reviewer.Namespace, reviewer.Name)
	Expect(err).NotTo(HaveOccurred())
	v.call(http.MethodPost, "auth/kubernetes/config", map[string]any{
		"kubernetes_host": config.Host, "kubernetes_ca_cert": string(config.CAData), "token_reviewer_jwt": config.BearerToken,
	}, nil)
	v.call(http.MethodPut, "sys/policies/acl/acmeca", map[string]any{"policy": guidePolicy()}, nil)
	v.call(http.MethodPost, "auth/kubernetes/role/acmeca", map[string]any{
		"bound_service_account_names": local.ControllerAccount, "bound_service_account_namespaces": local.Namespace,
		"token_policies": "acmeca", "token_ttl": "3s", "token_max_ttl": "3s",
	}, nil)
}

// guidePolicy returns the policy in the guide.
func guidePolicy() string {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	text, err := os.ReadFile(filepath.Join(root, "docs", "guides", "key-service.md"))
	Expect(err).NotTo(HaveOccurred())
	_, policy, found := strings.Cut(string(text), "```hcl\n")
	policy, _, ended := strings.Cut(policy, "```")
	Expect(found && ended).To(BeTrue(), "the guide has a policy")
	return policy
}

// accessors returns the accessors of the tokens that are valid now.
func (v *vault) accessors() []string {
	GinkgoHelper()
	var list struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	v.call("LIST", "auth/token/accessors", nil, &list)
	return list.Data.Keys
}
