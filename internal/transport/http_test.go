package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func getURL(query string, more ...string) string {
	v := url.Values{"query": {query}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return "/graphql?" + v.Encode()
}

func TestHTTP(t *testing.T) {
	r := serve(t)
	const oldType, newType = "application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8"
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		mediaType                string // empty: newType
		has                      string // in the body
		hasNot                   string
	}{
		{name: "a query is answered", method: "POST", body: `{"query":"{who}"}`, status: 200, has: `{"data":{"who":"alice"}}`},
		{name: "a mutation is answered", method: "POST", body: `{"query":"mutation($to:String!){rename(to:$to)}","variables":{"to":"b"}}`,
			status: 200, has: `{"data":{"rename":"b"}}`},
		{name: "the operation that is named is run", method: "POST",
			body: `{"query":"query a{who} query b{b:who}","operationName":"b","extensions":{},"variables":null}`, status: 200, has: `{"data":{"b":"alice"}}`},
		{name: "a client that takes anything gets the old type", method: "POST", body: `{"query":"{nothing}"}`, header: []string{"Accept", "*/*"},
			status: 200, mediaType: oldType, has: `"errors"`},
		{name: "a client that does not say gets the old type", method: "POST", body: `{"query":"{who}"}`, header: []string{"-", "Accept"},
			status: 200, mediaType: oldType, has: `"alice"`},
		{name: "broken JSON is 400 in the old type too", method: "POST", body: `{`, header: []string{"Accept", "application/json"},
			status: 400, mediaType: oldType, has: `BAD_USER_INPUT`},
		{name: "a client of old gets the old type", method: "POST", body: `{"query":"{who}"}`, header: []string{"Accept", "application/json"},
			status: 200, mediaType: oldType, has: `"alice"`},
		{name: "an invalid document is 400 in the new type, without data", method: "POST", body: `{"query":"{nothing}"}`,
			status: 400, has: `"errors"`, hasNot: `"data"`},
		{name: "an invalid document is 200 in the old type", method: "POST", body: `{"query":"{nothing}"}`, header: []string{"Accept", "application/json"},
			status: 200, mediaType: oldType, has: `"errors"`, hasNot: `"data"`},
		{name: "a document that does not parse is 400", method: "POST", body: `{"query":"{"}`, status: 400, has: `"errors"`},
		{name: "variables that do not fit are 400", method: "POST", body: `{"query":"query($n:Int!){count(by:$n)}","variables":{"n":"x"}}`, status: 400, has: `"errors"`},
		{name: "an empty document is 400", method: "POST", body: `{"query":""}`, status: 400, has: `"errors"`},
		{name: "an error beside data keeps 200", method: "POST", body: `{"query":"{fault}"}`, status: 200, has: `"data":{"fault":null}`},
		{name: "a refusal before execution has its own status", method: "POST", body: `{"query":"{refused}"}`, status: 429, has: `RATE_LIMITED`, hasNot: `"data"`},
		{name: "a type that we cannot give is 406", method: "POST", body: `{"query":"{who}"}`, header: []string{"Accept", "text/html"},
			status: 406, mediaType: oldType, has: "BAD_USER_INPUT"},
		{name: "@defer is refused rather than cut", method: "POST", body: `{"query":"{... @defer {who}}"}`, status: 400, has: "without @defer"},
		{name: "a subscription is told to use a WebSocket", method: "POST", body: `{"query":"subscription{once}"}`, status: 400, has: "WebSocket"},
		{name: "a batch is refused", method: "POST", body: `[{"query":"{who}"}]`, status: 400, has: "atches are not supported"},
		{name: "broken JSON is not repeated", method: "POST", body: `{"query": sesame`, status: 400, has: "not valid JSON", hasNot: "sesame"},
		{name: "a wrong type is not repeated", method: "POST", body: `{"query":"{who}","variables":{"sesame":1},"operationName":{"sesame":2}}`,
			status: 400, has: "wrong type", hasNot: "sesame"},
		{name: "variables that are a list are refused", method: "POST", body: `{"query":"{who}","variables":[]}`, status: 400, has: "variables"},
		{name: "a body with more after it is refused", method: "POST", body: `{"query":"{who}"} {}`, status: 400, has: "after"},
		{name: "a body that is not UTF-8 is refused", method: "POST", body: "{\"query\":\"{who}\",\"variables\":{\"a\":\"\xff\"}}", status: 400, has: "not valid UTF-8"},
		{name: "half of a surrogate pair is refused", method: "POST", body: `{"query":"{who}","variables":{"a":"\ud800"}}`, status: 400, has: "surrogate"},
		{name: "the other half is refused", method: "POST", body: `{"query":"{who}","variables":{"a":"x\udc00\ud83d"}}`, status: 400, has: "surrogate"},
		{name: "a whole surrogate pair is taken", method: "POST", body: `{"query":"mutation($to:String!){rename(to:$to)}","variables":{"to":"\ud83d\ude00\\ud800"}}`, status: 200, has: `😀\\ud800`},
		{name: "the hash of a persisted query stands for it", method: "POST", body: `{"extensions":{"persistedQuery":{}}}`, status: 400, has: "errors", hasNot: "no query"},
		{name: "an empty body is refused", method: "POST", body: "", status: 400, has: "empty"},
		{name: "a body without a query is refused", method: "POST", body: `{"notquery":"{who}"}`, status: 400, has: "no query"},
		{name: "a body that is no object is refused", method: "POST", body: `"hello"`, status: 400, has: "not a JSON object"},
		{name: "a form is refused", method: "POST", body: "query={who}", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, has: "application/json"},
		{name: "plain text is refused", method: "POST", body: `{"query":"{who}"}`, header: []string{"Content-Type", "text/plain"}, status: 415, has: "application/json"},
		{name: "multipart is refused", method: "POST", body: "x", header: []string{"Content-Type", "multipart/form-data; boundary=x"}, status: 415, has: "application/json"},
		{name: "no content type is refused", method: "POST", body: `{"query":"{who}"}`, header: []string{"-", "Content-Type"}, status: 415, has: "application/json"},
		{name: "another charset is refused", method: "POST", body: `{}`, header: []string{"Content-Type", "application/json; charset=latin1"}, status: 415, has: "UTF-8"},
		{name: "a compressed body is refused", method: "POST", body: `{}`, header: []string{"Content-Encoding", "gzip"}, status: 415, has: "Content-Encoding"},

		{name: "a query may be sent with GET", method: "GET", path: getURL("query($n:Int!){count(by:$n)}", "variables", `{"n":3}`), status: 200, has: `{"data":{"count":3}}`},
		{name: "a mutation may not be sent with GET", method: "GET", path: getURL(`mutation{rename(to:"b")}`), status: 405, has: "POST"},
		{name: "a subscription over GET is told to use a WebSocket", method: "GET", path: getURL("subscription{once}"), status: 400, has: "WebSocket"},
		{name: "a GET that is not UTF-8 is refused", method: "GET", path: "/graphql?query=%7Bwho%7D&operationName=%ff", status: 400, has: "not valid UTF-8"},
		{name: "variables of a GET that are not UTF-8 are refused", method: "GET", path: "/graphql?query=%7Bwho%7D&variables=%7B%22a%22:%22%ff%22%7D", status: 400, has: "not valid UTF-8"},
		{name: "a GET of a hash stands for a query", method: "GET", path: "/graphql?extensions=%7B%22persistedQuery%22:%7B%7D%7D", status: 400, has: "errors", hasNot: "no query"},
		{name: "a GET without a query is refused", method: "GET", path: "/graphql", status: 400, has: "no query"},
		{name: "a GET with broken variables is refused", method: "GET", path: getURL("{who}", "variables", "{sesame"), status: 400, has: "variables", hasNot: "sesame"},
		{name: "a GET with a broken query part is refused", method: "GET", path: "/graphql?query=%zz", status: 400, has: "malformed"},
		{name: "another method is refused", method: "PUT", status: 405, has: "POST"},

		{name: "nobody is let in without a token", method: "POST", body: `{"query":"{who}"}`, header: []string{"-", "Authorization"}, status: 401, has: "UNAUTHENTICATED"},
		{name: "nobody is let in with another scheme", method: "POST", body: `{"query":"{who}"}`, header: []string{"Authorization", "Basic YTpi"}, status: 401, has: "UNAUTHENTICATED"},
		{name: "nobody is let in with a bad token", method: "GET", path: getURL("{who}"), header: []string{"Authorization", "Bearer x"}, status: 401, has: "UNAUTHENTICATED"},
		{name: "the scheme's case does not matter", method: "GET", path: getURL("{who}"), header: []string{"Authorization", "bearer " + r.token}, status: 200, has: "alice"},
		{name: "a panic is a fault of the server and tells nothing", method: "POST", body: `{"query":"{panics}"}`, status: 500, has: "INTERNAL", hasNot: "secret"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.path == "" {
				tc.path = "/graphql"
			}
			if tc.mediaType == "" {
				tc.mediaType = newType
			}
			a := r.do(tc.method, tc.path, tc.body, tc.header...)
			if a.status != tc.status || a.header.Get("Content-Type") != tc.mediaType {
				t.Errorf("%d %s, want %d %s", a.status, a.header.Get("Content-Type"), tc.status, tc.mediaType)
			}
			if !strings.Contains(a.body, tc.has) || tc.hasNot != "" && strings.Contains(a.body, tc.hasNot) {
				t.Errorf("body %s, want %q in it and not %q", a.body, tc.has, tc.hasNot)
			}
			if !json.Valid([]byte(a.body)) {
				t.Errorf("body %s is not JSON", a.body)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", a.header)
			}
		})
	}
}

