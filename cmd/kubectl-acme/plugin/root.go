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

// CompletionName is what kubectl looks for on the PATH to complete this plugin's arguments. A link of that name to the
// plugin is enough.
const CompletionName = "kubectl_complete-acme"

// fieldManager is who the API server records as the writer.
const fieldManager = "kubectl-acme"

// Main runs the plugin with the arguments of a process, and gives its exit code.
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

// options is what all commands share: the flags of every kubectl command, and what is made of them.
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

// NewCommand makes the plugin's command.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &options{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true), now: time.Now}
	root := &cobra.Command{
		Use:          "acme",
		Short:        "See to acmeca, the ACME CA in this cluster",
		SilenceUsage: true, SilenceErrors: true,
		Version:     version(),
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl acme"},
		Long: `See to acmeca, the ACME CA in this cluster.

Names are those of the objects that kubectl get acme shows. Where a command wants an issuer and the namespace has one
alone, it needn't be named.`,
	}
	root.SetIn(o.In)
	root.SetOut(o.Out)
	root.SetErr(o.ErrOut)
	o.flags.AddFlags(root.PersistentFlags())
	root.AddCommand(
		newStatus(o), newOrders(o), newOrder(o), newWhy(o), newWatch(o),
		newRevoke(o), newDeactivate(o), newRotate(o), newEAB(o),
		newTrust(o), newDirectory(o), newCertManagerIssuer(o), newExportCert(o),
	)
	root.RegisterFlagCompletionFunc("namespace", o.completing(completeNamespaces)) //nolint:errcheck // the flag is there
	return root
}

// released is the version of a release, set by the linker.
var released string

// version is that of the release, or of the module, which `go install` knows.
func version() string {
	if released != "" {
		return released
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// connect makes the client of what the flags say.
func (o *options) connect() error {
	if o.kube != nil {
		return nil
	}
	config, err := o.flags.ToRESTConfig()
	if err != nil {
		return err
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 50, 300 // as kubectl's own
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

// kinds are those that the plugin has to do with. They are known beforehand, so that the API server needn't be asked.
func kinds() (*runtime.Scheme, meta.RESTMapper, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), eventsv1.AddToScheme(scheme), authenticationv1.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"AcmeIssuer", "AcmeAccount", "AcmeOrder", "AcmeAuthorization"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	for _, kind := range []string{"Secret", "ConfigMap"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	mapper.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	return scheme, mapper, nil
}

// run makes of a function a command's own, which is called with a client.
func (o *options) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.connect(); err != nil {
			return err
		}
		return f(cmd.Context(), args)
	}
}

// screen is standard output, with colours where it is a terminal that has some, and nobody has said no (no-color.org).
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

// who is the person, as the API server knows them.
func (o *options) who(ctx context.Context) string {
	review := &authenticationv1.SelfSubjectReview{}
	if err := o.kube.Create(ctx, review); err != nil {
		return "a person"
	}
	return view.Clean(review.Status.UserInfo.Username)
}

// objectKey names an object of the namespace.
func (o *options) objectKey(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: o.namespace, Name: name}
}

func (o *options) say(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, view.Clean(fmt.Sprintf(format, args...)))
}
