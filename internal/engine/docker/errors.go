package docker

import (
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/aicli/aicli-web/internal/engine"
)

// Operations whose failures are read in a way of their own: a registry's, and those of a container that cannot start again.
const (
	opPull  = "pull image"
	opStart = "start container"
)

// refusal is a request that we don't pass on because the engine could only refuse it, or would misread it.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// unsupported is a call that the engine does not have.
type unsupported struct{ error }

func (u *unsupported) Unwrap() error { return u.error }

// pullError is what the engine says in the stream of a pull, where errors have words and no status.
type pullError struct{ words string }

func (p *pullError) Error() string { return p.words }

// translate makes err an *engine.Error, unless it is nil or one already.
func translate(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*engine.Error](err); ok {
		return err
	}
	return &engine.Error{Kind: classify(op, err), Op: op, Subject: subject, Err: err}
}

// classify says what kind of failure err is. That the engine is away is told by types alone: its own words about a registry sound
// the same.
func classify(op string, err error) engine.Kind {
	var refused *refusal
	var lacking *unsupported
	var lost net.Error
	switch {
	case errors.As(err, &refused):
		return engine.KindInvalid
	case errors.As(err, &lacking):
		return engine.KindUnsupported
	case errors.Is(err, context.Canceled):
		return engine.KindCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return engine.KindTimeout
	case client.IsErrConnectionFailed(err), errors.As(err, &lost),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return engine.KindUnavailable
	}
	words := strings.ToLower(err.Error())
	if kind := match(anyWords, words); kind != "" {
		return kind
	}
	if op == opStart && leftTask.MatchString(words) {
		return engine.KindBroken
	}
	phrases := runWords
	if op == opPull {
		phrases = pullWords
	}
	if kind := match(phrases, words); kind != "" {
		return kind
	}
	return byStatus(err)
}

func byStatus(err error) engine.Kind {
	switch {
	case errdefs.IsNotFound(err):
		return engine.KindNotFound
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err):
		return engine.KindConflict
	case errdefs.IsInvalidArgument(err), errdefs.IsOutOfRange(err):
		return engine.KindInvalid
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err):
		return engine.KindDenied
	case errdefs.IsUnavailable(err):
		return engine.KindUnavailable
	default:
		return engine.KindInternal
	}
}

// phrase is what engines write, in lower case, and what it means.
type phrase struct {
	words string
	kind  engine.Kind
}

func match(phrases []phrase, words string) engine.Kind {
	for _, p := range phrases {
		if strings.Contains(words, p.words) {
			return p.kind
		}
	}
	return ""
}

// leftTask is what an engine says of a container that it was killed beside and has forgotten to be running: what is left of that stands in
// the way of every start. The whole of it must match, because the container is removed then.
var leftTask = regexp.MustCompile(`\btask [0-9a-f]{64}: already exists|: id already in use\b`)

// The first phrase that is found counts. Docker's engines from 20.10 to 28 write these, and some Podman 4.3.
var (
	anyWords = []phrase{
		{"no space left on device", engine.KindStorage},
		{"disk quota exceeded", engine.KindStorage},
		{"input/output error", engine.KindStorage},
		// The version of the API was settled with another engine than the one that answers now.
		{"maximum supported api version", engine.KindUnavailable},
		{"minimum supported api version", engine.KindUnavailable},
	}
	pullWords = []phrase{
		// A registry that hides what may not be seen says the same of what does not exist.
		{"pull access denied", engine.KindNotFound},
		{"manifest unknown", engine.KindNotFound},
		{"no matching manifest for", engine.KindInvalid}, // it is made for other machines
		{"no match for platform", engine.KindInvalid},
		{"cannot be used on this platform", engine.KindInvalid},
		{"unsupported media type", engine.KindInvalid},
		{"mediatype in manifest should be", engine.KindInvalid},
		{"unauthorized:", engine.KindDenied},
		{"401 unauthorized", engine.KindDenied},
		{"403 forbidden", engine.KindDenied},
		{"authentication required", engine.KindDenied},
		{"no basic auth credentials", engine.KindDenied},
		{"dial tcp", engine.KindNetwork},
		{"no such host", engine.KindNetwork},
		{"connection refused", engine.KindNetwork},
		{"connection reset", engine.KindNetwork},
		{"network is unreachable", engine.KindNetwork},
		{"no route to host", engine.KindNetwork},
		{"server misbehaving", engine.KindNetwork},
		{"tls:", engine.KindNetwork},
		{"tls handshake", engine.KindNetwork},
		{"x509:", engine.KindNetwork},
		{"http response to https client", engine.KindNetwork},
		{"timeout", engine.KindNetwork},
		{"deadline exceeded", engine.KindNetwork},
		{"unexpected eof", engine.KindNetwork},
		{": eof", engine.KindNetwork},
		{"toomanyrequests", engine.KindNetwork}, // of use again later
		{"unexpected http status: 5", engine.KindNetwork},
		{"does not exist", engine.KindNotFound},
		{"not found", engine.KindNotFound},
		{"name unknown", engine.KindNotFound},
		{"denied:", engine.KindNotFound},
		{"access denied", engine.KindNotFound},
		{"access to the resource is denied", engine.KindNotFound},
		{"invalid reference format", engine.KindInvalid},
	}
	runWords = []phrase{
		{"pool overlaps with other one", engine.KindAddressInUse},
		{"networks have overlapping", engine.KindAddressInUse},
		{"address already in use", engine.KindAddressInUse},
		{"is already used on the host or by another config", engine.KindAddressInUse}, // Podman, as the two below
		{"already used: network already exists", engine.KindConflict},
		{"that name is already in use", engine.KindConflict},
		{"has active endpoints", engine.KindConflict},
		{"is ambiguous", engine.KindConflict}, // two networks of one name: one of them is to go
		{"device or resource busy", engine.KindConflict},
		{"unable to find network with name or id", engine.KindNotFound}, // Podman
		{"container create: statfs ", engine.KindInvalid},               // Podman, of a mount's source
		{"is not running", engine.KindNotRunning},
		{"invalid mount config", engine.KindInvalid},
		{"error mounting", engine.KindInvalid},
		{"error while creating mount source path", engine.KindInvalid},
		{"executable file not found", engine.KindInvalid},
		{"exec format error", engine.KindInvalid},
		{"starting container process caused", engine.KindInvalid},
		{"unable to start container process", engine.KindInvalid},
		{"unable to find user", engine.KindInvalid},
	}
)
