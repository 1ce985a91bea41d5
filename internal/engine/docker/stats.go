package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"

	dockercontainer "github.com/docker/docker/api/types/container"

	"github.com/aicli/aicli-web/internal/engine"
)

const (
	opStats  = "read stats"
	statsMax = 1 << 20 // bytes of one reading; one has 3 kB, and more only with very many devices
)

// errNotRunning stands for the empty reading that engines give of a container that does not run.
var errNotRunning = errors.New("the container is not running")

// Stats takes one reading now.
func (e *Engine) Stats(ctx context.Context, id string) (engine.Stats, error) {
	var reading engine.Stats
	err := e.callOn(ctx, lookLimit, opStats, id, func(ctx context.Context) error {
		said, err := e.api.ContainerStatsOneShot(ctx, id)
		if err != nil {
			return err
		}
		defer func() { _ = said.Body.Close() }()
		reading, err = nextStats(json.NewDecoder(io.LimitReader(said.Body, statsMax)))
		if errors.Is(err, io.EOF) { // so Podman answers of one that does not run, and any engine that ends meanwhile
			if c, lookErr := e.Container(ctx, id); lookErr == nil && !alive(c) {
				return errNotRunning
			}
		}
		return err
	})
	return reading, err
}

func alive(c engine.Container) bool { return c.State == engine.Running || c.State == engine.Paused }

// WatchStats calls each about once a second until ctx ends, the container stops or the engine fails.
func (e *Engine) WatchStats(ctx context.Context, id string, each func(engine.Stats)) error {
	if err := checkID(id); err != nil {
		return translate(opStats, id, err)
	}
	err := e.watchStats(ctx, id, each)
	if ctx.Err() != nil || errors.Is(err, errNotRunning) {
		return nil //nolint:nilerr // the caller's or the container's end is no failure
	}
	if !errors.Is(err, io.EOF) {
		return translate(opStats, id, err)
	}
	// The stream ends alike when the container is removed and when the engine shuts down.
	c, lookErr := e.Container(ctx, id)
	if ctx.Err() != nil || engine.Is(lookErr, engine.KindNotFound) {
		return nil //nolint:nilerr // as above
	}
	if lookErr != nil {
		return lookErr
	}
	if !alive(c) {
		return nil
	}
	return translate(opStats, id, err)
}

// watchStats never returns nil.
func (e *Engine) watchStats(ctx context.Context, id string, each func(engine.Stats)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the engine's side
	var body io.ReadCloser
	err := e.callOpen(ctx, opStats, id, cancel, func() error {
		said, err := e.api.ContainerStats(ctx, id, true)
		body = said.Body
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	limited := &io.LimitedReader{R: body}
	decoder := json.NewDecoder(limited)
	for {
		limited.N = statsMax
		reading, err := nextStats(decoder)
		if err != nil {
			return err
		}
		each(reading)
	}
}

func nextStats(decoder *json.Decoder) (engine.Stats, error) {
	var said dockercontainer.StatsResponse
	if err := decoder.Decode(&said); err != nil {
		return engine.Stats{}, err
	}
	if said.Read.Year() <= 1 || said.PidsStats.Current == 0 && said.CPUStats.CPUUsage.TotalUsage == 0 {
		return engine.Stats{}, errNotRunning
	}
	return toStats(&said), nil
}

func toStats(said *dockercontainer.StatsResponse) engine.Stats {
	out := engine.Stats{
		At:               said.Read,
		CPUNanos:         said.CPUStats.CPUUsage.TotalUsage,
		MemoryBytes:      bytesOf(withoutCache(&said.MemoryStats)),
		MemoryLimitBytes: bytesOf(said.MemoryStats.Limit),
		Pids:             int(bytesOf(said.PidsStats.Current)),
	}
	for _, n := range said.Networks {
		out.NetworkRxBytes += bytesOf(n.RxBytes)
		out.NetworkTxBytes += bytesOf(n.TxBytes)
	}
	for _, entry := range said.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(entry.Op) { // cgroup v1 writes Read, v2 read
		case "read":
			out.BlockReadBytes += bytesOf(entry.Value)
		case "write":
			out.BlockWriteBytes += bytesOf(entry.Value)
		}
	}
	return out
}

// withoutCache takes the inactive file pages off. Their name tells the version of cgroups: total_inactive_file counts those below as
// well in version 1, where inactive_file is there too and does not; version 2 has inactive_file only.
func withoutCache(memory *dockercontainer.MemoryStats) uint64 {
	cache, ok := memory.Stats["total_inactive_file"]
	if !ok {
		cache = memory.Stats["inactive_file"]
	}
	return memory.Usage - min(cache, memory.Usage) // the two are not read at once
}

func bytesOf(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
