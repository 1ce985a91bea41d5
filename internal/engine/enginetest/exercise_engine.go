package enginetest

import (
	"context"
	"errors"

	"github.com/aicli/aicli-web/internal/engine"
)

// saysWhat reports whether err is an *engine.Error that says what was attempted.
func saysWhat(err error) bool {
	e, ok := errors.AsType[*engine.Error](err)
	return ok && e.Op != "" && e.Err != nil
}

func exerciseEngine(run runner) {
	run("an engine says what it is", func(b *bench) {
		info, err := b.engine.Info(b.ctx)
		b.must(err)
		if info.Name == "" || info.Version == "" || info.APIVersion == "" || info.CPUs < 1 || info.MemoryBytes < 1 {
			b.Errorf("incomplete: %+v", info)
		}
		if info.CgroupVersion != "1" && info.CgroupVersion != "2" {
			b.Errorf("cgroup version %q", info.CgroupVersion)
		}
	})
	run("a call whose caller gave up is canceled", func(b *bench) {
		ctx, cancel := context.WithCancel(b.ctx)
		cancel()
		_, err := b.engine.Info(ctx)
		b.fails(err, engine.KindCanceled)
		_, err = b.engine.Containers(ctx, b.labels)
		b.fails(err, engine.KindCanceled)
	})
	run("an image that the engine has is found", func(b *bench) {
		image, err := b.engine.Image(b.ctx, b.opts.Image)
		b.must(err)
		if image.ID == "" || image.Ref != b.opts.Image {
			b.Errorf("got %+v", image)
		}
	})
	run("an image that the engine does not have is not found", func(b *bench) {
		_, err := b.engine.Image(b.ctx, "aicli-no-such-image:none")
		b.fails(err, engine.KindNotFound)
	})
	run("a pull from where there is nothing fails", func(b *bench) {
		// Whether this is an image that does not exist or a registry that cannot be reached is not the same on every engine.
		b.fails(b.engine.Pull(b.ctx, "localhost:1/aicli-no-such-image:none", nil), engine.KindNotFound, engine.KindNetwork)
	})
}

func exercisePull(run runner) {
	run("a pulled image is there and its progress was reported", func(b *bench) {
		var reports int
		var last float64
		b.must(b.engine.Pull(b.ctx, b.opts.Pullable, func(p engine.PullProgress) {
			reports++
			if p.Percent < last || p.Percent > 100 {
				b.Errorf("progress %+v after %v", p, last)
			}
			last = p.Percent
		}))
		if reports == 0 {
			b.Error("no progress")
		}
		b.must(b.engine.Pull(b.ctx, b.opts.Pullable, nil)) // once more, and nobody listens
		_, err := b.engine.Image(b.ctx, b.opts.Pullable)
		b.must(err)
	})
}
