package pods

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

const (
	// maxCost bounds the evaluation of an expression in CEL cost units. Five to ten units take a microsecond.
	maxCost = 100_000
	// maxExpression bounds an expression in bytes. The schema of AcmeIssuer has the same limit.
	maxExpression = 4096
	maxRecursion  = 64
	maxNesting    = 2
)

// environment returns the CEL environment of all rules.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	typeOf := func(value any) *cel.Type { return cel.ObjectType(reflect.TypeOf(value).String()) }
	return cel.NewEnv(
		ext.Strings(), ext.Sets(), // must precede the types, whose provider accepts no others
		ext.NativeTypes(reflect.TypeFor[podVariable](), reflect.TypeFor[labelled](), ext.ParseStructTags(true)),
		cel.Variable("pod", typeOf(podVariable{})),
		cel.Variable("serviceAccount", typeOf(labelled{})),
		cel.Variable("namespaceLabels", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("services", cel.ListType(cel.StringType)),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxRecursion),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(maxNesting)),
	)
})

type podVariable struct {
	Namespace string            `cel:"namespace"`
	Name      string            `cel:"name"`
	Labels    map[string]string `cel:"labels"`
	Hostname  string            `cel:"hostname"`
	Subdomain string            `cel:"subdomain"`
}

type labelled struct {
	Name   string            `cel:"name"`
	Labels map[string]string `cel:"labels"`
}

// program is a compiled expression. A nil program is an empty one.
type program struct{ cel.Program }

func compileBool(expression string) (*program, error) { return compileAs(expression, cel.BoolType) }

func compileList(expression string) (*program, error) {
	return compileAs(expression, cel.ListType(cel.StringType))
}

func compileAs(expression string, want *cel.Type) (*program, error) {
	if expression == "" {
		return nil, nil
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		var found []string
		for _, e := range issues.Errors() {
			found = append(found, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
		}
		return nil, fmt.Errorf("the expression does not compile: %s", strings.Join(found, "; "))
	}
	if !want.IsAssignableType(ast.OutputType()) {
		return nil, fmt.Errorf("the expression has type %s; it must be %s", ast.OutputType(), want)
	}
	compiled, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	return &program{compiled}, nil
}

func (p *program) evaluate(pod Pod, as reflect.Type) (any, error) {
	services := pod.Services
	if services == nil {
		services = []string{}
	}
	value, _, err := p.Eval(map[string]any{
		"pod": podVariable{
			Namespace: pod.Namespace, Name: pod.Name, Labels: pod.Labels, Hostname: pod.Hostname, Subdomain: pod.Subdomain,
		},
		"serviceAccount":  labelled{pod.ServiceAccount, pod.ServiceAccountLabels},
		"namespaceLabels": pod.NamespaceLabels,
		"services":        services,
	})
	if err != nil {
		return nil, err
	}
	if types.IsUnknownOrError(value) {
		return nil, errors.New("the expression has no value")
	}
	return value.ConvertToNative(as)
}

// bool evaluates a condition. No condition is true.
func (p *program) bool(pod Pod) (bool, error) {
	if p == nil {
		return true, nil
	}
	value, err := p.evaluate(pod, reflect.TypeFor[bool]())
	if err != nil {
		return false, err
	}
	return value.(bool), nil
}

// list evaluates a list of names. No expression is an empty list.
func (p *program) list(pod Pod) ([]string, error) {
	if p == nil {
		return nil, nil
	}
	value, err := p.evaluate(pod, reflect.TypeFor[[]string]())
	if err != nil {
		return nil, err
	}
	return value.([]string), nil
}
