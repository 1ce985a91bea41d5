package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/99designs/gqlgen/graphql"
)

// decodeParams reads one operation: the body of a POST, or the payload of a subscribe message. Numbers in variables stay as
// they were written. Errors say what is wrong with the shape and repeat nothing of the content.
func decodeParams(body []byte) (*graphql.RawParams, error) {
	body = bytes.TrimLeft(body, " \t\r\n")
	switch {
	case len(body) == 0:
		return nil, errors.New("the body is empty: send a JSON object with a query")
	case body[0] == '[':
		return nil, errors.New("batches are not supported: send one operation at a time")
	case body[0] != '{':
		return nil, errors.New("the operation is not a JSON object: send one with a query")
	}
	var p struct {
		Query         *string        `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
		Extensions    map[string]any `json:"extensions"`
	}
	if err := decodeJSON(body, &p); err != nil {
		return nil, err
	}
	if p.Query == nil {
		return nil, errors.New("the operation has no query: send the document as a string in query")
	}
	return &graphql.RawParams{
		Query: *p.Query, OperationName: p.OperationName, Variables: p.Variables, Extensions: p.Extensions,
	}, nil
}

// decodeQuery reads one operation from the query part of an address.
func decodeQuery(rawQuery string) (*graphql.RawParams, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, errors.New("the query part of the address is malformed: encode each value for URLs")
	}
	p := &graphql.RawParams{Query: values.Get("query"), OperationName: values.Get("operationName")}
	if p.Query == "" {
		return nil, errors.New("the operation has no query: send the document in the parameter query, or use POST")
	}
	for name, target := range map[string]*map[string]any{"variables": &p.Variables, "extensions": &p.Extensions} {
		text := values.Get(name)
		if text == "" {
			continue
		}
		if err := decodeJSON([]byte(text), target); err != nil {
			return nil, fmt.Errorf("the parameter %s must be a JSON object: %w", name, err)
		}
	}
	return p, nil
}

// decodeJSON reads one value and nothing after it.
func decodeJSON(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return errors.New("there is something after the JSON value: send one value only")
	}
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch) && mismatch.Field != "":
		return fmt.Errorf("%s has the wrong type: query and operationName are strings, variables and extensions are objects", knownField(mismatch.Field))
	case errors.As(err, &mismatch):
		return errors.New("the value has the wrong type: send a JSON object")
	}
	return errors.New("this is not valid JSON: check brackets, quotes and commas")
}

// knownField keeps a client's own words out of the message: a field's path may go on into what the client sent.
func knownField(path string) string {
	for _, name := range []string{"query", "operationName", "variables", "extensions"} {
		if len(path) >= len(name) && path[:len(name)] == name {
			return name
		}
	}
	return "a field"
}
