package transport

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"
)

// What a page may load. Answers of the API are no pages and load nothing. GraphiQL's editor writes style elements and starts
// workers from blobs.
const (
	apiPolicy  = "default-src 'none'; frame-ancestors 'none'"
	pagePolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
		"worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// secure sets headers that a handler behind it may replace.
func secure(policy string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// recorder remembers what was answered. It hands on Hijack, which gorilla asks for, and the rest through Unwrap.
type recorder struct {
	http.ResponseWriter
	status   int // 0: nothing answered yet
	bytes    int64
	hijacked bool
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // 1xx come before the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked, w.status = true, http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// accessLog writes a line when a request has been answered, and, for a WebSocket, when it has ended. The query part of the
// address stays out of it: it may hold what a user typed.
func accessLog(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			level := slog.LevelInfo
			if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
				level = slog.LevelDebug // every few seconds, for ever
			}
			var who string
			if s, ok := r.Context().Value(scopeKey{}).(*scope); ok {
				who = s.principal.ID
			}
			log.LogAttrs(r.Context(), level, "request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes), slog.Duration("duration", time.Since(began)),
				slog.String("request_id", RequestID(r.Context())), slog.String("principal", who),
				slog.String("remote", r.RemoteAddr))
		}()
		next.ServeHTTP(rec, r)
	})
}

// recoverPanics must sit directly inside accessLog, whose recorder tells it whether an answer has begun.
func recoverPanics(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // the value itself is panicked with, never wrapped
				panic(v)
			}
			logPanic(r.Context(), log, v)
			rec, ok := w.(*recorder)
			switch {
			case !ok || rec.status == 0:
				refuse(w, r, http.StatusInternalServerError, internalFault)
			case !rec.hijacked: // half an answer must not look like a whole one
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func logPanic(ctx context.Context, log *slog.Logger, v any) {
	log.ErrorContext(ctx, "panic", "value", v, "request_id", RequestID(ctx), "stack", string(debug.Stack()))
}
