package transport

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzDecodeMessage(f *testing.F) {
	for _, seed := range []string{
		`{"type":"connection_init","payload":{"Authorization":"Bearer x"}}`, `{"type":"ping","payload":null}`, `{"type":"pong"}`,
		`{"id":"1","type":"subscribe","payload":{"query":"{a}","variables":{"n":1e400},"operationName":null}}`,
		`{"id":"1","type":"complete"}`, `[]`, `{`, "{\"type\":\"ping\",\"payload\":\"\xff\"}", `{"TYPE":"ping","type":null}`, ` {"type":"ping","payload": {} } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMessage(data)
		if err != nil {
			if reason := cutReason(sentence(err)); len(reason) > reasonMax || !utf8.ValidString(reason) || !utf8.ValidString(sentence(err)) {
				t.Fatalf("reason %q", reason)
			}
			return
		}
		switch m.Type {
		case "connection_init":
			if token, err := initToken(m.Payload); err == nil && (token == "" || strings.TrimSpace(token) != token) {
				t.Fatalf("token %q", token)
			}
		case "ping":
			if pong := encodePong(m.Payload); !json.Valid(pong) {
				t.Fatalf("pong %s", pong)
			}
		case "subscribe":
			if back := encodeMessage("next", m.ID, []byte("{}")); !json.Valid(back) {
				t.Fatalf("next %s", back)
			}
			_, _ = decodeParams(m.Payload)
		}
	})
}

func FuzzDecodeParams(f *testing.F) {
	for _, seed := range []string{
		`{"query":"{a}"}`, `{"query":"{a}","variables":{"n":9007199254740993},"extensions":{"x":[]},"operationName":"a"}`,
		`[{"query":"{a}"}]`, `{"query":1}`, `{"variables":"sesame"}`, `{"query":"{a}"} x`, ``, ` `, `null`, `{"query":null}`, strings.Repeat("[", 20000),
		`{"query":"a","variables":` + strings.Repeat(`{"a":`, 20000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodeParams(body)
		if (p == nil) == (err == nil) {
			t.Fatalf("decodeParams = %v, %v", p, err)
		}
		if err != nil {
			return
		}
		if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
			t.Fatalf("accepted %q", body)
		}
		if _, err := json.Marshal(p.Variables); err != nil { // numbers are kept as text, so this is no matter of course
			t.Fatalf("variables: %v", err)
		}
	})
}
