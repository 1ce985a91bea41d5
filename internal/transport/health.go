package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// readyWait bounds one look at the server's parts: whoever asks will ask again soon.
const readyWait = 3 * time.Second

var errShuttingDown = errors.New("the server is shutting down")

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	respond(w, http.StatusOK, jsonType, []byte(`{"status":"alive"}`+"\n"))
}

func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(r.Context(), readyWait)
	defer cancel()
	var err error
	if h.sockets.closing() {
		err = errShuttingDown
	} else if h.ready != nil {
		err = h.ready(ctx)
	}
	if err == nil {
		respond(w, http.StatusOK, jsonType, []byte(`{"status":"ready"}`+"\n"))
		return
	}
	body, _ := json.Marshal(map[string]string{"status": "not ready", "reason": sentence(err)}) // strings always encode
	respond(w, http.StatusServiceUnavailable, jsonType, append(body, '\n'))
}
