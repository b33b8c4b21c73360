package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

// CompletionName is the program that kubectl runs to complete this plugin's arguments. A link of that name to the plugin is enough.
const CompletionName = "kubectl_complete-acme"

// fieldManager is the field manager of the plugin's writes.
const fieldManager = "kubectl-acme"

// Main runs the plugin with the arguments of a process, and returns its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.SetLogger(logr.Discard())
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	cmd := NewCommand(streams)
	arguments := args[1:]
	if strings.HasPrefix(filepath.Base(args[0]), CompletionName) {
		arguments = append([]string{cobra.ShellCompRequestCmd}, arguments...)
	}
	cmd.SetArgs(arguments)
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(streams.ErrOut, "error:", view.Clean(err.Error()))
		return 1
	}
	return 0
}

// options are shared by all commands: kubectl's common flags, and the clients made from them.
type options struct {
	genericiooptions.IOStreams
	flags  *genericclioptions.ConfigFlags
	output string
	yes    bool

	kube      client.WithWatch
	rest      *rest.Config
	namespace string
	now       func() time.Time
}

// NewCommand returns the plugin's root command.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &options{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true), now: time.Now}
	root := &cobra.Command{
		Use:          "acme",
		Short:        "Manage acmeca, the ACME CA in this cluster",
		SilenceUsage: true, SilenceErrors: true,
		Version:     version(),
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl acme"},
		Long: `Manage acmeca, the ACME CA in this cluster.

Names are the object names that kubectl get acme lists. A command that needs an issuer uses the only one in the
namespace by default.`,
	}
	root.SetIn(o.In)
	root.SetOut(o.Out)
	root.SetErr(o.ErrOut)
	o.flags.AddFlags(root.PersistentFlags())
	root.AddCommand(
		newStatus(o), newOrders(o), newOrder(o), newWhy(o), newWatch(o),
		newRevoke(o), newDeactivate(o), newRotate(o), newEAB(o), newCA(o), newUninstall(o),
		newTrust(o), newCRL(o), newDirectory(o), newCertManagerIssuer(o), newExportCert(o),
	)
	root.RegisterFlagCompletionFunc("namespace", o.completing(completeNamespaces)) //nolint:errcheck // the flag exists
	return root
}

// released is the version of a release; the linker sets it.
var released string

// version returns the version of the release, or of the module if it was built by `go install`.
func version() string {
	if released != "" {
		return released
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// connect creates the client from the flags.
func (o *options) connect() error {
	if o.kube != nil {
		return nil
	}
	config, err := o.flags.ToRESTConfig()
	if err != nil {
		return err
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 50, 300 // as in kubectl
	config.UserAgent = fieldManager + "/" + version()
	config.WarningHandler = rest.NoWarnings{}
	if o.namespace, _, err = o.flags.ToRawKubeConfigLoader().Namespace(); err != nil {
		return err
	}
	scheme, mapper, err := kinds()
	if err != nil {
		return err
	}
	o.rest = config
	o.kube, err = client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
	return err
}

// kinds returns the kinds that the plugin uses. They are fixed, so that discovery needs no requests.
func kinds() (*runtime.Scheme, meta.RESTMapper, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), eventsv1.AddToScheme(scheme),
		certificatesv1.AddToScheme(scheme), authenticationv1.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"AcmeIssuer", "AcmeAccount", "AcmeOrder", "AcmeAuthorization"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	for _, kind := range []string{"Secret", "ConfigMap", "Pod"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(certificatesv1.SchemeGroupVersion.WithKind("PodCertificateRequest"), meta.RESTScopeNamespace)
	mapper.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	mapper.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	return scheme, mapper, nil
}

// run adapts a function to cobra. The function is called with the client connected.
func (o *options) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.connect(); err != nil {
			return err
		}
		return f(cmd.Context(), args)
	}
}

// onIssuer is run for commands on the issuer that the arguments name.
func (o *options) onIssuer(f func(ctx context.Context, issuer *v1alpha1.AcmeIssuer) error) func(*cobra.Command, []string) error {
	return o.run(func(ctx context.Context, args []string) error {
		issuer, err := o.issuer(ctx, args)
		if err != nil {
			return err
		}
		return f(ctx, issuer)
	})
}

// screen returns standard output, with colours if it is a terminal that supports them and NO_COLOR is unset (no-color.org).
func (o *options) screen() view.Screen {
	_, refused := os.LookupEnv("NO_COLOR")
	if os.Getenv("NO_COLOR") == "" {
		refused = false
	}
	return view.Screen{Writer: o.Out, Colour: isTerminal(o.Out) && !refused && os.Getenv("TERM") != "dumb", Now: o.now()}
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// who returns the user's name, as the API server authenticates it.
func (o *options) who(ctx context.Context) string {
	review := &authenticationv1.SelfSubjectReview{}
	if err := o.kube.Create(ctx, review); err != nil {
		return "a person"
	}
	return view.Clean(review.Status.UserInfo.Username)
}

// objectKey returns the key of an object in the namespace.
func (o *options) objectKey(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: o.namespace, Name: name}
}

func (o *options) say(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, view.Clean(fmt.Sprintf(format, args...)))
}
