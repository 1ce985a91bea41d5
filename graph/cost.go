package graph

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// costMax lets a full page of workspaces with all their fields pass three times over.
	costMax = 20_000
	// connectionCost is that of a page's own statements, and rowsCost that of reading a page of workspaces, or of events that have them, which may be large,
	// whatever is selected of them.
	connectionCost, rowsCost = 10, 500
	// largeCost is that of a field of many kilobytes.
	largeCost = 10
	// metricsCost is that of asking the engine.
	metricsCost = 20
	// mutationCost bounds the mutations of one operation, which run one after another, to nine.
	mutationCost = costMax / 10
	// introspectionCost bounds the selections below __schema and __type: their lists are long, and nest. GraphiQL's own query has
	// about 300.
	introspectionCost = costMax / 500
)

var errTooComplex = workspace.Error{Code: workspace.QueryTooComplex, Message: "The operation asks for too much at once. Ask for fewer fields or smaller pages."}

// costLimit refuses operations that cost too much, before any of it is run. A field costs one, and what is below a page as often
// as the page has items. Fragments are counted once each, however often they are spread, and added at each spread.
type costLimit struct{}

var _ interface {
	graphql.HandlerExtension
	graphql.OperationContextMutator
} = costLimit{}

// ExtensionName is part of graphql.HandlerExtension.
func (costLimit) ExtensionName() string { return "CostLimit" }

// Validate is part of graphql.HandlerExtension.
func (costLimit) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationContext is part of graphql.OperationContextMutator.
func (costLimit) MutateOperationContext(_ context.Context, op *graphql.OperationContext) *gqlerror.Error {
	c := counter{variables: op.Variables, fragments: make(map[string]int)}
	if c.set(op.Operation.SelectionSet) > costMax {
		return gqlerror.Wrap(new(errTooComplex))
	}
	return nil
}

// counter counts one operation. Sums stop growing above costMax.
type counter struct {
	variables map[string]any
	fragments map[string]int
}

func (c counter) set(set ast.SelectionSet) (sum int) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			sum += c.field(s)
		case *ast.InlineFragment:
			sum += c.set(s.SelectionSet)
		case *ast.FragmentSpread:
			sum += c.fragment(s.Definition)
		}
		if sum > costMax {
			return costMax + 1
		}
	}
	return sum
}

// fragment relies on validation, which refuses fragments that spread themselves.
func (c counter) fragment(f *ast.FragmentDefinition) int {
	cost, known := c.fragments[f.Name]
	if !known {
		cost = c.set(f.SelectionSet)
		c.fragments[f.Name] = cost
	}
	return cost
}

func (c counter) field(f *ast.Field) int {
	below := c.set(f.SelectionSet)
	if f.Name == "__schema" || f.Name == "__type" {
		return introspectionCost * below
	}
	if f.Definition == nil || f.ObjectDefinition == nil { // __typename
		return 1 + below
	}
	if f.ObjectDefinition.Name == "Mutation" {
		return mutationCost + below
	}
	switch typ := f.Definition.Type.Name(); {
	case typ == "WorkspaceConnection", typ == "WorkspaceEventConnection":
		return rowsCost + c.pageSize(f)*below
	case strings.HasSuffix(typ, "Connection"):
		return connectionCost + c.pageSize(f)*below
	case f.Arguments.ForName("ids") != nil:
		return 1 + max(1, len(graphql.CoerceList(c.argument(f, "ids"))))*below
	case typ == "MetricsSample":
		return metricsCost + below
	case f.ObjectDefinition.Name == "Workspace" && f.Definition.Type.Elem != nil: // command, environment, labels
		return largeCost + below
	default:
		return 1 + below
	}
}

// pageSize is at most pageMax: more is refused by the field itself.
func (c counter) pageSize(f *ast.Field) int {
	for _, name := range []string{"first", "last"} {
		if n, ok := toInt(c.argument(f, name)); ok {
			return max(1, min(n, pageMax))
		}
	}
	return pageDefault
}

func (c counter) argument(f *ast.Field, name string) any {
	a := f.Arguments.ForName(name)
	if a == nil {
		return nil
	}
	value, err := a.Value.Value(c.variables)
	if err != nil {
		return nil
	}
	return value
}

func toInt(value any) (int, bool) {
	switch n := value.(type) {
	case int:
		return n, true
	case int64:
		return int(min(n, pageMax)), true
	case json.Number:
		i, err := n.Int64()
		return int(min(i, pageMax)), err == nil
	case *int:
		return orZero(n), n != nil
	}
	return 0, false
}
