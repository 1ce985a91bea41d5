package enginetest

import (
	"context"
	"slices"
)

// Tail implements engine.Engine.
func (f *Fake) Tail(ctx context.Context, id string, lines int) ([]string, error) {
	var tail []string
	err := f.doOn(ctx, "Tail", id, func(c *container) error {
		tail = slices.Clone(c.output[max(0, len(c.output)-lines):])
		return nil
	})
	return result(tail, err)
}

// Write lets a container write lines, and reports whether there is one.
func (f *Fake) Write(id string, lines ...string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.find(id)
	if c != nil {
		c.output = append(c.output, lines...)
	}
	return c != nil
}
