package docker

import (
	"cmp"
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
	if kind := byWords(op, strings.ToLower(err.Error())); kind != "" {
		return kind
	}
	return byStatus(op, err)
}

// byWords goes by what an engine says, in lower case. Where an image has a part in that, it is known by the words before, and not by what it sounds like.
func byWords(op, words string) engine.Kind {
	if op == opPull {
		return cmp.Or(match(imageWords, words), match(diskWords, words), match(pullWords, words))
	}
	if otherEngine.MatchString(words) {
		return engine.KindUnavailable
	}
	if kind := cmp.Or(match(imageWords, words), match(diskWords, words), match(machineWords, words)); kind != "" {
		return kind
	}
	switch {
	case op == opStart && leftTask.MatchString(words):
		return engine.KindBroken
	case op == opStart && cannotRun(words):
		return engine.KindInvalid
	default:
		return match(runWords, words)
	}
}

// otherEngine is what a client is told whose version of the API was settled with another engine than the one that answers now.
var otherEngine = regexp.MustCompile(`^(?:error response from daemon: )?client version [0-9.]+ is too (?:new|old)\. `)

// lostReason is what containerd says where its runtime has died before it wrote why. The path in it says nothing of the container.
var lostReason = regexp.MustCompile(`unable to retrieve oci runtime error \(open [^)]*\)`)

// cannotRun tells that the command cannot be run from what the runtime says of it, in lower case. Only a start may be read so: elsewhere the same
// words are about files of the engine's own.
func cannotRun(words string) bool {
	words = lostReason.ReplaceAllString(words, "")
	return strings.Contains(words, "oci runtime") && !strings.Contains(words, "cgroup") && // which are the host's
		(strings.Contains(words, "permission denied") || strings.Contains(words, "no such file or directory") ||
			strings.Contains(words, "not a directory") || strings.Contains(words, "read-only file system"))
}

// byStatus goes by the status alone. Only a registry denies for want of credentials: an engine forbids what its plugins or its own rules do not allow.
func byStatus(op string, err error) engine.Kind {
	switch {
	case errdefs.IsNotFound(err):
		return engine.KindNotFound
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err):
		return engine.KindConflict
	case errdefs.IsInvalidArgument(err), errdefs.IsOutOfRange(err):
		return engine.KindInvalid
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err):
		if op == opPull {
			return engine.KindDenied
		}
		return engine.KindInvalid
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
	// imageWords come before something of an image.
	imageWords = []phrase{
		{"unable to find user", engine.KindInvalid},
		{"unable to find group", engine.KindInvalid},
		{"cannot mkdir: ", engine.KindInvalid}, // the directory where the command begins is a file of the image
		{"cannot mount volume over existing file", engine.KindInvalid},
		{"no match for platform", engine.KindInvalid}, // it is made for other machines
	}
	diskWords = []phrase{
		// The kernel's bounds on keys and on control groups sound like a full disk.
		{"unable to create session key", engine.KindInternal},
		{"unable to apply cgroup configuration: mkdir ", engine.KindInternal},
		{"no space left on device", engine.KindStorage},
		{"disk quota exceeded", engine.KindStorage},
		{"input/output error", engine.KindStorage},
	}
	// machineWords tell of what the machine lacks at the moment. Runtimes put the same words before that as before what is wrong with the command.
	machineWords = []phrase{
		{"too many open files", engine.KindInternal},
		{"resource temporarily unavailable", engine.KindInternal},
		{"cannot allocate memory", engine.KindInternal},
		{"can't get final child's pid from pipe", engine.KindInternal},
		{"can't copy bootstrap data to pipe", engine.KindInternal},
		{"waiting for init preliminary setup", engine.KindInternal},
		{"init-p: ", engine.KindInternal}, // the pipe to the init, which has died
		{"cgroup configuration", engine.KindInternal},
		{"setting cgroup config", engine.KindInternal},
		{"deadline exceeded", engine.KindTimeout},
		{"error creating overlay mount", engine.KindStorage},
	}
	pullWords = []phrase{
		// A registry that hides what may not be seen says the same of what does not exist.
		{"pull access denied", engine.KindNotFound},
		{"manifest unknown", engine.KindNotFound},
		{"no matching manifest for", engine.KindInvalid}, // it is made for other machines
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
		{"is ambiguous", engine.KindConflict},                                  // two networks of one name: one of them is to go
		{"memory.limit_in_bytes: device or resource busy", engine.KindInvalid}, // it uses more than it is to have
		{"unable to set memory limit to", engine.KindInvalid},
		{"device or resource busy", engine.KindConflict},
		{"marked for removal", engine.KindConflict},
		{"sandbox delete in progress", engine.KindConflict},
		{"already exists in network", engine.KindConflict}, // its own place, which an earlier run has left behind
		{"another container is attached to the same network endpoint", engine.KindConflict},
		{"has active containers", engine.KindConflict},
		{"is already present in sandbox", engine.KindConflict},
		{"network is being used", engine.KindConflict}, // Podman, as the four below
		{"container state improper", engine.KindConflict},
		{"has already been removed", engine.KindNotFound},
		{"oci permission denied", engine.KindInvalid},
		{"container-init binary not found", engine.KindInvalid},
		{"unable to find network with name or id", engine.KindNotFound}, // Podman
		{"container create: statfs ", engine.KindInvalid},               // Podman, of a mount's source
		{"is not running", engine.KindNotRunning},
		{"invalid mount config", engine.KindInvalid},
		{"container init was oom-killed", engine.KindInvalid},
		{"error mounting", engine.KindInvalid},
		{"error while creating mount source path", engine.KindInvalid},
		{"executable file not found", engine.KindInvalid},
		{"exec format error", engine.KindInvalid},
		{"starting container process caused", engine.KindInvalid},
		{"unable to start container process", engine.KindInvalid},
		{"is unexpectedly nil", engine.KindInvalid}, // the engine has lost the container's own files
		{"is unexpectedly empty", engine.KindInvalid},
		{"read-only file system", engine.KindStorage},
	}
)
