package docs

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/acmeca/acmeca/cmd/kubectl-acme/plugin"
)

var (
	target   = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	makeCall = regexp.MustCompile(`(?:^|[(&|;] ?|=\S+ )make((?: [^ |;&)#]+)+)`)
	word     = regexp.MustCompile(`^[a-z][a-z-]*$`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
)

func TestTargetsOfMakeExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, match := range target.FindAllStringSubmatch(string(text), -1) {
		targets[match[1]] = true
	}
	named := map[string]bool{}
	for _, d := range documents(t) {
		for _, command := range d.commands() {
			for _, match := range makeCall.FindAllStringSubmatch(quoted.ReplaceAllString(command, ""), -1) {
				for _, name := range strings.Fields(match[1]) {
					if !word.MatchString(name) {
						continue // VARIABLE=value
					}
					named[name] = true
					if !targets[name] {
						t.Errorf("%s: %q: the Makefile has no target %s", d.path, command, name)
					}
				}
			}
		}
	}
	if len(named) < 15 {
		t.Errorf("found only these targets: %v", slices.Sorted(maps.Keys(named)))
	}
}

var pluginCall = regexp.MustCompile("kubectl acme((?: [^ |;&>)`#]+)+)")

func TestCommandsOfThePluginExist(t *testing.T) {
	checked := 0
	for _, d := range documents(t) {
		for _, command := range d.commands() {
			for _, match := range pluginCall.FindAllStringSubmatch(command, -1) {
				args := strings.Fields(strings.NewReplacer(`"`, "", `'`, "").Replace(match[1]))
				checked++
				if wrong := parsePlugin(args); wrong != "" {
					t.Errorf("%s: %q: %s", d.path, command, wrong)
				}
			}
		}
	}
	if checked < 60 {
		t.Errorf("found only %d commands", checked)
	}
}

// parsePlugin returns the error in arguments of the plugin, or "".
func parsePlugin(args []string) string {
	args = slices.DeleteFunc(args, func(arg string) bool { return arg == "--help" || arg == "..." || arg == `\` })
	if len(args) == 0 || args[0] == strings.ToUpper(args[0]) && !strings.HasPrefix(args[0], "-") {
		return "" // COMMAND stands for any command
	}
	root := pluginCommand()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err.Error()
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err.Error()
	}
	if positional := cmd.Flags().Args(); cmd.HasSubCommands() && len(positional) > 0 {
		return cmd.CommandPath() + " has no command " + positional[0]
	}
	return ""
}

func pluginCommand() *cobra.Command {
	return plugin.NewCommand(genericiooptions.NewTestIOStreamsDiscard())
}

// flagsOfOthers maps flags in the documents to the programs that have them.
var flagsOfOthers = map[string]string{
	"accept-tos": "lego", "agree-tos": "certbot", "standalone": "certbot", "webroot": "certbot", "contact": "step",
	"set": "helm", "wait": "helm",
	"http": "lego", "tls": "lego", "dns": "lego", "eab": "lego", "days": "lego",
	"issue": "acme.sh", "register-account": "acme.sh", "ca-bundle": "acme.sh", "server": "acme.sh", "alpn": "acme.sh",
	"cert-profile": "acme.sh", "eab-kid": "acme.sh", "eab-hmac-key": "acme.sh",
	"acme-http01-solver-nameservers": "cert-manager", "dns01-recursive-nameservers": "cert-manager",
	"quota-backend-bytes": "etcd", "unsafe-no-fsync": "etcd", "token": "acmeca-pkcs11", "enable-gateway-api": "cert-manager", "max-concurrent-challenges": "cert-manager",
}

var (
	bareFlag   = regexp.MustCompile(`^--?([a-z][a-z0-9-]+)(?:[= ].*)?$`)
	acmecaCall = regexp.MustCompile(`^acmeca ([a-z]+)((?: [^ |;&>)]+)*)$`)
	usageFlag  = regexp.MustCompile(`(?m)^  -([a-z][a-z0-9-]*)`)
)

func TestFlagsExist(t *testing.T) {
	flags := flagsOfAcmeca(t)
	known := map[string]bool{}
	for _, of := range flags {
		maps.Copy(known, of)
	}
	addPluginFlags(known, pluginCommand())
	checked := 0
	for _, d := range documents(t) {
		for _, code := range d.code() {
			if match := bareFlag.FindStringSubmatch(code); match != nil && strings.HasPrefix(code, "--") {
				checked++
				if !known[match[1]] && flagsOfOthers[match[1]] == "" {
					t.Errorf("%s: neither acmeca nor kubectl acme has a flag %s", d.path, code)
				}
			}
		}
		for _, command := range d.commands() {
			match := acmecaCall.FindStringSubmatch(command)
			if match == nil {
				continue
			}
			of, ok := flags[match[1]]
			if !ok {
				t.Errorf("%s: %q: acmeca has no command %s", d.path, command, match[1])
			}
			for _, arg := range strings.Fields(match[2]) {
				if name := bareFlag.FindStringSubmatch(arg); name != nil && !of[name[1]] {
					t.Errorf("%s: %q: acmeca %s has no flag %s", d.path, command, match[1], arg)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("found only %d flags", checked)
	}
}

// flagsOfAcmeca returns the flags of each command of the operator, read from its usage text.
func flagsOfAcmeca(t *testing.T) map[string]map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // includes the build on a slow machine
	defer cancel()
	program := filepath.Join(t.TempDir(), "acmeca")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/acmeca")
	build.Dir = root(t)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	all := map[string]map[string]bool{"help": {}}
	for _, name := range []string{"controller", "server", "all", "validator", "keyservice"} {
		usage, err := exec.CommandContext(ctx, program, name, "-h").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, usage)
		}
		all[name] = map[string]bool{"h": true}
		for _, match := range usageFlag.FindAllStringSubmatch(string(usage), -1) {
			all[name][match[1]] = true
		}
		if len(all[name]) < 5 {
			t.Fatalf("acmeca %s -h shows too few flags:\n%s", name, usage)
		}
	}
	return all
}

func addPluginFlags(known map[string]bool, cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	}
	for _, sub := range cmd.Commands() {
		addPluginFlags(known, sub)
	}
}
