package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
)

// persistedQuery is the extension that stands in the place of a document: the executor knows which.
const persistedQuery = "persistedQuery"

var errNotUTF8 = errors.New("the operation is not valid UTF-8: encode it so")

// loneSurrogate finds an escape such as \ud800 in JSON that is half of a pair, which no text in UTF-8 can hold: it would be replaced in silence.
func loneSurrogate(text []byte) bool {
	escape := func(at int) (rune, bool) {
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(text[at+2:at+6]), 16, 32)
		return rune(n), err == nil //nolint:gosec // of four digits
	}
	for at := bytes.IndexByte(text, '\\'); at >= 0 && at < len(text); {
		first, is := escape(at)
		switch second, pair := escape(at + 6); {
		case is && pair && utf16.DecodeRune(first, second) != unicode.ReplacementChar:
			at += 12
		case is && utf16.IsSurrogate(first):
			return true
		default:
			at += 2 // what is escaped is no escape
		}
		next := bytes.IndexByte(text[min(at, len(text)):], '\\')
		if next < 0 {
			return false
		}
		at += next
	}
	return false
}

// decodeParams reads one operation: the body of a POST, or the payload of a subscribe message. Numbers in variables stay as
// they were written. Errors say what is wrong with the shape and repeat nothing of the content.
func decodeParams(body []byte) (*graphql.RawParams, error) {
	body = bytes.TrimLeft(body, " \t\r\n")
	switch {
	case !utf8.Valid(body):
		return nil, errNotUTF8
	case loneSurrogate(body):
		return nil, errors.New("the operation has half of a surrogate pair in it: write characters beyond U+FFFF in UTF-8 or as two escapes")
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
	if p.Query == nil && p.Extensions[persistedQuery] == nil {
		return nil, errors.New("the operation has no query: send the document as a string in query")
	}
	if p.Query == nil {
		p.Query = new(string)
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
	for _, name := range []string{"query", "operationName", "variables", "extensions"} {
		if !utf8.ValidString(values.Get(name)) {
			return nil, errNotUTF8
		}
	}
	p := &graphql.RawParams{Query: values.Get("query"), OperationName: values.Get("operationName")}
	for name, target := range map[string]*map[string]any{"variables": &p.Variables, "extensions": &p.Extensions} {
		text := values.Get(name)
		if text == "" {
			continue
		}
		if err := decodeJSON([]byte(text), target); err != nil {
			return nil, fmt.Errorf("the parameter %s must be a JSON object: %w", name, err)
		}
	}
	if p.Query == "" && p.Extensions[persistedQuery] == nil {
		return nil, errors.New("the operation has no query: send the document in the parameter query, or use POST")
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
