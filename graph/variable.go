package graph

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/aicli/aicli-web/internal/workspace"
)

// The values of variables are JSON, and are checked here as the specification says (https://spec.graphql.org/October2021/, 3.5 and 3.9 to 3.11), before the validation of the library: that
// compares enum values without their case and hands them on as they are, takes text for a number, and refuses whole numbers that are written as 1.0 or 1e9.

// coerceVariables checks the values of an operation's variables in place, and writes whole numbers as such.
func coerceVariables(schema *ast.Schema, definitions ast.VariableDefinitionList, variables map[string]any) *gqlerror.Error {
	for _, d := range definitions {
		value, given := variables[d.Variable]
		if !given {
			continue
		}
		coerced, err := coerce(schema, d.Type, value, []string{d.Variable})
		if err != nil {
			return err
		}
		variables[d.Variable] = coerced
	}
	return nil
}

// coerce gives a value as one of a type. What is null, missing or unknown is left to the validation.
func coerce(schema *ast.Schema, typ *ast.Type, value any, path []string) (any, *gqlerror.Error) {
	if value == nil {
		return nil, nil
	}
	if typ.Elem != nil {
		list, is := value.([]any)
		if !is { // one stands for a list of one
			return coerce(schema, typ.Elem, value, path)
		}
		for i, element := range list {
			coerced, err := coerce(schema, typ.Elem, element, append(path, strconv.Itoa(i)))
			if err != nil {
				return nil, err
			}
			list[i] = coerced
		}
		return list, nil
	}
	switch definition := schema.Types[typ.NamedType]; {
	case definition == nil:
		return value, nil
	case definition.Kind == ast.Enum:
		return coerceEnum(definition, value, path)
	case definition.Kind == ast.InputObject:
		return coerceObject(schema, definition, value, path)
	default:
		return coerceScalar(definition.Name, value, path)
	}
}

func coerceEnum(definition *ast.Definition, value any, path []string) (any, *gqlerror.Error) {
	text, is := value.(string)
	if is && definition.EnumValues.ForName(text) != nil {
		return value, nil
	}
	names := make([]string, len(definition.EnumValues))
	for i, v := range definition.EnumValues {
		names[i] = v.Name
	}
	return nil, badVariable(path, definition.Name, "It must be one of "+strings.Join(names, ", ")+", in these letters.")
}

func coerceObject(schema *ast.Schema, definition *ast.Definition, value any, path []string) (any, *gqlerror.Error) {
	object, is := value.(map[string]any)
	if !is {
		return nil, badVariable(path, definition.Name, "It must be an object.")
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field := definition.Fields.ForName(name)
		if field == nil {
			continue
		}
		coerced, err := coerce(schema, field.Type, object[name], append(path, name))
		if err != nil {
			return nil, err
		}
		object[name] = coerced
	}
	return object, nil
}

// kind is one of the kinds of values that JSON has.
type kind int

const (
	notJSON kind = iota
	number
	text
	boolean
	compound
)

func kindOf(value any) kind {
	switch value.(type) {
	case json.Number:
		return number
	case string:
		return text
	case bool:
		return boolean
	case map[string]any, []any:
		return compound
	default:
		return notJSON
	}
}

// takes are the kinds that scalars take, and how that is said. All others are text.
var takes = map[string]struct {
	kinds []kind
	rule  string
}{
	"Int":     {[]kind{number}, "It must be a whole number."},
	"Int64":   {[]kind{number}, "It must be a whole number."},
	"Float":   {[]kind{number}, "It must be a number."},
	"Boolean": {[]kind{boolean}, "It must be true or false."},
	"ID":      {[]kind{text, number}, "It must be an id."},
}

func coerceScalar(name string, value any, path []string) (any, *gqlerror.Error) {
	is, scalar := kindOf(value), takes[name]
	if scalar.kinds == nil {
		scalar.kinds, scalar.rule = []kind{text}, "It must be text."
	}
	switch {
	case is == notJSON:
		return value, nil
	case !slices.Contains(scalar.kinds, is):
		return nil, badVariable(path, name, scalar.rule)
	case is != number || name == "Float":
		return value, nil
	}
	whole, isWhole := wholeNumber(fmt.Sprint(value))
	switch {
	case !isWhole:
		return nil, badVariable(path, name, scalar.rule)
	case name == "ID":
		return whole, nil
	default:
		return json.Number(whole), nil
	}
}

// exponentMost bounds the exponents that are looked at: those of doubles.
const exponentMost = 400

// wholeNumber writes a number of JSON without fraction and exponent, where it has no need of them.
func wholeNumber(digits string) (whole string, is bool) {
	if !strings.ContainsAny(digits, ".eE") {
		return digits, true
	}
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		if exponent, err := strconv.Atoi(digits[i+1:]); err != nil || exponent > exponentMost || exponent < -exponentMost {
			return "", false
		}
	}
	value, ok := new(big.Rat).SetString(digits)
	if !ok || !value.IsInt() {
		return "", false
	}
	return value.Num().String(), true
}

func badVariable(path []string, typ, rule string) *gqlerror.Error {
	return gqlerror.Wrap(&workspace.Error{
		Code: workspace.BadUserInput, Field: slices.Clone(path),
		Message: fmt.Sprintf("The variable %s is not of the type %s. %s", strings.Join(path, "."), typ, rule),
	})
}
