package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/distribution/reference"
	dockerimage "github.com/docker/docker/api/types/image"

	"github.com/aicli/aicli-web/internal/engine"
)

const (
	messageMax = 1 << 20 // bytes of one message of a pull; they have some hundred
	layersMax  = 1024    // that progress is summed over; an image has at most 127
)

// Image looks an image up locally.
func (e *Engine) Image(ctx context.Context, ref string) (engine.Image, error) {
	var found engine.Image
	const op = "look up image"
	if _, err := reference.ParseAnyReference(ref); err != nil {
		return found, translate(op, ref, &refusal{err})
	}
	err := e.call(ctx, lookLimit, op, ref, func(ctx context.Context) error {
		said, err := e.api.ImageInspect(ctx, ref)
		if found = (engine.Image{ID: said.ID, Ref: ref}); said.Config != nil {
			found.HealthCheck = toHealthCheck(said.Config.Healthcheck)
		}
		return err
	})
	if err != nil {
		return engine.Image{}, err
	}
	return found, nil
}

// Pull fetches an image. It ends when the engine has nothing to say for two minutes.
func (e *Engine) Pull(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	if _, err := reference.ParseNormalizedNamed(ref); err != nil {
		return translate(opPull, ref, &refusal{err})
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(pullIdle, func() {
		cancel(fmt.Errorf("no word for %s: %w", pullIdle, context.DeadlineExceeded))
	})
	defer idle.Stop()
	err := e.pull(ctx, ref, func(p engine.PullProgress) {
		idle.Reset(pullIdle)
		if progress != nil {
			progress(p)
		}
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return translate(opPull, ref, err)
}

func (e *Engine) pull(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	if err := e.negotiate(ctx); err != nil {
		return err
	}
	body, err := e.api.ImagePull(ctx, ref, dockerimage.PullOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return readPull(body, progress)
}

// pullMessage is one line of a pull. Old engines tell an error in Error only.
type pullMessage struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Detail struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
	Error string `json:"error"`
}

// readPull reads the messages of a pull, one a line, up to the end or the first that tells an error. The status of the answer was
// 200 in any case: only the stream says whether the pull succeeded.
func readPull(body io.Reader, progress func(engine.PullProgress)) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, messageMax)
	layers := layers{of: make(map[string]layer)}
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var message pullMessage
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			// A line cut short by the loss of the engine is told by the reader's own error.
			if lost := lines.Err(); lost != nil {
				return lost
			}
			return fmt.Errorf("read the pull's messages: %w", err)
		}
		if words := orElse(message.Detail.Message, message.Error); words != "" {
			return &pullError{words}
		}
		layers.count(&message)
		progress(engine.PullProgress{Status: message.Status, Percent: layers.percent()})
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("read the pull's messages: %w", err)
	} else if err != nil {
		return err
	}
	return nil
}

// layers are how far the layers of an image are. Each counts the same: an engine names them all at once, and says how large one is when it
// begins to fetch it, so that a sum of bytes would end with each small one and begin anew.
type layers struct {
	of   map[string]layer
	most float64 // per cent that were told
}

// layer is how much of a layer is fetched and how much of it is unpacked, from 0 to 1.
type layer struct{ fetched, unpacked float64 }

// fetching is the part of a layer's work that fetching it is.
const fetching = 0.75

func (l layer) done() float64 { return fetching*l.fetched + (1-fetching)*l.unpacked }

func (l *layers) count(message *pullMessage) {
	one, known := l.of[message.ID]
	switch message.Status {
	case "Pulling fs layer", "Waiting":
	case "Downloading":
		one.fetched = max(one.fetched, share(message))
	case "Verifying Checksum", "Download complete":
		one.fetched = 1
	case "Extracting":
		one.fetched, one.unpacked = 1, max(one.unpacked, share(message))
	case "Pull complete", "Already exists":
		one = layer{1, 1}
	default:
		return
	}
	if message.ID == "" || !known && len(l.of) >= layersMax {
		return
	}
	l.of[message.ID] = one
}

// share is how far a message says that something is; 0 where it says nothing that can be believed.
func share(message *pullMessage) float64 {
	if now := message.Progress; now.Total > 0 && now.Current > 0 {
		return min(1, float64(now.Current)/float64(now.Total))
	}
	return 0
}

// percent never goes back, also when a layer is heard of late.
func (l *layers) percent() float64 {
	if len(l.of) == 0 {
		return 0
	}
	done := 0.0
	for _, one := range l.of {
		done += one.done()
	}
	l.most = max(l.most, min(100, 100*done/float64(len(l.of))))
	return l.most
}
