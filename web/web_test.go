package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// withExplorer is what npm run build leaves in dist, in small.
func withExplorer() fstest.MapFS {
	return fstest.MapFS{
		"dist/.gitkeep":                           {},
		"dist/explorer/index.html":                {Data: []byte("<!doctype html><title>explorer</title>")},
		"dist/explorer/icon.svg":                  {Data: []byte("<svg/>")},
		"dist/explorer/assets/index-a1b2.js":      {Data: []byte("export {}")},
		"dist/explorer/assets/index-c3d4.css":     {Data: []byte("body {}")},
		"dist/explorer/assets/codicon-e5f6.ttf":   {Data: []byte("font")},
		"dist/explorer/assets/unknown-0718.thing": {Data: []byte("thing")},
	}
}

// withoutExplorer is what a fresh checkout has.
func withoutExplorer() fstest.MapFS {
	return fstest.MapFS{"dist/.gitkeep": {}}
}

func get(t *testing.T, fsys fstest.MapFS, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	explorer(fsys).ServeHTTP(w, r)
	return w
}

func TestExplorer(t *testing.T) {
	t.Run("each file has its type and how long it may be kept", func(t *testing.T) {
		const forever = "public, max-age=31536000, immutable"
		for _, c := range []struct{ path, contentType, cache string }{
			{"/explorer/", "text/html; charset=utf-8", "no-cache"},
			{"/explorer/index.html", "text/html; charset=utf-8", "no-cache"},
			{"/explorer/icon.svg", "image/svg+xml", "no-cache"},
			{"/explorer/assets/index-a1b2.js", "text/javascript; charset=utf-8", forever},
			{"/explorer/assets/index-c3d4.css", "text/css; charset=utf-8", forever},
			{"/explorer/assets/codicon-e5f6.ttf", "font/ttf", forever},
			{"/explorer/assets/unknown-0718.thing", "application/octet-stream", forever},
		} {
			w := get(t, withExplorer(), http.MethodGet, c.path)
			if w.Code != http.StatusOK {
				t.Errorf("%s: status %d", c.path, w.Code)
			}
			if got := w.Header().Get("Content-Type"); got != c.contentType {
				t.Errorf("%s: content type %q, want %q", c.path, got, c.contentType)
			}
			if got := w.Header().Get("Cache-Control"); got != c.cache {
				t.Errorf("%s: cache control %q, want %q", c.path, got, c.cache)
			}
			if w.Header().Get("ETag") == "" {
				t.Errorf("%s: no ETag", c.path)
			}
		}
	})

	t.Run("the address without the slash leads to the page", func(t *testing.T) {
		w := get(t, withExplorer(), http.MethodGet, "/explorer")
		if w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != "/explorer/" {
			t.Errorf("status %d to %q", w.Code, w.Header().Get("Location"))
		}
	})

	t.Run("a browser that has the page is told that it did not change", func(t *testing.T) {
		etag := get(t, withExplorer(), http.MethodGet, "/explorer/").Header().Get("ETag")
		w := get(t, withExplorer(), http.MethodGet, "/explorer/", "If-None-Match", etag)
		if w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("status %d with %d bytes", w.Code, w.Body.Len())
		}
	})

	t.Run("another content has another ETag", func(t *testing.T) {
		changed := withExplorer()
		changed["dist/explorer/index.html"] = &fstest.MapFile{Data: []byte("changed")}
		before := get(t, withExplorer(), http.MethodGet, "/explorer/").Header().Get("ETag")
		after := get(t, changed, http.MethodGet, "/explorer/").Header().Get("ETag")
		if before == after {
			t.Errorf("both are %s", before)
		}
	})

	t.Run("HEAD has the headers of GET and no body", func(t *testing.T) {
		w := get(t, withExplorer(), http.MethodHead, "/explorer/")
		if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
			t.Errorf("status %d, %d bytes, length %q", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
		}
	})

	t.Run("other methods are refused", func(t *testing.T) {
		w := get(t, withExplorer(), http.MethodPost, "/explorer/")
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("status %d, allow %q", w.Code, w.Header().Get("Allow"))
		}
	})

	t.Run("what was not built is not found, and no directory is listed", func(t *testing.T) {
		for _, path := range []string{
			"/explorer/assets/", "/explorer/assets/index-old.js", "/explorer/../web.go", "/explorer/.gitkeep",
			"/explorer//index.html", "/explorer/%2e%2e/.gitkeep", "/elsewhere",
		} {
			if w := get(t, withExplorer(), http.MethodGet, path); w.Code != http.StatusNotFound {
				t.Errorf("%s: status %d", path, w.Code)
			}
		}
	})

	t.Run("every answer forbids other hosts, inline scripts and guessed types", func(t *testing.T) {
		for _, path := range []string{"/explorer", "/explorer/", "/explorer/assets/index-a1b2.js", "/explorer/missing"} {
			header := get(t, withExplorer(), http.MethodGet, path).Header()
			policy := header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "worker-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
				if !strings.Contains(policy, want+";") && !strings.HasSuffix(policy, want) {
					t.Errorf("%s: %q is not in the policy %q", path, want, policy)
				}
			}
			if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: headers %v", path, header)
			}
		}
	})
}

func TestExplorerNotBuilt(t *testing.T) {
	t.Run("the page says so and what to do", func(t *testing.T) {
		w := get(t, withoutExplorer(), http.MethodGet, "/explorer/")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("status %d, type %q", w.Code, w.Header().Get("Content-Type"))
		}
		for _, want := range []string{"not in this binary", "make web", "/graphql"} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%q is not on the page:\n%s", want, w.Body)
			}
		}
	})

	t.Run("nothing else is there", func(t *testing.T) {
		for _, path := range []string{"/explorer/assets/index-a1b2.js", "/explorer/.gitkeep"} {
			if w := get(t, withoutExplorer(), http.MethodGet, path); w.Code != http.StatusNotFound {
				t.Errorf("%s: status %d", path, w.Code)
			}
		}
	})

	t.Run("a build without any dist directory is the same", func(t *testing.T) {
		if w := get(t, fstest.MapFS{}, http.MethodGet, "/explorer/"); w.Code != http.StatusOK {
			t.Errorf("status %d", w.Code)
		}
	})
}

func TestBuilt(t *testing.T) {
	if !built(withExplorer()) {
		t.Error("a build with the explorer says it has none")
	}
	if built(withoutExplorer()) {
		t.Error("a build without the explorer says it has one")
	}
	t.Run("what is embedded here is served as what it is", func(t *testing.T) {
		w := httptest.NewRecorder()
		Explorer().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/explorer/", nil))
		if missing := strings.Contains(w.Body.String(), "not in this binary"); w.Code != http.StatusOK || missing == Built() {
			t.Errorf("built is %t, status %d, page:\n%s", Built(), w.Code, w.Body)
		}
	})
}