func TestProtocolErrors(t *testing.T) {
	r := serve(t)
	t.Run("a refusal is shaped like a GraphQL error and names the request", func(t *testing.T) {
		a := r.do("POST", "/graphql", `{"query":"{who}"}`, "-", "Authorization", "X-Request-Id", "my-id.1")
		want := `{"errors":[{"message":"Sign in: send a bearer token in the Authorization header.",` +
			`"extensions":{"code":"UNAUTHENTICATED","requestId":"my-id.1","retryable":false}}]}`
		if a.body != want {
			t.Errorf("body %s\nwant %s", a.body, want)
		}
		if got := a.header.Get("WWW-Authenticate"); got != "Bearer" {
			t.Errorf("WWW-Authenticate: %s", got)
		}
	})
	t.Run("a mutation over GET says which method is allowed", func(t *testing.T) {
		if got := r.do("GET", getURL(`mutation{rename(to:"b")}`), "").header.Get("Allow"); got != "POST" {
			t.Errorf("Allow: %s", got)
		}
	})
	t.Run("two credentials are one too many", func(t *testing.T) {
		if _, err := bearer(http.Header{"Authorization": {"Bearer a", "Bearer b"}}); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("numbers in variables arrive as they were written", func(t *testing.T) {
		p, err := decodeParams([]byte(`{"query":"x","variables":{"n":9007199254740993}}`))
		if err != nil || fmt.Sprintf("%T %v", p.Variables["n"], p.Variables["n"]) != "json.Number 9007199254740993" {
			t.Errorf("%v, %v", p, err)
		}
	})
}

func TestHugeBody(t *testing.T) {
	r := serve(t, func(_ *Options, l *limits) { l.body = 1000 })
	huge := `{"query":"{who}","extensions":{"x":"` + strings.Repeat("x", 2000) + `"}}`
	t.Run("a body that says that it is too large is refused and the connection closed", func(t *testing.T) {
		a := r.do("POST", "/graphql", huge)
		if a.status != 413 || !a.close || !strings.Contains(a.body, "larger than 1000 bytes") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a body that turns out to be too large is refused and the connection closed", func(t *testing.T) {
		conn, err := net.Dial("tcp", r.host())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
			"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", r.token, len(huge), huge)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 413 || !resp.Close {
			t.Errorf("%d, close %v", resp.StatusCode, resp.Close)
		}
	})
	t.Run("the rest is not hurt", func(t *testing.T) {
		if a := r.do("POST", "/graphql", `{"query":"{who}"}`); a.status != 200 {
			t.Errorf("%+v", a)
		}
	})
}

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                  jsonType,
		"*/*":                               jsonType,
		"application/*":                     jsonType,
		"application/json":                  jsonType,
		"application/graphql-response+json": graphqlType,
		"application/json, application/graphql-response+json":        graphqlType,
		"application/json, application/graphql-response+json; q=0.9": jsonType,
		"application/json; charset=utf-8, */*;q=0.1":                 jsonType,
		"application/json;q=0, */*":                                  graphqlType,
		"application/graphql-response+json;q=0, */*":                 jsonType,
		"application/graphql-response+json, */*;q=0.5":               graphqlType,
		"text/html, */*;q=0.8":                                       jsonType,
		"text/html":                                                  "",
		"application/json;q=NaN":                                     "",
		"*/*;q=0":                                                    "",
		";;;":                                                        "",
	} {
		t.Run(accept, func(t *testing.T) {
			if got, ok := negotiate(http.Header{"Accept": {accept}}); got != want || ok != (want != "") {
				t.Errorf("negotiate = %q, %v; want %q", got, ok, want)
			}
		})
	}
}

