// Package softhsm runs `acmeca-pkcs11` with a SoftHSM token in tests.
package softhsm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/acmeca/acmeca/internal/test/project"
)

// Module is the path of SoftHSM's library.
const Module = "/usr/lib/softhsm/libsofthsm2.so"

// HSM is a SoftHSM token, and `acmeca-pkcs11` with it.
type HSM struct {
	// Socket is the path of the key service's socket.
	Socket string

	dir     string
	program *exec.Cmd
}

// New makes a token, builds the program and starts it. The caller waits until Ping succeeds.
func New(ctx context.Context) (*HSM, error) {
	dir, err := os.MkdirTemp("", "hsm")
	if err != nil {
		return nil, err
	}
	h := &HSM{dir: dir, Socket: filepath.Join(dir, "s", "socket")}
	root, err := project.Root()
	if err != nil {
		return nil, err
	}
	return h, errors.Join(
		h.run(ctx, "go", "-C", filepath.Join(root, "cmd", "acmeca-pkcs11"), "build", "-o", filepath.Join(dir, "acmeca-pkcs11"), "."),
		os.Mkdir(h.tokens(), 0o700),
		os.WriteFile(filepath.Join(dir, "softhsm2.conf"), []byte("directories.tokendir = "+h.tokens()+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "pin"), []byte("1234\n"), 0o600),
		h.run(ctx, "softhsm2-util", "--init-token", "--free", "--label", "acmeca", "--so-pin", "5678", "--pin", "1234"),
		h.Start())
}

func (h *HSM) tokens() string { return filepath.Join(h.dir, "tokens") }

// Environment returns the variables for programs that use the token.
func (h *HSM) Environment() []string {
	return []string{"SOFTHSM2_CONF=" + filepath.Join(h.dir, "softhsm2.conf")}
}

func (h *HSM) environment() []string { return append(os.Environ(), h.Environment()...) }

func (h *HSM) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = h.environment()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, output)
	}
	return nil
}

// Start starts the program after Kill.
func (h *HSM) Start() error {
	h.program = exec.Command(filepath.Join(h.dir, "acmeca-pkcs11"), "--socket", h.Socket,
		"--token", "pkcs11:token=acmeca?module-path="+Module+"&pin-source=file:"+filepath.Join(h.dir, "pin"))
	h.program.Env = h.environment()
	return h.program.Start()
}

// Ping reports whether the program accepts connections.
func (h *HSM) Ping() error {
	connection, err := net.Dial("unix", h.Socket)
	if err == nil {
		err = connection.Close()
	}
	return err
}

// Kill ends the program as a crash does.
func (h *HSM) Kill() {
	if h.program != nil && h.program.ProcessState == nil {
		_ = h.program.Process.Kill()
		_ = h.program.Wait()
	}
}

// Close ends the program, and removes the token.
func (h *HSM) Close() {
	h.Kill()
	_ = os.RemoveAll(h.dir)
}

// MakeKey makes a key as a person does.
func (h *HSM) MakeKey(ctx context.Context, label string) error {
	return h.run(ctx, "pkcs11-tool", "--module", Module, "--token-label", "acmeca", "--login", "--pin", "1234", "--keypairgen",
		"--key-type", "EC:prime256v1", "--label", label, "--id", "01")
}

// Take takes the token away, until GiveBack.
func (h *HSM) Take() error {
	return errors.Join(os.Rename(h.tokens(), h.tokens()+"-away"), os.Mkdir(h.tokens(), 0o700))
}

// GiveBack ends Take.
func (h *HSM) GiveBack() error {
	return errors.Join(os.Remove(h.tokens()), os.Rename(h.tokens()+"-away", h.tokens()))
}
