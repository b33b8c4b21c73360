// Package keyservice is the client of a key service, which holds the keys of CAs outside of the cluster (api/keyservice/v1alpha1).
//
// It trusts the service with nothing but the keys. Public keys are pinned by the caller, each signature is verified before it is
// returned, calls are bounded in number, size and time, and a service that does not answer is asked again by one call at a time.
package keyservice

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"

	"github.com/acmeca/acmeca/api/acme"
	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
	"github.com/acmeca/acmeca/internal/pki"
)

const (
	// defaultTimeout bounds a call, with its wait for a slot.
	defaultTimeout = 5 * time.Second
	// defaultInFlight bounds the calls in flight.
	defaultInFlight = 32
	// generateTimeout is that of the protocol.
	generateTimeout = 60 * time.Second

	maxAnswer = 4 << 20
	maxText   = 512
)

// Config is the configuration of a Client.
type Config struct {
	// Socket is the path of the service's unix socket.
	Socket string
	// Timeout bounds a call; 0 for the default.
	Timeout time.Duration
	// InFlight bounds the calls in flight; 0 for the default.
	InFlight int
	// Clock is nil for the system's clock.
	Clock clock.PassiveClock
	// Observe is called after each call, with its result: "ok", the status code, or "wrong" for a signature that does not verify.
	Observe func(operation, result string, took time.Duration)
}

// Client calls a key service. It is safe for concurrent use.
type Client struct {
	Config
	connection *grpc.ClientConn
	service    pb.KeyServiceClient
	slots      chan struct{}
	health     health
}

// Error is a failure of a key service. It says nothing about the request: what was to be signed can be signed later.
type Error struct {
	// Retry is whether the service may recover without a person.
	Retry bool
	// Message is stable while the failure lasts.
	Message string
}

func (e *Error) Error() string { return e.Message }

// New returns a client. It connects with its first call.
func New(c Config) (*Client, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.InFlight == 0 {
		c.InFlight = defaultInFlight
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Observe == nil {
		c.Observe = func(string, string, time.Duration) {}
	}
	connection, err := grpc.NewClient("passthrough:///key-service",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's owner and mode are checked
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, c.Socket) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}}))
	if err != nil {
		return nil, err
	}
	return &Client{
		Config: c, connection: connection, service: pb.NewKeyServiceClient(connection), slots: make(chan struct{}, c.InFlight),
		health: health{clock: c.Clock},
	}, nil
}

func dial(ctx context.Context, socket string) (net.Conn, error) {
	if err := keyservice.CheckSocket(socket); err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", socket)
}

// Close closes the connection.
func (c *Client) Close() error { return c.connection.Close() }

// call makes one call within the bounds, and returns its failure as an *Error. A caller that cancels its call says nothing about the
// service.
func (c *Client) call(caller context.Context, operation string, timeout time.Duration, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(caller, timeout)
	defer cancel()
	if failure := c.health.admit(); failure != nil {
		return failure
	}
	begun := time.Now()
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		c.health.skipped()
		c.Observe(operation, "queue", time.Since(begun))
		return &Error{Retry: true, Message: "the key service is slow: its queue is full"}
	}
	defer func() { <-c.slots }()
	err := work(ctx)
	failure, result := failureOf(err)
	if err != nil && caller.Err() != nil {
		c.health.skipped()
	} else {
		c.health.done(failure, answered(err))
	}
	c.Observe(operation, result, time.Since(begun))
	if failure != nil {
		return failure
	}
	return nil
}

// errWrong is the error of an answer that is false.
var errWrong = errors.New("the key service lies")

// answered reports whether an error is an answer of the service about one request, and not its failure.
func answered(err error) bool {
	switch code := status.Code(err); code {
	case codes.NotFound, codes.AlreadyExists, codes.InvalidArgument, codes.Unimplemented, codes.FailedPrecondition:
		return true
	default:
		return errors.Is(err, errWrong)
	}
}

// failureOf returns the failure and the result of a call.
func failureOf(err error) (*Error, string) {
	if err == nil {
		return nil, "ok"
	}
	if errors.Is(err, errWrong) {
		return &Error{Message: err.Error()}, "wrong"
	}
	code := status.Code(err)
	if errors.Is(err, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	failure := &Error{Message: "the key service: " + acme.Printable(status.Convert(err).Message(), maxText)}
	switch code {
	case codes.DeadlineExceeded:
		failure.Retry, failure.Message = true, "the key service did not answer in time"
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.Canceled:
		failure.Retry = true
	}
	return failure, strings.ToLower(code.String())
}

// Check asks the service for its status, and returns an error if it can't sign now. It is also the probe that ends an outage.
func (c *Client) Check(ctx context.Context) error {
	return c.call(ctx, "status", c.Timeout, func(ctx context.Context) error {
		answer, err := c.service.Status(ctx, &pb.StatusRequest{})
		switch {
		case err != nil:
			return err
		case answer.Version != keyservice.Version:
			return status.Errorf(codes.Unimplemented, "it has version %q of the protocol, and not %q",
				acme.Printable(answer.Version, 32), keyservice.Version)
		case !answer.Healthy:
			return status.Errorf(codes.Unavailable, "%s", answer.Reason)
		}
		return nil
	})
}

// Usable returns the failure of a service that is known not to answer, and nil if it is worth a call.
func (c *Client) Usable() error {
	if failure := c.health.closed(); failure != nil {
		return failure
	}
	return nil
}

// Outage returns the failure of the service, and how long it has lasted; nil if its last call succeeded.
func (c *Client) Outage() (lasted time.Duration, err error) {
	if failure, lasted := c.health.outage(); failure != nil {
		return lasted, failure
	}
	return 0, nil
}

// PublicKey returns the public key of a key, for the caller to pin.
func (c *Client) PublicKey(ctx context.Context, name string) (crypto.PublicKey, error) {
	var public crypto.PublicKey
	err := c.call(ctx, "list", c.Timeout, func(ctx context.Context) error {
		answer, err := c.service.ListKeys(ctx, &pb.ListKeysRequest{Name: name})
		switch {
		case err != nil:
			return err
		case len(answer.Keys) == 0:
			return status.Errorf(codes.NotFound, "there is no key %q", name)
		case len(answer.Keys) > 1:
			return status.Errorf(codes.FailedPrecondition, "there are %d keys %q", len(answer.Keys), name)
		}
		public, err = publicKey(answer.Keys[0], name)
		return err
	})
	return public, err
}

// Generate returns the key with a name, which the service makes if it does not exist.
func (c *Client) Generate(ctx context.Context, name string, keyType pb.KeyType) (*Signer, error) {
	var public crypto.PublicKey
	err := c.call(ctx, "generate", generateTimeout, func(ctx context.Context) error {
		answer, err := c.service.GenerateKey(ctx, &pb.GenerateKeyRequest{Name: name, Type: keyType})
		if err != nil {
			return err
		}
		if public, err = publicKey(answer.Key, name); err == nil && keyservice.TypeOf(public) != keyType {
			err = fmt.Errorf("%w: it made a key of another type", errWrong)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.Signer(name, public), nil
}

// publicKey returns the public key of an answer that is about the key with a name.
func publicKey(key *pb.Key, name string) (crypto.PublicKey, error) {
	if key.GetName() != name {
		return nil, fmt.Errorf("%w: it answers for another key than %q", errWrong, name)
	}
	public, err := x509.ParsePKIXPublicKey(key.GetPublicKey())
	if err == nil {
		err = pki.CheckKey(public, pki.KeyOptions{AllowP521: true})
	}
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the public key of %q: %v", name, err)
	}
	return public, nil
}
