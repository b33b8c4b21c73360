package packaging

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// templates returns the Pod templates of both components, in config, in a chart under another name, and in the bundle.
func templates(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	config, err := Kustomize(root(t) + "/config/default")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]corev1.PodTemplateSpec{}
	for name, objects := range map[string]Objects{"config": config, "chart": render(t, "pki", map[string]any{"fullnameOverride": "corp"})} {
		for _, object := range objects.Kinds("Deployment") {
			deployment := &appsv1.Deployment{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment); err != nil {
				t.Fatal(err)
			}
			all[name+": "+deployment.Name] = deployment.Spec.Template
		}
	}
	for _, deployment := range bundle(t).CSV.Spec.InstallStrategy.StrategySpec.DeploymentSpecs {
		all["bundle: "+deployment.Name] = deployment.Spec.Template
	}
	if len(all) != 6 {
		t.Fatalf("got %d templates", len(all))
	}
	return all
}

// kube-scheduler leaves a node that lacks one of two topology keys out of both spreads, so there is only one constraint. The spread over
// zones is a preferred anti-affinity.
func TestPodsSpreadOverHostsAndZones(t *testing.T) {
	for name, template := range templates(t) {
		own := func(selector *metav1.LabelSelector) bool {
			parsed, err := metav1.LabelSelectorAsSelector(selector)
			return err == nil && !parsed.Empty() && parsed.Matches(labels.Set(template.Labels))
		}
		spread := template.Spec.TopologySpreadConstraints
		if len(spread) != 1 || spread[0].TopologyKey != "kubernetes.io/hostname" || spread[0].WhenUnsatisfiable != corev1.ScheduleAnyway || !own(spread[0].LabelSelector) {
			t.Errorf("%s spreads by %+v", name, spread)
		}
		if template.Spec.Affinity == nil || template.Spec.Affinity.PodAntiAffinity == nil {
			t.Errorf("%s has no anti-affinity", name)
			continue
		}
		apart := template.Spec.Affinity.PodAntiAffinity
		preferred := apart.PreferredDuringSchedulingIgnoredDuringExecution
		if len(apart.RequiredDuringSchedulingIgnoredDuringExecution) > 0 || len(preferred) != 1 ||
			preferred[0].PodAffinityTerm.TopologyKey != "topology.kubernetes.io/zone" || !own(preferred[0].PodAffinityTerm.LabelSelector) {
			t.Errorf("%s keeps apart %+v", name, apart)
		}
	}
}

func TestPodsLeaveALostNodeSoon(t *testing.T) {
	for name, template := range templates(t) {
		for _, taint := range []string{"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"} {
			if !slices.ContainsFunc(template.Spec.Tolerations, func(l corev1.Toleration) bool {
				return l.Key == taint && l.Operator == corev1.TolerationOpExists && l.Effect == corev1.TaintEffectNoExecute && l.TolerationSeconds != nil && *l.TolerationSeconds == 30
			}) {
				t.Errorf("%s: no toleration of %s for 30 s in %+v", name, taint, template.Spec.Tolerations)
			}
		}
	}
}

// The operator leaves headroom below the container's limit, which it reads from a variable.
func TestTheMemoryLimitIsPassedOn(t *testing.T) {
	for name, template := range templates(t) {
		env := template.Spec.Containers[0].Env
		if !slices.ContainsFunc(env, func(v corev1.EnvVar) bool {
			return v.Name == "ACMECA_MEMORY_LIMIT" && v.ValueFrom != nil && v.ValueFrom.ResourceFieldRef != nil && v.ValueFrom.ResourceFieldRef.Resource == "limits.memory"
		}) || slices.ContainsFunc(env, func(v corev1.EnvVar) bool { return v.Name == "GOMEMLIMIT" }) {
			t.Errorf("%s: %+v", name, env)
		}
	}
}

func TestAffinityCanBeReplaced(t *testing.T) {
	node := map[string]any{"nodeAffinity": map[string]any{}}
	server, err := render(t, "pki", map[string]any{"fullnameOverride": "corp", "server": map[string]any{"affinity": node}}).One("Deployment", "corp-server")
	if err != nil {
		t.Fatal(err)
	}
	deployment := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(server.Object, deployment); err != nil {
		t.Fatal(err)
	}
	if affinity := deployment.Spec.Template.Spec.Affinity; affinity.NodeAffinity == nil || affinity.PodAntiAffinity != nil {
		t.Errorf("got %+v", affinity)
	}
}

func TestTheAPIServersPortsAreConfigurable(t *testing.T) {
	for name, test := range map[string]struct {
		values map[string]any
		want   []int32
	}{
		"by default": {nil, []int32{443, 6443}},
		"minikube":   {map[string]any{"networkPolicy": map[string]any{"apiServerPorts": []any{8443}}}, []int32{8443}},
	} {
		t.Run(name, func(t *testing.T) {
			object, err := render(t, "acmeca-system", test.values).One("NetworkPolicy", "acmeca-server")
			if err != nil {
				t.Fatal(err)
			}
			policy := &networkingv1.NetworkPolicy{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, policy); err != nil {
				t.Fatal(err)
			}
			var got []int32
			for _, port := range policy.Spec.Egress[0].Ports {
				got = append(got, port.Port.IntVal)
			}
			if !slices.Equal(got, test.want) || len(policy.Spec.Egress[0].To) > 0 || len(policy.Spec.Egress) != 3 {
				t.Errorf("got %v in %+v", got, policy.Spec.Egress)
			}
		})
	}
}

// The kubelet checks an optional Secret that is missing once a minute. It waits for one that is required, and looks again within
// seconds.
func TestTheServersSecretsAreRequired(t *testing.T) {
	for name, template := range templates(t) {
		if !strings.HasSuffix(name, "-server") {
			continue
		}
		volumes := template.Spec.Volumes
		if len(volumes) != 2 {
			t.Errorf("%s has %d volumes", name, len(volumes))
		}
		for _, volume := range volumes {
			if volume.Secret == nil || volume.Secret.Optional != nil && *volume.Secret.Optional {
				t.Errorf("%s: %+v", name, volume)
			}
		}
	}
}

// The guide's patch adds a port of the API server to the kustomization.
func TestTheGuidesPortIsAdded(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join(root(t), "docs", "guides", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(guide), "      value: {port: 8443}\n")
	if !found {
		t.Fatal("the guide adds no port")
	}
	patch := before[strings.LastIndex(before, "```yaml\n")+len("```yaml\n"):] + "      value: {port: 8443}\n"
	dir := t.TempDir()
	base, err := filepath.Rel(dir, root(t)+"/config/default")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("resources: ["+base+"]\n"+patch), 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := Kustomize(dir)
	if err != nil {
		t.Fatal(err)
	}
	object, err := objects.One("NetworkPolicy", "acmeca-server")
	if err != nil {
		t.Fatal(err)
	}
	policy := &networkingv1.NetworkPolicy{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, policy); err != nil {
		t.Fatal(err)
	}
	if ports := policy.Spec.Egress[0].Ports; len(ports) != 3 || ports[2].Port.IntVal != 8443 {
		t.Errorf("got %+v", ports)
	}
}
