package transport

import (
	"errors"
	"net/http"
	"strings"
)

var (
	errNoToken  = errors.New("sign in: send a bearer token in the Authorization header")
	errNoBearer = errors.New("the credentials are not a bearer token: send them as Authorization: Bearer, a space and the token")
)

// bearer finds the token in a request's headers (RFC 6750, 2.1).
func bearer(h http.Header) (string, error) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", errNoToken
	}
	if len(values) > 1 {
		return "", errNoBearer
	}
	return parseBearer(values[0])
}

func parseBearer(value string) (string, error) {
	scheme, token, ok := strings.Cut(strings.TrimSpace(value), " ")
	token = strings.TrimSpace(token)
	if !ok || token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", errNoBearer
	}
	return token, nil
}
