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
	layerMax   = 1 << 50 // bytes believed of one layer, so that no sum overflows
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
		found = engine.Image{ID: said.ID, Ref: ref}
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
	layers := make(map[string]layer)
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
		count(layers, &message)
		progress(sum(layers, message.Status))
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("read the pull's messages: %w", err)
	} else if err != nil {
		return err
	}
	return nil
}

// layer is how much of a layer is here. Unpacking, which counts anew from 0, is not counted.
type layer struct{ current, total int64 }

func count(layers map[string]layer, message *pullMessage) {
	l, known := layers[message.ID]
	switch message.Status {
	case "Downloading":
		if message.ID == "" || !known && len(layers) >= layersMax {
			return
		}
		l.total = max(l.total, min(message.Progress.Total, layerMax))
		l.current = max(l.current, min(message.Progress.Current, l.total))
	case "Download complete", "Pull complete":
		if !known {
			return
		}
		l.current = l.total
	default:
		return
	}
	layers[message.ID] = l
}

func sum(layers map[string]layer, status string) engine.PullProgress {
	p := engine.PullProgress{Status: status}
	for _, l := range layers {
		p.Current += l.current
		p.Total += l.total
	}
	return p
}
