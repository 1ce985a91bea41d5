package docker

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/aicli/aicli-web/internal/engine"
)

// tailLineRead is how many bytes of a line are read for one that is given, so that a long line does not use up all that is read.
const tailLineRead = 16 << 10

// Tail reads the last lines of what a container has written to both of its streams.
func (e *Engine) Tail(ctx context.Context, id string, lines int) ([]string, error) {
	var tail []string
	err := e.callOn(ctx, lookLimit, "read the log", id, func(ctx context.Context) error {
		stream, err := e.api.ContainerLogs(ctx, id, dockercontainer.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines)})
		if err != nil {
			return err
		}
		defer func() { _ = stream.Close() }() // it was only read
		var both bytes.Buffer
		if _, err := stdcopy.StdCopy(&both, &both, io.LimitReader(stream, int64(lines)*tailLineRead)); err != nil {
			return err
		}
		tail = lastLines(both.String(), lines)
		return nil
	})
	return tail, err
}

// lastLines cuts text into lines that a client can be shown.
func lastLines(text string, most int) []string {
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-most):]
	for i, line := range lines {
		lines[i] = strings.ToValidUTF8(strings.TrimSuffix(line[:min(len(line), engine.TailLine)], "\r"), "\uFFFD")
	}
	return lines
}
