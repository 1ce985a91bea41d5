package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// trickleSize is how large a layer of the slow registry says that it is, and trickleChunk how much of it comes each trickleEvery: no layer ends within a run.
	trickleSize  = 64 << 20
	trickleChunk = 1 << 10
	trickleEvery = 100 * time.Millisecond
)

// What the engine asks of a registry (the Docker Registry HTTP API v2, image manifest version 2, schema 2).
const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	configType   = "application/vnd.docker.container.image.v1+json"
	layerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	digestHeader = "Docker-Content-Digest"
)

// trickle is a registry on loopback that has every image, each with one layer of its own, which comes byte by byte and never whole.
type trickle struct {
	*http.Server

	host  string // and port: the first part of its images' names
	open  atomic.Int64
	ended context.CancelFunc
}

func startTrickle(ctx context.Context) (*trickle, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed with the server
	if err != nil {
		return nil, fmt.Errorf("listen for pulls: %w", err)
	}
	t := &trickle{host: listener.Addr().String()}
	ctx, t.ended = context.WithCancel(ctx)
	t.Server = &http.Server{ReadHeaderTimeout: patience, Handler: t, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() { _ = t.Serve(listener) }() // until it is closed
	return t, nil
}

// stop cuts the layers that are on their way.
func (t *trickle) stop() error {
	t.ended()
	return t.Close()
}

func (t *trickle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	config := []byte(`{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["` + digest([]byte("layer")) + `"]}}`)
	switch _, of, isBlob := strings.Cut(r.URL.Path, "/blobs/"); {
	case strings.Contains(r.URL.Path, "/manifests/"):
		type part struct {
			MediaType string `json:"mediaType"`
			Size      int    `json:"size"`
			Digest    string `json:"digest"`
		}
		body, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType, "config": part{configType, len(config), digest(config)},
			"layers": []part{{layerType, trickleSize, digest([]byte(r.URL.Path))}}, // nobody shares it, so that each pull is one
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set(digestHeader, digest(body))
		_, _ = w.Write(body) // who does not read it is gone
	case isBlob && of == digest(config):
		_, _ = w.Write(config)
	case isBlob:
		t.layer(w, r)
	default: // the root: it speaks version 2 and wants nobody to sign in
	}
}

// layer sends a layer, until whoever wants it is gone.
func (t *trickle) layer(w http.ResponseWriter, r *http.Request) {
	t.open.Add(1)
	defer t.open.Add(-1)
	w.Header().Set("Content-Length", strconv.Itoa(trickleSize))
	out, chunk := http.NewResponseController(w), make([]byte, trickleChunk)
	for {
		_, err := w.Write(chunk)
		if err := errors.Join(err, out.Flush(), pause(r.Context(), trickleEvery)); err != nil {
			return
		}
	}
}

func digest(of []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(of)) }
