package rules

import (
	_ "github.com/prometheus/prometheus/model/rulefmt"
	_ "github.com/prometheus/prometheus/promql/parser"
	_ "sigs.k8s.io/yaml"
	"testing"
)

func TestX(t *testing.T) {}
