package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// origins holds the allowed ones besides our own, as browsers write them: scheme and host in lower case, no default port.
type origins map[string]struct{}

func parseOrigins(list []string) (origins, error) {
	set := make(origins, len(list))
	for _, o := range list {
		u, err := url.Parse(o)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*") {
			return nil, fmt.Errorf("%q is not an origin: write it as https://app.example.com, with a port if it has one", o)
		}
		set[canonicalOrigin(u)] = struct{}{}
	}
	return set, nil
}

func canonicalOrigin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}

// allow says whether the page that made this request may speak to us. Only browsers send an origin; what has none is no page.
// Scheme and default port are not compared for our own: a proxy before us may have taken TLS off.
func (o origins) allow(r *http.Request) bool {
	list := r.Header.Values("Origin")
	if len(list) == 0 {
		return true
	}
	u, err := url.Parse(list[0])
	if err != nil || len(list) > 1 || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	_, ok := o[canonicalOrigin(u)]
	return ok
}

// cors answers preflights and lets pages of allowed origins read the answers. It refuses nothing else: what is asked without a
// bearer token is refused by authentication, and a browser adds none by itself.
func (o origins) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin, h := r.Header.Get("Origin"), w.Header()
		allowed := origin != "" && o.allow(r)
		if allowed {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", requestIDHeader+", WWW-Authenticate, Retry-After, Allow")
		}
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
		if !allowed {
			refuse(w, r, http.StatusForbidden, foreignOrigin)
			return
		}
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, "+requestIDHeader)
		h.Set("Access-Control-Max-Age", "600") // seconds: how long a change of the list may go unseen
		w.WriteHeader(http.StatusNoContent)
	})
}

var foreignOrigin = problem{code: codeForbidden,
	message: "This origin may not call the server. Add it to AICLI_ALLOWED_ORIGINS if it should."}
