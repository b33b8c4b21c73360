package token_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
)

const tpmModule = "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1"

// newTPM returns a token in an emulated TPM. A resource manager is between both, as the kernel has for a real TPM. The test is skipped
// if a program is missing: in Debian they are in swtpm, tpm2-abrmd, libtss2-tcti-tabrmd0, libtpm2-pkcs11-1,
// libtpm2-pkcs11-tools, tpm2-tools, opensc and dbus.
func newTPM(t *testing.T) *hsm {
	t.Helper()
	for _, program := range []string{"swtpm", "tpm2-abrmd", "tpm2_ptool", "tpm2_getrandom", "pkcs11-tool", "dbus-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if _, err := os.Stat(tpmModule); err != nil {
		t.Skip(err)
	}
	h := &hsm{dir: t.TempDir()}
	state, store := filepath.Join(h.dir, "state"), filepath.Join(h.dir, "store")
	if err := errors.Join(os.Mkdir(state, 0o700), os.Mkdir(store, 0o700)); err != nil {
		t.Fatal(err)
	}
	port := twoPorts(t)
	start(t, "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state, "--flags", "not-need-init,startup-clear",
		"--server", fmt.Sprintf("type=tcp,port=%d", port), "--ctrl", fmt.Sprintf("type=tcp,port=%d", port+1))
	await(t, "swtpm", func() error { return dial(port + 1) })
	startBus(t)
	tcti := "tabrmd:bus_type=session"
	start(t, "tpm2-abrmd", "--session", "--allow-root", fmt.Sprintf("--tcti=swtpm:host=127.0.0.1,port=%d", port))
	t.Setenv("TPM2TOOLS_TCTI", tcti)
	t.Setenv("TPM2_PKCS11_TCTI", tcti)
	t.Setenv("TPM2_PKCS11_STORE", store)
	await(t, "tpm2-abrmd", func() error { return exec.Command("tpm2_getrandom", "1").Run() })
	h.write(t, filepath.Join(h.dir, "pin"), "1234\n")
	h.run(t, "tpm2_ptool", "init", "--path", store)
	h.run(t, "tpm2_ptool", "addtoken", "--pid", "1", "--label", "acmeca", "--userpin", "1234", "--sopin", "5678", "--path", store)
	h.uri = "pkcs11:token=acmeca?module-path=" + tpmModule + "&pin-source=file:" + filepath.Join(h.dir, "pin")
	return h
}

// startBus starts a message bus for the resource manager.
func startBus(t *testing.T) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	bus := exec.Command("dbus-daemon", "--session", "--nofork", "--print-address=3")
	bus.ExtraFiles = []*os.File{write}
	run(t, bus)
	write.Close()
	address, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", strings.TrimSpace(address))
}

// start starts a program, which ends with the test.
func start(t *testing.T, name string, args ...string) {
	t.Helper()
	run(t, exec.Command(name, args...))
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func await(t *testing.T, what string, condition func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func dial(port int) error {
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		err = connection.Close()
	}
	return err
}

// twoPorts returns a free port that another free one follows.
func twoPorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		first.Close()
		if err == nil {
			second.Close()
			return port
		}
	}
	t.Fatal("there are no free ports")
	return 0
}

func TestTPM(t *testing.T) {
	h := newTPM(t)
	h.run(t, "pkcs11-tool", "--module", tpmModule, "--token-label", "acmeca", "--login", "--pin", "1234", "--keypairgen",
		"--key-type", "EC:prime256v1", "--label", "ns.made-by-hand", "--id", "01")
	backend := h.open(t)
	if _, err := backend.Generate(t.Context(), "ns.generated", pb.KeyType_KEY_TYPE_ECDSA_P256); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"ns.made-by-hand", "ns.generated"} {
		if err := signs(backend, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := backend.Generate(t.Context(), "ns.generated", pb.KeyType_KEY_TYPE_ECDSA_P256); !errors.Is(err, keyservice.ErrExists) {
		t.Error(err)
	}
}
