package keyservice

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/acmeca/acmeca/api/acme"
	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
)

// The bounds of the protocol.
const (
	Version = "v1alpha1"
	// MaxMessage bounds a message to sign, in bytes.
	MaxMessage = 1 << 20
	// MaxSignature bounds a signature, in bytes.
	MaxSignature = 2048

	maxText       = 1024
	maxKeys       = 1024
	maxRequest    = 4 << 20
	callTimeout   = 10 * time.Second
	statusTimeout = 800 * time.Millisecond
	// generateTimeout is longer, since an HSM needs seconds for an RSA key.
	generateTimeout = 60 * time.Second
)

// Server serves the protocol.
type Server struct {
	pb.UnimplementedKeyServiceServer
	backend Backend
	log     logr.Logger
	// slots bounds the calls of the backend. A call of a library that hangs keeps its slot.
	slots chan struct{}
}

// NewServer returns a server that makes at most concurrent calls of the backend at a time.
func NewServer(backend Backend, concurrent int, log logr.Logger) *Server {
	return &Server{backend: backend, log: log, slots: make(chan struct{}, concurrent)}
}

// Serve serves connections until the context ends, and then ends the calls in flight.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(maxRequest), grpc.MaxConcurrentStreams(256),
		grpc.ConnectionTimeout(5*time.Second), grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second,
			PermitWithoutStream: true}))
	pb.RegisterKeyServiceServer(server, s)
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	return server.Serve(listener)
}

// call runs work within the bounds of time and concurrency, and returns its error with a status code. It returns when the time has
// passed, even if work does not.
func call[T any](ctx context.Context, s *Server, timeout time.Duration, work func(context.Context) (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, timeout)
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return none, status.Error(codes.ResourceExhausted, "all calls of the key store are in use")
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer cancel()
		defer func() { <-s.slots }()
		value, err := work(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, withCode(r.err)
	case <-ctx.Done():
		select {
		case r := <-done: // the end of work cancels the context too
			return r.value, withCode(r.err)
		default:
			return none, status.Error(codes.DeadlineExceeded, "the key store did not answer in time")
		}
	}
}

func withCode(err error) error {
	code := codes.FailedPrecondition
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, ErrExists):
		code = codes.AlreadyExists
	case errors.Is(err, ErrUnsupported):
		code = codes.InvalidArgument
	case errors.Is(err, ErrUnavailable):
		code = codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, acme.Printable(err.Error(), maxText))
}

// Status implements the protocol.
func (s *Server) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	_, err := call(ctx, s, statusTimeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.backend.Check(ctx) })
	_, generates := s.backend.(Generator)
	answer := &pb.StatusResponse{
		Version: Version, Healthy: err == nil, Backend: acme.Printable(s.backend.Name(), 128), CanGenerate: generates,
	}
	if err != nil {
		answer.Reason = acme.Printable(status.Convert(err).Message(), maxText)
	}
	return answer, nil
}

// ListKeys implements the protocol.
func (s *Server) ListKeys(ctx context.Context, request *pb.ListKeysRequest) (*pb.ListKeysResponse, error) {
	if request.Name != "" && !ValidName(request.Name) {
		return nil, status.Error(codes.InvalidArgument, "the name of the key is invalid")
	}
	return call(ctx, s, callTimeout, func(ctx context.Context) (*pb.ListKeysResponse, error) {
		keys, err := s.backend.Keys(ctx, request.Name)
		if err != nil {
			return nil, err
		}
		answer := &pb.ListKeysResponse{}
		for _, key := range keys {
			described, err := describe(key)
			if err != nil && request.Name == "" {
				continue // a key for something else
			} else if err != nil {
				return nil, err
			}
			if answer.Keys = append(answer.Keys, described); len(answer.Keys) == maxKeys {
				break
			}
		}
		return answer, nil
	})
}

func describe(key Key) (*pb.Key, error) {
	algorithm, err := AlgorithmOf(key.Public)
	if err != nil {
		return nil, err
	}
	if !ValidName(key.Name) {
		return nil, errors.New("the name of the key is invalid")
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public)
	if err != nil {
		return nil, err
	}
	return &pb.Key{Name: key.Name, PublicKey: der, Algorithms: []pb.Algorithm{algorithm}}, nil
}

// Sign implements the protocol.
func (s *Server) Sign(ctx context.Context, request *pb.SignRequest) (*pb.SignResponse, error) {
	input, err := inputOf(request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	answer, err := call(ctx, s, callTimeout, func(ctx context.Context) (*pb.SignResponse, error) {
		signature, err := s.backend.Sign(ctx, request.Name, request.Algorithm, input)
		return &pb.SignResponse{Signature: signature}, err
	})
	if err != nil {
		s.log.Error(err, "can't sign", "key", request.Name, "algorithm", request.Algorithm.String())
		return nil, err
	}
	s.log.V(1).Info("signed", "key", request.Name, "algorithm", request.Algorithm.String())
	return answer, nil
}

// inputOf returns the digest or message to sign, or an error if the request is not one of the protocol.
func inputOf(request *pb.SignRequest) ([]byte, error) {
	if !ValidName(request.Name) {
		return nil, errors.New("the name of the key is invalid")
	}
	hash, err := HashOf(request.Algorithm)
	switch {
	case err != nil:
		return nil, err
	case hash == 0:
		if message := request.GetMessage(); len(message) > 0 && len(message) <= MaxMessage {
			return message, nil
		}
		return nil, fmt.Errorf("Ed25519 signs a message of 1 to %d bytes", MaxMessage)
	case len(request.GetDigest()) != hash.Size():
		return nil, fmt.Errorf("the digest must have %d bytes", hash.Size())
	}
	return request.GetDigest(), nil
}

// GenerateKey implements the protocol.
func (s *Server) GenerateKey(ctx context.Context, request *pb.GenerateKeyRequest) (*pb.GenerateKeyResponse, error) {
	generator, ok := s.backend.(Generator)
	switch {
	case !ok:
		return nil, status.Error(codes.Unimplemented, "this key service makes no keys")
	case !ValidName(request.Name):
		return nil, status.Error(codes.InvalidArgument, "the name of the key is invalid")
	case request.Type == pb.KeyType_KEY_TYPE_UNSPECIFIED:
		return nil, status.Error(codes.InvalidArgument, "the type of the key is missing")
	}
	return call(ctx, s, generateTimeout, func(ctx context.Context) (*pb.GenerateKeyResponse, error) {
		key, err := generator.Generate(ctx, request.Name, request.Type)
		if errors.Is(err, ErrExists) {
			key, err = s.existing(ctx, request)
		} else if err == nil {
			s.log.Info("made a key", "key", request.Name, "type", request.Type.String())
		}
		if err != nil {
			return nil, err
		}
		described, err := describe(key)
		return &pb.GenerateKeyResponse{Key: described}, err
	})
}

// existing returns the key that has the name of a request, if it has the type too.
func (s *Server) existing(ctx context.Context, request *pb.GenerateKeyRequest) (Key, error) {
	keys, err := s.backend.Keys(ctx, request.Name)
	switch {
	case err != nil:
		return Key{}, err
	case len(keys) != 1:
		return Key{}, ErrNotFound
	case TypeOf(keys[0].Public) != request.Type:
		return Key{}, fmt.Errorf("%w, of another type", ErrExists)
	}
	return keys[0], nil
}
