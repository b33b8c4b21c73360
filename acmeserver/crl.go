package acmeserver

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// crlAge is for how long a CRL is served without being read again. A revocation is to be seen within two seconds, one
	// of which the controllers may take.
	crlAge = 500 * time.Millisecond
	// maxShards bounds the CRLs that are kept, of up to 1 MiB each.
	maxShards = 64
)

var shardName = regexp.MustCompile(`^[0-9a-f]{10}-[0-9]{1,3}$`)

// crl gives a shard of the list of revoked certificates (RFC 5280 section 4.2.1.13).
func (s *Server) crl(c *call) (*answer, error) {
	file, found := strings.CutPrefix(c.path, acme.CRLPrefix)
	shard, der := strings.CutSuffix(file, acme.CRLSuffix)
	if !found || !der || !shardName.MatchString(shard) {
		return nil, notFound("CRL")
	}
	name := types.NamespacedName{Namespace: c.issuer.key.Namespace, Name: v1alpha1.CRLConfigMap(c.issuer.key.Name, shard)}
	crl, err := s.crls.get(c.Context(), name, s.now())
	if err != nil {
		return nil, err
	}
	return &answer{status: http.StatusOK, raw: crl, contentType: "application/pkix-crl"}, nil
}

// crls reads CRLs from their ConfigMaps. These are not watched: that would take the right to list all ConfigMaps.
type crls struct {
	live client.Reader

	mu   sync.Mutex
	kept map[types.NamespacedName]*keptCRL
}

type keptCRL struct {
	mu  sync.Mutex // held while it is read, so that many who ask cost one read
	at  time.Time
	der []byte
}

func (s *crls) get(ctx context.Context, name types.NamespacedName, now time.Time) ([]byte, error) {
	kept := s.slot(name)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if age := now.Sub(kept.at); age < 0 || age >= crlAge {
		configMap := &corev1.ConfigMap{}
		if err := s.live.Get(ctx, name, configMap); client.IgnoreNotFound(err) != nil {
			return nil, err
		} else if apierrors.IsNotFound(err) {
			kept.der = nil
		} else {
			kept.der = configMap.BinaryData[v1alpha1.CRLField]
		}
		kept.at = now
	}
	if kept.der == nil {
		return nil, notFound("CRL")
	}
	return kept.der, nil
}

func (s *crls) slot(name types.NamespacedName) *keptCRL {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.kept[name]; ok {
		return kept
	}
	if s.kept == nil || len(s.kept) >= maxShards {
		s.kept = map[types.NamespacedName]*keptCRL{} // they are read again at once
	}
	kept := &keptCRL{}
	s.kept[name] = kept
	return kept
}
