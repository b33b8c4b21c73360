package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/chaos/history"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// keyIssuer is the issuer whose keys are in the key service. It exists beside the default issuer, whose keys are in Secrets.
const keyIssuer = "keys"

// keyService is `acmeca keyservice` with keys in files, in a process of its own. Its ECDSA signatures are random, as those of an HSM.
type keyService struct {
	local   *local.Local
	process *process.Process
	started int
}

func (k *keyService) socket() string { return k.local.Path("keyservice", "socket") }

// start starts the service again after it was killed.
func (k *keyService) start() error {
	k.started++
	var err error
	k.process, err = process.Start(process.Spec{
		Name: "keyservice", Path: k.local.Program(), Args: []string{"keyservice", "--socket", k.socket(), "--files", k.local.Path("keys")},
		Env: os.Environ(), Log: k.local.Path("log", fmt.Sprintf("keyservice.%d.log", k.started)),
	})
	return err
}

func (k *keyService) stop() {
	if k.process != nil {
		_ = syscall.Kill(k.process.PID(), syscall.SIGCONT)
		k.process.Stop(stopGrace)
	}
}

// maxKeyChanges is enough for each account of a long run.
const maxKeyChanges = 10_000

// addKeyIssuer creates the issuer whose keys are in the key service, and waits until it is ready. The rotation makes the leader record
// an Event: the recorder starts its goroutines with the first one, and they are no leak.
func (s *site) addKeyIssuer(ctx context.Context) error {
	like := &v1alpha1.AcmeIssuer{}
	if err := s.admin.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, like); err != nil {
		return err
	}
	patch := client.MergeFrom(like.DeepCopy())
	like.Spec.Account.MaxKeyChanges = maxKeyChanges
	if err := s.admin.Patch(ctx, like, patch); err != nil {
		return err
	}
	issuer := &v1alpha1.AcmeIssuer{Spec: like.Spec}
	issuer.Namespace, issuer.Name = local.Namespace, keyIssuer
	issuer.Spec.CA = v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{KeyStore: v1alpha1.KeyStoreKeyService}}
	if err := s.admin.Create(ctx, issuer); err != nil {
		return err
	}
	ready := func() (bool, error) {
		err := s.admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)
		return meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady),
			errors.Join(err, fmt.Errorf("the issuer %q is not ready: %v", keyIssuer, issuer.Status.Conditions))
	}
	if err := s.awaitAlive(ctx, time.Minute, ready); err != nil {
		return err
	}
	first := issuer.Status.IssuingCertificate.SHA256
	if err := rotateKeys(ctx, s); err != nil {
		return err
	}
	return s.awaitAlive(ctx, time.Minute, func() (bool, error) {
		ok, err := ready()
		return ok && issuer.Status.IssuingCertificate.SHA256 != first, err
	})
}

// directoryURL returns the directory of an issuer.
func (s *site) directoryURL(issuer string) string {
	if issuer == keyIssuer {
		return s.local.BaseURL() + "/" + filepath.Join(local.Namespace, issuer, "acme", "directory")
	}
	return s.local.DirectoryURL()
}

func killKeyService(ctx context.Context, s *site) error {
	s.keys.process.Kill()
	s.sleep(ctx, 0, 3*time.Second)
	return s.keys.start()
}

// stopKeyService lets calls begin and not end. Some last longer than the controllers wait for an answer.
func stopKeyService(ctx context.Context, s *site) error {
	pid := s.keys.process.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	s.sleep(ctx, time.Second, 8*time.Second)
	return syscall.Kill(pid, syscall.SIGCONT)
}

// rotateKeys replaces the intermediate whose key is in the key service, and does not wait for the next one.
func rotateKeys(ctx context.Context, s *site) error {
	if s.rotations == maxRotations {
		return errLeftOut
	}
	s.rotations++
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name = local.Namespace, keyIssuer
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.RotateIntermediateAnnotation, s.rotations)
	return s.admin.Patch(ctx, issuer, client.RawPatch(types.MergePatchType, patch))
}

// checkKeyIssuer checks that the key service signed certificates.
func (s *site) checkKeyIssuer() {
	if s.report.remote = s.history.CertificatesOf(keyIssuer); s.report.remote == 0 {
		s.report.violated(history.Violation{Fault: history.Broken, What: "no certificate was signed by the key service"})
	}
}
