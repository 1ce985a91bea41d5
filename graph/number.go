package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/aicli/aicli-web/internal/workspace"
)

// shownDigits bounds how much of a number an error repeats.
const shownDigits = 40

// fits reports whether a number can be held by any type: 64 bits where it is whole, a double otherwise.
func fits(number string) bool {
	_, err := strconv.ParseInt(number, 10, 64)
	if strings.ContainsAny(number, ".eE") {
		_, err = strconv.ParseFloat(number, 64)
	}
	return !errors.Is(err, strconv.ErrRange)
}

// tooLarge says where a number stands that does not fit. The path is that of the field at fault.
func tooLarge(number, where string, path []string) *gqlerror.Error {
	return gqlerror.Wrap(&workspace.Error{
		Code: workspace.BadUserInput, Field: path,
		Message: fmt.Sprintf("The number %.*s in %s is too large. A whole number must be between -9223372036854775808 and 9223372036854775807, any other one at most 1.8e308.", shownDigits, number, where),
	})
}

// checkVariables finds a number among the values of variables that does not fit.
func checkVariables(variables map[string]any) *gqlerror.Error {
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if number, path := findInJSON(variables[name], []string{name}); path != nil {
			return tooLarge(number, "the variable "+strings.Join(path, "."), path)
		}
	}
	return nil
}

func findInJSON(value any, path []string) (number string, at []string) {
	switch v := value.(type) {
	case json.Number:
		if !fits(v.String()) {
			return v.String(), slices.Clone(path)
		}
	case []any:
		for i, element := range v {
			if number, at := findInJSON(element, append(path, strconv.Itoa(i))); at != nil {
				return number, at
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if number, at := findInJSON(v[key], append(path, key)); at != nil {
				return number, at
			}
		}
	}
	return "", nil
}

// checkLiterals finds a number in a document that does not fit.
func checkLiterals(doc *ast.QueryDocument) *gqlerror.Error {
	sets := make([]ast.SelectionSet, 0, len(doc.Operations)+len(doc.Fragments))
	for _, op := range doc.Operations {
		for _, v := range op.VariableDefinitions {
			if err := checkLiteral(v.DefaultValue, "the default of $"+v.Variable, []string{v.Variable}); err != nil {
				return err
			}
		}
		sets = append(sets, op.SelectionSet)
	}
	for _, f := range doc.Fragments {
		sets = append(sets, f.SelectionSet)
	}
	for len(sets) > 0 {
		set := sets[len(sets)-1]
		sets = sets[:len(sets)-1]
		for _, s := range set {
			switch s := s.(type) {
			case *ast.Field:
				for _, a := range s.Arguments {
					if err := checkLiteral(a.Value, s.Name, []string{a.Name}); err != nil {
						return err
					}
				}
				sets = append(sets, s.SelectionSet)
			case *ast.InlineFragment:
				sets = append(sets, s.SelectionSet)
			}
		}
	}
	return nil
}

func checkLiteral(value *ast.Value, of string, path []string) *gqlerror.Error {
	number, at, found := findInLiteral(value, path)
	if !found {
		return nil
	}
	err := tooLarge(number, of+": "+strings.Join(at, "."), at)
	if value.Position != nil {
		err.Locations = []gqlerror.Location{{Line: value.Position.Line, Column: value.Position.Column}}
	}
	return err
}

func findInLiteral(value *ast.Value, path []string) (number string, at []string, found bool) {
	if value == nil {
		return "", nil, false
	}
	if (value.Kind == ast.IntValue || value.Kind == ast.FloatValue) && !fits(value.Raw) {
		return value.Raw, slices.Clone(path), true
	}
	for i, child := range value.Children {
		name := child.Name
		if value.Kind == ast.ListValue {
			name = strconv.Itoa(i)
		}
		if number, at, found = findInLiteral(child.Value, append(path, name)); found {
			return number, at, true
		}
	}
	return "", nil, false
}
