package keyservice_test

import (
	"context"
	"crypto/sha256"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
	testservice "github.com/acmeca/acmeca/internal/test/keyservice"
)

func start(t *testing.T) (*testservice.Service, pb.KeyServiceClient) {
	t.Helper()
	service, err := testservice.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	connection, err := grpc.NewClient("unix:"+service.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return service, pb.NewKeyServiceClient(connection)
}

// TestRefusesRequestsOutsideOfTheProtocol covers each bound of a request.
func TestRefusesRequestsOutsideOfTheProtocol(t *testing.T) {
	_, client := start(t)
	ctx := t.Context()
	digest := sha256.Sum256(nil)
	sign := func(name string, algorithm pb.Algorithm, input any) func() error {
		request := &pb.SignRequest{Name: name, Algorithm: algorithm}
		switch input := input.(type) {
		case []byte:
			request.Input = &pb.SignRequest_Digest{Digest: input}
		case string:
			request.Input = &pb.SignRequest_Message{Message: []byte(input)}
		}
		return func() error { _, err := client.Sign(ctx, request); return err }
	}
	generate := func(name string, keyType pb.KeyType) func() error {
		return func() error {
			_, err := client.GenerateKey(ctx, &pb.GenerateKeyRequest{Name: name, Type: keyType})
			return err
		}
	}
	const p256, ed25519 = pb.Algorithm_ALGORITHM_ECDSA_P256_SHA256, pb.Algorithm_ALGORITHM_ED25519
	for name, test := range map[string]struct {
		call func() error
		code codes.Code
	}{
		"a name that is a path":      {sign("../key", p256, digest[:]), codes.InvalidArgument},
		"a name in upper case":       {sign("NS.key", p256, digest[:]), codes.InvalidArgument},
		"a long name":                {sign(strings.Repeat("a", 193), p256, digest[:]), codes.InvalidArgument},
		"no name":                    {sign("", p256, digest[:]), codes.InvalidArgument},
		"no algorithm":               {sign("ns.key", 0, digest[:]), codes.InvalidArgument},
		"an unknown algorithm":       {sign("ns.key", 99, digest[:]), codes.InvalidArgument},
		"no input":                   {sign("ns.key", p256, nil), codes.InvalidArgument},
		"a short digest":             {sign("ns.key", p256, digest[:20]), codes.InvalidArgument},
		"a message for ECDSA":        {sign("ns.key", p256, "message"), codes.InvalidArgument},
		"a digest for Ed25519":       {sign("ns.key", ed25519, digest[:]), codes.InvalidArgument},
		"a large message":            {sign("ns.key", ed25519, strings.Repeat("a", keyservice.MaxMessage+1)), codes.InvalidArgument},
		"a request over 4 MiB":       {sign("ns.key", ed25519, strings.Repeat("a", 5<<20)), codes.ResourceExhausted},
		"a key that does not exist":  {sign("ns.key", p256, digest[:]), codes.NotFound},
		"a key of no type":           {generate("ns.key", 0), codes.InvalidArgument},
		"a key of an unknown type":   {generate("ns.key", 99), codes.InvalidArgument},
		"a new key with a bad name":  {generate("ns/key", pb.KeyType_KEY_TYPE_ECDSA_P256), codes.InvalidArgument},
		"a list with an invalid one": {func() error { _, err := client.ListKeys(ctx, &pb.ListKeysRequest{Name: "*"}); return err }, codes.InvalidArgument},
	} {
		if err := test.call(); status.Code(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStatusOfAStalledBackend checks that Status answers although the backend does not.
func TestStatusOfAStalledBackend(t *testing.T) {
	service, client := start(t)
	answer, err := client.Status(t.Context(), &pb.StatusRequest{})
	if err != nil || !answer.Healthy || answer.Version != keyservice.Version || !answer.CanGenerate {
		t.Fatalf("%v, %v", answer, err)
	}
	service.Stall()
	if answer, err = client.Status(t.Context(), &pb.StatusRequest{}); err != nil || answer.Healthy || answer.Reason == "" {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestListenRefusesOpenDirectories(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if listener, err := keyservice.Listen(filepath.Join(dir, "socket")); err == nil {
		_ = listener.Close()
		t.Error("listens in a directory that every user can write")
	}
}

func TestListenReplacesTheSocketOfAServiceThatEndedAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "socket")
	first, err := keyservice.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := keyservice.Listen(path); err == nil {
		_ = second.Close()
		t.Fatal("took the socket of a service that runs")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if third, err := keyservice.Listen(path); err == nil {
		_ = third.Close()
		t.Error("removed a file that is no socket")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	abandoned, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	abandoned.SetUnlinkOnClose(false)
	if err := abandoned.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := keyservice.Listen(path)
	if err != nil {
		t.Fatalf("after a service that was killed: %v", err)
	}
	_ = again.Close()
}

// TestCallsEndWithTheirDeadline checks that a call that hangs in a library ends for its caller.
func TestCallsEndWithTheirDeadline(t *testing.T) {
	service, client := start(t)
	service.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := client.ListKeys(ctx, &pb.ListKeysRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}
