package enginetest

import (
	"context"
	"path"
	"strings"

	"github.com/aicli/aicli-web/internal/engine"
)

// tagged is a name with its tag, as engines know an image.
func tagged(ref string) string {
	if strings.Contains(path.Base(ref), ":") || strings.Contains(ref, "@") {
		return ref
	}
	return ref + ":latest"
}

// AddImage gives the engine an image.
func (f *Fake) AddImage(ref string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addImage(ref)
}

// RemoveImage takes an image away from the engine. Containers that were made of it stay.
func (f *Fake) RemoveImage(ref string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.images, tagged(ref))
}

// Pullable lets Pull find an image. With a gate, a pull reports its first progress and goes on when the gate is closed; gate may be nil.
func (f *Fake) Pullable(ref string, gate <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pullable[tagged(ref)] = gate
}

// Image implements engine.Engine.
func (f *Fake) Image(ctx context.Context, ref string) (engine.Image, error) {
	var found engine.Image
	err := f.do(ctx, "Image", ref, func() error {
		var ok bool
		if found, ok = f.images[tagged(ref)]; !ok {
			return refuse(engine.KindNotFound, "no such image")
		}
		return nil
	})
	return result(found, err)
}

// Pull implements engine.Engine. What is not Pullable is not found.
func (f *Fake) Pull(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	var gate <-chan struct{}
	f.mu.Lock()
	err := f.enter(ctx, "Pull", ref)
	if err == nil {
		var ok bool
		if gate, ok = f.pullable[tagged(ref)]; !ok {
			err = named(refuse(engine.KindNotFound, "no such image in the registry"), "Pull", ref)
		}
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	report(progress, engine.PullProgress{Status: "Downloading"})
	if err := f.pass(ctx, gate); err != nil {
		return named(err, "Pull", ref)
	}
	report(progress, engine.PullProgress{Status: "Pull complete", Percent: 100})

	f.mu.Lock()
	defer f.mu.Unlock()
	f.addImage(ref)
	return f.leave("Pull", ref)
}

// pass waits for gate to close while the engine is up.
func (f *Fake) pass(ctx context.Context, gate <-chan struct{}) error {
	for {
		f.mu.Lock()
		down, changed := f.down, f.changed
		f.mu.Unlock()
		switch {
		case down:
			return errDown()
		case gate == nil:
			return ctx.Err()
		}
		select {
		case <-gate:
			gate = nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *Fake) addImage(ref string) {
	if _, ok := f.images[tagged(ref)]; !ok {
		f.images[tagged(ref)] = engine.Image{ID: "sha256:" + f.newID(), Ref: ref}
	}
}

func report(progress func(engine.PullProgress), p engine.PullProgress) {
	if progress != nil {
		progress(p)
	}
}
