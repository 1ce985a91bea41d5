package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/lexer"
	"github.com/vektah/gqlparser/v2/parser"
)

// Validation compares fields of one response name pairwise, and every fragment with every other one, so its time grows by the square of what
// a document repeats. These bounds are checked before it, in linear time. The worst document that they let pass is validated in a few
// milliseconds (see BenchmarkWorstDocuments).
const (
	// tokensMax bounds a document. GraphiQL's introspection query has about 400 tokens.
	tokensMax = 2_000
	// nameMax bounds a name, in bytes. An unknown one is compared with all that the schema has, letter by letter, for the hint in the error.
	nameMax = 128
	// pairsMax bounds the sum, over all response names, of the square of how often the name occurs. A name may occur a hundred times, or thirty names
	// thirty times each.
	pairsMax = 30_000
	// fragmentsMax and spreadsMax bound fragments, and how often they are spread.
	fragmentsMax, spreadsMax = 50, 200
	// operationsMax bounds the operations of a document, of which one is run: each is validated with all fragments that it reaches.
	operationsMax = 20
	// depthMax bounds how deep selections nest. Fields are compared anew at each level. Introspection nests 15 deep.
	depthMax = 20
)

// documentLimit refuses documents that would take long to validate, before they are, and numbers that no type can hold, of which validation would not
// say where they stand.
//
// The values of variables are checked here too, since nothing that is called later sees them as they came.
type documentLimit struct {
	schema   *ast.Schema
	accepted graphql.Cache[ast.OperationList] // by text
}

func newDocumentLimit(schema *ast.Schema) documentLimit {
	return documentLimit{schema, lru.New[ast.OperationList](documentsMax)}
}

var _ interface {
	graphql.HandlerExtension
	graphql.OperationParameterMutator
} = documentLimit{}

// ExtensionName is part of graphql.HandlerExtension.
func (documentLimit) ExtensionName() string { return "DocumentLimit" }

// Validate is part of graphql.HandlerExtension.
func (documentLimit) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters is part of graphql.OperationParameterMutator. What cannot be parsed passes: whoever parses it next says why.
func (l documentLimit) MutateOperationParameters(ctx context.Context, params *graphql.RawParams) *gqlerror.Error {
	if err := checkVariables(params.Variables); err != nil {
		return err
	}
	if operations, known := l.accepted.Get(ctx, params.Query); known {
		return l.coerce(operations, params)
	}
	if !shortNames(params.Query) {
		return gqlerror.Wrap(new(errTooComplex))
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: params.Query}, tokensMax)
	if err != nil {
		return nil //nolint:nilerr // as said above
	}
	if !modest(doc) {
		return gqlerror.Wrap(new(errTooComplex))
	}
	if err := checkLiterals(doc); err != nil {
		return err
	}
	if len(params.Query) <= documentMax {
		l.accepted.Add(ctx, params.Query, doc.Operations)
	}
	return l.coerce(doc.Operations, params)
}

// coerce checks the variables of the operation that is to run. Where there is none of that name, that is said later.
func (l documentLimit) coerce(operations ast.OperationList, params *graphql.RawParams) *gqlerror.Error {
	operation := operations.ForName(params.OperationName)
	if operation == nil {
		return nil
	}
	return coerceVariables(l.schema, operation.VariableDefinitions, params.Variables)
}

// shortNames reads no more tokens than a document may have.
func shortNames(text string) bool {
	l := lexer.New(&ast.Source{Input: text})
	for range tokensMax {
		token, err := l.ReadToken()
		if err != nil || token.Kind == lexer.EOF {
			break
		}
		if token.Kind == lexer.Name && len(token.Value) > nameMax {
			return false
		}
	}
	return true
}

// modest reports whether a document is within its bounds.
func modest(doc *ast.QueryDocument) bool {
	if len(doc.Operations) > operationsMax || len(doc.Fragments) > fragmentsMax {
		return false
	}
	m := measure{names: make(map[string]int)}
	for _, op := range doc.Operations {
		m.set(op.SelectionSet, 1)
	}
	for _, f := range doc.Fragments {
		m.set(f.SelectionSet, 1)
	}
	return !m.over
}

// measure sums up a document.
type measure struct {
	names          map[string]int // how often each response name occurs
	pairs, spreads int
	over           bool
}

func (m *measure) set(set ast.SelectionSet, depth int) {
	m.over = m.over || depth > depthMax
	for _, s := range set {
		if m.over {
			return
		}
		switch s := s.(type) {
		case *ast.Field:
			n := m.names[s.Alias]
			m.names[s.Alias] = n + 1
			m.pairs += 2*n + 1 // (n+1)² - n²
			m.over = m.pairs > pairsMax
			m.set(s.SelectionSet, depth+1)
		case *ast.InlineFragment:
			m.set(s.SelectionSet, depth+1)
		case *ast.FragmentSpread:
			m.spreads++
			m.over = m.spreads > spreadsMax
		}
	}
}
