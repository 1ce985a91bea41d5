package transport

import (
	"errors"
	"testing"
)

func TestTheTokenOfAnInit(t *testing.T) {
	for payload, want := range map[string]string{
		`{"Authorization":"Bearer a"}`:                                        "a",
		`{"authorization":"Bearer a"}`:                                        "a",
		`{"headers":{"Authorization":"Bearer a"}}`:                            "a",
		`{"headers":{"authorization":"Bearer a","X-Other":1}}`:                "a",
		`{"Authorization":"Bearer a","headers":{"Authorization":"Bearer b"}}`: "a",
		`{"Authorization":null,"headers":{"Authorization":"Bearer b"}}`:       "b",
		`{"other":{"Authorization":"Bearer b"}}`:                              "",
		`{"headers":{"headers":{"Authorization":"Bearer b"}}}`:                "",
		`{"headers":null}`: "",
		`{}`:               "",
	} {
		token, err := initToken([]byte(payload))
		if token != want || (want == "") != errors.Is(err, errNoToken) {
			t.Errorf("%s: got %q, %v", payload, token, err)
		}
	}
	for _, payload := range []string{`{"headers":["x"]}`, `{"headers":{"Authorization":["Bearer a"]}}`, `{"Authorization":1}`, `{"headers":{"Authorization":"Basic a"}}`} {
		if token, err := initToken([]byte(payload)); err == nil || errors.Is(err, errNoToken) {
			t.Errorf("%s: got %q, %v", payload, token, err)
		}
	}
}
