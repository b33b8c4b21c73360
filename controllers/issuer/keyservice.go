package issuer

import (
	"fmt"
	"time"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

const (
	// keyServicePeriod is how often an issuer whose key service is unavailable is reconciled.
	keyServicePeriod = 5 * time.Second
	// KeyServiceGrace is how long a key service may not answer before issuers that need it are not ready. A service that restarts is
	// back before, and orders wait for it in the meantime.
	KeyServiceGrace = 30 * time.Second
)

// outage returns a fault if the issuer's key is in the key service, which has not answered for long.
func (r *Reconciler) outage(issuer *issuers.Issuer) *issuers.Fault {
	service := r.Authorities.KeyService
	if service == nil || issuer.Authority == nil || !issuer.Authority.IsRemote() {
		return nil
	}
	lasted, err := service.Outage()
	if err == nil || lasted < KeyServiceGrace {
		return nil
	}
	return &issuers.Fault{Reason: v1alpha1.ReasonKeyServiceUnavailable,
		Message: fmt.Sprintf("orders wait for the CA's key: %v", err)}
}
