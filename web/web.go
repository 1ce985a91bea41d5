// Package web owns the pages that the server hands to browsers: the explorer, built by npm into dist and embedded in the
// binary. It serves files and nothing else: it never sees a token, a workspace or a query.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// The prefix all: takes .gitkeep along, so that the package compiles before anything was built.
//
//go:embed all:dist
var dist embed.FS

// Paths of the built explorer: where it is in dist, and where its pages look for it (base in vite.config.ts).
const (
	builtDir = "dist/explorer"
	route    = "/explorer/"
)

// The policy lets the explorer load from its own host alone. Its editor runs workers from files of its own, writes style
// elements while it runs, and carries its fonts and pictures in its style sheet. 'self' covers the WebSocket of the same host.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; " +
	"style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Built tells whether this binary has the explorer in it.
func Built() bool {
	return built(dist)
}

// Explorer serves the explorer under /explorer/, and redirects /explorer there. It answers GET and HEAD. In a binary that
// was built without it, the page itself is a plain one that says so and what to do (status 200: the server works as it was
// built, and the API with it), and every other path below is not found.
func Explorer() http.Handler {
	return explorer(dist)
}

func explorer(fsys fs.FS) http.Handler {
	files, err := load(fsys)
	if err != nil {
		// Only a broken embed gets here, and that is no file system of the host: it is the same on every start.
		panic(err)
	}
	if !built(fsys) {
		files = map[string]file{"index.html": newFile("index.html", []byte(notBuiltPage))}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(files, w, r)
	})
}

func built(fsys fs.FS) bool {
	_, err := fs.Stat(fsys, builtDir+"/index.html")
	return err == nil
}

// A file of the explorer, ready to send.
type file struct {
	body         []byte
	contentType  string
	cacheControl string
	etag         string
}

func newFile(name string, body []byte) file {
	sum := sha256.Sum256(body)
	f := file{
		body:         body,
		contentType:  contentType(name),
		cacheControl: "no-cache",
		etag:         `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}
	// Vite puts a hash of the content into the name of everything in assets: another content has another name.
	if strings.HasPrefix(name, "assets/") {
		f.cacheControl = "public, max-age=31536000, immutable"
	}
	return f
}

// load reads the built files, keyed by their path below /explorer/. None is an empty map.
func load(fsys fs.FS) (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(fsys, builtDir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		key := strings.TrimPrefix(name, builtDir+"/")
		files[key] = newFile(key, body)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the embedded explorer: %w", err)
	}
	return files, nil
}

// The types of what Vite emits. They are named here because the host's own table of types may lack them or differ.
var contentTypes = map[string]string{
	".css":   "text/css; charset=utf-8",
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".json":  "application/json",
	".png":   "image/png",
	".svg":   "image/svg+xml",
	".ttf":   "font/ttf",
	".woff":  "font/woff",
	".woff2": "font/woff2",
}

func contentType(name string) string {
	if t, ok := contentTypes[path.Ext(name)]; ok {
		return t
	}
	return "application/octet-stream"
}

func serve(files map[string]file, w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")

	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "Use GET: this is a page. The API is at /graphql.", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path+"/" == route {
		// Browsers keep the fragment, and with it the token of a printed link, across a redirect.
		http.Redirect(w, r, route, http.StatusMovedPermanently)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, route)
	if name == "" {
		name = "index.html"
	}
	f, found := files[name]
	if !ok || !found {
		http.Error(w, "There is no such file. The explorer is at "+route, http.StatusNotFound)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cacheControl)
	header.Set("ETag", f.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.body))
}

const notBuiltPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The explorer is not in this binary</title>
<style>body { max-width: 34rem; margin: 3rem auto; padding: 0 1.25rem; font: 1rem/1.5 system-ui, sans-serif }</style>
<h1>The explorer is not in this binary</h1>
<p>The server was built without it. The API works all the same, at <code>/graphql</code> on this address.</p>
<p>To have the explorer here, run <code>make web</code>, then build and start the server again.</p>
</html>
`