func TestRequestIDs(t *testing.T) {
	r := serve(t)
	ask := func(id string) (header, body string) {
		a := r.do("POST", "/graphql", `{"query":"{requestId}"}`, "X-Request-Id", id)
		var decoded struct{ Data struct{ RequestID string } }
		if err := json.Unmarshal([]byte(a.body), &decoded); err != nil {
			t.Fatal(err)
		}
		return a.header.Get("X-Request-Id"), decoded.Data.RequestID
	}
	t.Run("a sane id is kept", func(t *testing.T) {
		if header, body := ask("0af7-65.X_1"); header != "0af7-65.X_1" || body != header {
			t.Errorf("%q, %q", header, body)
		}
	})
	for _, id := range []string{"", "a b", "a\tb", "é", strings.Repeat("a", 65), "a=b"} {
		t.Run("another one is replaced: "+id, func(t *testing.T) {
			if header, body := ask(id); header == id || header == "" || body != header {
				t.Errorf("%q, %q", header, body)
			}
		})
	}
	t.Run("there is none outside of a request", func(t *testing.T) {
		if id := RequestID(context.Background()); id != "" {
			t.Error(id)
		}
	})
}

func TestRoutes(t *testing.T) {
	var ready error
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "page at "+r.URL.Path) })
	r := serve(t, func(o *Options, _ *limits) {
		o.Explorer = page
		o.Ready = func(context.Context) error { return ready }
	})
	for _, tc := range []struct {
		path   string
		status int
		has    string
	}{
		{"/explorer", 200, "page at /explorer"},
		{"/explorer/", 200, "page at /explorer/"},
		{"/explorer/assets/a.js", 200, "page at /explorer/assets/a.js"},
		{"/healthz", 200, "alive"},
		{"/readyz", 200, "ready"},
		{"/nothing", 404, ""},
	} {
		t.Run(tc.path, func(t *testing.T) {
			a := r.do("GET", tc.path, "", "-", "Authorization")
			if a.status != tc.status || !strings.Contains(a.body, tc.has) {
				t.Errorf("%+v", a)
			}
		})
	}
	t.Run("the root leads to the explorer", func(t *testing.T) {
		if a := r.do("GET", "/", ""); a.status != 302 || a.header.Get("Location") != "/explorer" {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a page may load from its own origin only", func(t *testing.T) {
		if got := r.do("GET", "/explorer", "").header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self'") {
			t.Error(got)
		}
	})
	t.Run("not being ready says why", func(t *testing.T) {
		ready = errors.New("the database does not answer")
		a := r.do("GET", "/readyz", "", "-", "Authorization")
		if a.status != 503 || a.body != `{"reason":"The database does not answer.","status":"not ready"}`+"\n" {
			t.Errorf("%+v", a)
		}
	})
	t.Run("without an explorer there is none", func(t *testing.T) {
		if a := serve(t).do("GET", "/explorer", ""); a.status != 404 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("the access log names the caller and leaves out what was asked", func(t *testing.T) {
		r.do("GET", getURL("{who}"), "", "X-Request-Id", "in-the-log")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		var line string
		for l := range strings.Lines(r.log.String()) {
			if strings.Contains(l, "request_id=in-the-log") {
				line = l
			}
		}
		if !strings.Contains(line, "status=200") || !strings.Contains(line, "principal=alice") || strings.Contains(line, "who") {
			t.Errorf("line %q", line)
		}
	})
}

func TestOrigins(t *testing.T) {
	r := serve(t, func(o *Options, _ *limits) { o.AllowedOrigins = []string{"https://App.example.com:443/"} })
	t.Run("a preflight of an allowed origin is answered", func(t *testing.T) {
		a := r.do("OPTIONS", "/graphql", "", "-", "Authorization", "Origin", "https://app.example.com", "Access-Control-Request-Method", "POST")
		if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
			!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a preflight of another origin is refused", func(t *testing.T) {
		a := r.do("OPTIONS", "/graphql", "", "Origin", "https://evil.example.com", "Access-Control-Request-Method", "POST")
		if a.status != 403 || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a page of an allowed origin may read even a refusal", func(t *testing.T) {
		a := r.do("POST", "/graphql", "{}", "-", "Authorization", "Origin", "https://app.example.com")
		if a.status != 401 || a.header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%+v", a)
		}
	})
	for origin, want := range map[string]bool{
		"http://" + r.host():             true,
		"https://" + r.host():            true, // a proxy before us may have taken TLS off
		"https://app.example.com":        true,
		"http://app.example.com":         false,
		"https://app.example.com:8443":   false,
		"https://app.example.com.evil.x": false,
		"null":                           false,
		"":                               false,
		"//" + "%zz":                     false,
	} {
		t.Run("a WebSocket from a page of "+origin, func(t *testing.T) {
			ws, resp, err := r.upgrade("Origin", origin)
			if (err == nil) != want {
				t.Fatalf("%v, %v", resp, err)
			}
			if ws != nil {
				_ = ws.Close()
			} else if resp.StatusCode != 403 {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
	for _, bad := range []string{"*", "app.example.com", "https://", "ftp://x", "https://x/path", "https://*.x", "https://u@x", "https://x?y", ""} {
		t.Run("no origin: "+bad, func(t *testing.T) {
			if _, err := New(Options{Executor: r.executor(), Verifier: r.tokens, AllowedOrigins: []string{bad}}); err == nil {
				t.Error("accepted")
			}
		})
	}
	t.Run("an executor and a verifier are required", func(t *testing.T) {
		if _, err := New(Options{}); err == nil {
			t.Error("accepted")
		}
	})
}
