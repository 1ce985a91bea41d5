package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// message is one message of graphql-transport-ws from a client.
type message struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	Payload json.RawMessage `json:"payload"` // nil when absent or null
}

// decodeMessage checks what the protocol says of every message. Its errors repeat nothing of the content.
func decodeMessage(data []byte) (message, error) {
	if !utf8.Valid(data) {
		return message{}, errors.New("the message is not valid UTF-8")
	}
	if text := bytes.TrimLeft(data, " \t\r\n"); len(text) == 0 || text[0] != '{' {
		return message{}, errors.New("the message is not a JSON object")
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return message{}, errors.New("type and id must be strings")
		}
		return message{}, errors.New("the message is not valid JSON")
	}
	if bytes.Equal(m.Payload, []byte("null")) {
		m.Payload = nil
	}
	switch m.Type {
	case "connection_init", "ping", "pong":
		if m.Payload != nil && m.Payload[0] != '{' {
			return message{}, fmt.Errorf("the payload of %s must be an object", m.Type)
		}
	case "subscribe", "complete":
		if m.ID == "" || len(m.ID) > operationIDMax {
			return message{}, fmt.Errorf("the id of %s must have 1 to %d bytes", m.Type, operationIDMax)
		}
	case "":
		return message{}, errors.New("the message has no type")
	default:
		return message{}, errors.New("clients send connection_init, ping, pong, subscribe and complete only")
	}
	return m, nil
}

var errBadInit = errors.New("authorization in connection_init must be a string: send Bearer, a space and the token")

// initToken finds the token in connection_init's payload: a map of headers, by custom, with either spelling of the one name. Some clients, such as
// GraphQL Playground, put them into a map below headers; what stands outside of it counts first.
func initToken(payload []byte) (string, error) {
	if payload == nil {
		return "", errNoToken
	}
	var headers map[string]json.RawMessage
	if err := json.Unmarshal(payload, &headers); err != nil {
		return "", errBadInit
	}
	token, err := tokenIn(headers)
	if inner := headers["headers"]; errors.Is(err, errNoToken) && inner != nil {
		headers = nil
		if err := json.Unmarshal(inner, &headers); err != nil {
			return "", errBadInit
		}
		return tokenIn(headers)
	}
	return token, err
}

func tokenIn(headers map[string]json.RawMessage) (string, error) {
	for _, name := range []string{"Authorization", "authorization"} {
		raw, ok := headers[name]
		if !ok || string(raw) == "null" {
			continue
		}
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			return "", errBadInit
		}
		return parseBearer(value)
	}
	return "", errNoToken
}

// encodeMessage writes a message for a client; payload is JSON, or nil for none.
func encodeMessage(kind, id string, payload []byte) []byte {
	quoted, _ := json.Marshal(id) // a string always encodes
	b := make([]byte, 0, len(payload)+len(quoted)+48)
	b = append(b, `{"id":`...)
	b = append(b, quoted...)
	b = append(b, `,"type":"`...)
	b = append(b, kind...)
	b = append(b, '"')
	if payload != nil {
		b = append(b, `,"payload":`...)
		b = append(b, payload...)
	}
	return append(b, '}')
}

func encodePong(payload []byte) []byte {
	if payload == nil {
		return []byte(`{"type":"pong"}`)
	}
	return append(append([]byte(`{"type":"pong","payload":`), payload...), '}')
}

// reasonMax is what a close frame has room for: 125 bytes with the code (RFC 6455, 5.5).
const reasonMax = 123

func cutReason(s string) string {
	if len(s) <= reasonMax {
		return s
	}
	s = s[:reasonMax]
	for !utf8.ValidString(s) { // at most three times: the cut was inside a character
		s = s[:len(s)-1]
	}
	return s
}
