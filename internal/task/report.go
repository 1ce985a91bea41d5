package task

import (
	"context"
	"sync"
	"time"
)

// reportEvery is the least time between two writes of one task's progress: four a second is as much as an eye takes in.
const reportEvery = 250 * time.Millisecond

// reporter returns a Report that writes the newest state at a bounded rate, and a stop that ends its goroutine. What has not
// been written by then is overtaken by the outcome. A handler reports before each step, so that is where one that stood still learns that
// its lease has ended meanwhile.
func (p *Pool) reporter(ctx context.Context, lease Lease) (Report, func()) {
	type state struct {
		step     string
		progress *float64
	}
	ctx, cancel := context.WithCancel(ctx)
	newest := make(chan state, 1)
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case s := <-newest:
				if err := p.queue.Report(ctx, lease, s.step, s.progress); err != nil && ctx.Err() == nil {
					p.opts.Log.Warn("write the progress of a task", "task_id", lease.TaskID, "error", err)
				}
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(reportEvery):
			case <-ctx.Done():
				return
			}
		}
	})
	report := func(step string, progress *float64) {
		p.expire(lease)
		select { // take out what is overtaken; only this goroutine puts in
		case <-newest:
		default:
		}
		select {
		case newest <- state{step, progress}:
		case <-ctx.Done():
		}
	}
	return report, func() { cancel(); writer.Wait() }
}
