package transport

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// The media types of answers (GraphQL over HTTP, "Media Types"). With the first, the status says how the operation went; with
// the second, which clients took before there was the first, it is 200 for whatever was a GraphQL request.
const (
	graphqlType = "application/graphql-response+json"
	jsonType    = "application/json"
)

// negotiate picks the media type of the answer; false when the client takes neither. The newer one must be asked for by name,
// and wins then unless the older one weighs more; a client that does not say, or takes anything, may be one of old.
func negotiate(h http.Header) (string, bool) {
	accept := strings.Join(h.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return jsonType, true
	}
	newer, named := weigh(accept, graphqlType)
	older, _ := weigh(accept, jsonType)
	switch {
	case newer > 0 && (newer > older || named && newer == older):
		return graphqlType, true
	case older > 0:
		return jsonType, true
	default:
		return "", false
	}
}

// weigh gives the quality that an Accept header gives to a media type, which is that of its most specific range (RFC 9110,
// 12.5.1), and whether that range names it.
func weigh(accept, mediaType string) (quality float64, named bool) {
	found := -1
	for part := range strings.SplitSeq(accept, ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		specific := -1
		switch name {
		case "*/*":
			specific = 0
		case "application/*":
			specific = 1
		case mediaType:
			specific = 2
		}
		if specific <= found {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) { // NaN is none of it
				continue
			}
		}
		quality, found = q, specific
	}
	return quality, found == 2
}
