package matrix

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// autocertManager renews by time alone, so its certificate is removed and its account stays.
var autocertManager = &acmeClient{
	name: "autocert", version: moduleVersion("golang.org/x/crypto"),
	open: func(s *site) session {
		cache := autocert.DirCache(s.path("autocert"))
		obtain := func(ctx context.Context) ([]byte, error) {
			manager := &autocert.Manager{
				Prompt: autocert.AcceptTOS, Cache: cache, HostPolicy: autocert.HostWhitelist(s.name), Email: "admin@corp.test",
				Client: &acme.Client{DirectoryURL: s.directory(), HTTPClient: trusting()},
			}
			if s.external != nil {
				manager.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: s.external.id, Key: s.hmacKey()}
			}
			server := &http.Server{Addr: loopback(s.port), Handler: manager.HTTPHandler(nil), ReadHeaderTimeout: 5 * time.Second}
			go func() { _ = server.ListenAndServe() }() // ends by Close
			defer server.Close()
			if err := accepts(ctx, s.port); err != nil {
				return nil, err
			}
			hello := &tls.ClientHelloInfo{ServerName: s.name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
			certificate, err := manager.GetCertificate(hello)
			if err != nil {
				return nil, err
			}
			return encodeChain(certificate.Certificate), nil
		}
		return commands{
			obtainFunc: obtain,
			renewFunc: func(ctx context.Context) ([]byte, error) {
				if err := cache.Delete(ctx, s.name); err != nil {
					return nil, err
				}
				return obtain(ctx)
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "its certificate is removed, the account stays"}, patience: yes, reuse: yes, binding: yes, granted: yes,
		revoking:   {notRun, "it cannot revoke"},
		overloaded: {verdict: waits},
	},
}
