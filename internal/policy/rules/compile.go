package rules

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/ext"
)

const (
	// maxCost bounds one rule, and maxTotal all rules of an issuer, in CEL cost units. A unit is about one step. Five to ten
	// steps take a microsecond.
	maxCost  = 250_000
	maxTotal = 500_000
	// maxRules bounds the number of rules.
	maxRules = 32
	// maxNesting bounds nested loops.
	maxNesting = 3
	// maxExpression bounds a rule's text in bytes. The schema of AcmeIssuer has the same limit.
	maxExpression = 4096
	maxRecursion  = 64
)

// environment returns the CEL environment of all issuers: the variables, CEL's standard functions, and functions on strings,
// addresses and lists.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	typeOf := func(value any) *cel.Type { return cel.ObjectType(reflect.TypeOf(value).String()) }
	return cel.NewEnv(
		ext.Strings(), ext.Network(), ext.Sets(), // must precede the types, whose provider accepts no others
		ext.NativeTypes(reflect.TypeFor[account](), reflect.TypeFor[identifier](), reflect.TypeFor[request](), ext.ParseStructTags(true)),
		cel.Variable(varAccount, typeOf(account{})),
		cel.Variable(varIdentifiers, cel.ListType(typeOf(identifier{}))),
		cel.Variable(varProfile, cel.StringType),
		cel.Variable(varCSR, typeOf(request{})),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxRecursion),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(maxNesting)),
	)
})

// Compile compiles rules. The error is an *Error with the first invalid rule.
func Compile(rules []Rule) (*Set, error) {
	if len(rules) > maxRules {
		return nil, &Error{maxRules, fmt.Sprintf("there are more than %d rules", maxRules)}
	}
	set := &Set{}
	total := uint64(0)
	for i, rule := range rules {
		c, cost, err := compile(rule)
		if err != nil {
			return nil, &Error{i, err.Error()}
		}
		if total += cost; total > maxTotal {
			return nil, &Error{i, fmt.Sprintf("the rules up to this one can cost %d steps; the limit for all rules together is %d", total, maxTotal)}
		}
		set.rules = append(set.rules, c)
	}
	return set, nil
}

func compile(rule Rule) (compiled, uint64, error) {
	env, err := environment()
	if err != nil {
		return compiled{}, 0, err
	}
	ast, issues := env.Compile(rule.Expression)
	if issues.Err() != nil {
		return compiled{}, 0, oneLine(issues)
	}
	if ast.OutputType() != cel.BoolType {
		return compiled{}, 0, fmt.Errorf("the expression has type %s; it must be a bool", ast.OutputType())
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return compiled{}, 0, err
	}
	if cost.Max > maxCost {
		return compiled{}, 0, fmt.Errorf("the expression can cost %d steps for an order with the maximum number of names; the limit is %d", cost.Max, maxCost)
	}
	// The estimate assumes values within the schemas' limits. CostLimit bounds all others.
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return compiled{}, 0, err
	}
	c := compiled{program: program, message: rule.Message}
	for _, reference := range ast.NativeRep().ReferenceMap() {
		c.profile = c.profile || reference.Name == varProfile
		c.csr = c.csr || reference.Name == varCSR
	}
	return c, cost.Max, nil
}

// oneLine formats compiler errors in one line, without the excerpt of the source.
func oneLine(issues *cel.Issues) error {
	var found []string
	for _, e := range issues.Errors() {
		found = append(found, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
	}
	return fmt.Errorf("the expression does not compile: %s", strings.Join(found, "; "))
}

// sizes estimates the sizes of variables by the limits of the schemas.
type sizes struct{}

// The limits of the schemas.
const (
	maxIdentifiers = 100
	maxName        = 255
	maxContacts    = 10
	maxContact     = 320
	maxOther       = 128  // names of accounts, keys and profiles
	maxUnknown     = 1024 // results of functions
)

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	size := uint64(maxUnknown)
	switch strings.Join(node.Path(), ".") {
	case varIdentifiers:
		size = maxIdentifiers
	case varAccount + ".contact":
		size = maxContacts
	case varAccount + ".contact.@items":
		size = maxContact
	case varIdentifiers + ".@items.value", varCSR + ".commonName":
		size = maxName
	case varIdentifiers + ".@items.type", varAccount + ".id", varAccount + ".externalAccountKeyID", varProfile, varCSR + ".keyAlgorithm":
		size = maxOther
	}
	return &checker.SizeEstimate{Min: 0, Max: size}
}

// EstimateCallCost implements checker.CostEstimator. The libraries estimate the costs of their functions.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
