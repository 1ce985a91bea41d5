package enginetest

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aicli/aicli-web/internal/engine"
)

// CreateVolume implements engine.Engine.
func (f *Fake) CreateVolume(ctx context.Context, name string, labels engine.Labels) (engine.Volume, error) {
	var made engine.Volume
	err := f.do(ctx, "CreateVolume", name, func() error {
		if name == "" {
			return refuse(engine.KindInvalid, "a volume needs a name")
		}
		if _, there := f.volumes[name]; !there {
			f.volumes[name] = maps.Clone(labels)
		}
		made = f.volume(name)
		return nil
	})
	return result(made, err)
}

// Volumes implements engine.Engine.
func (f *Fake) Volumes(ctx context.Context, labels engine.Labels) ([]engine.Volume, error) {
	var found []engine.Volume
	err := f.do(ctx, "Volumes", "", func() error {
		for name, has := range f.volumes {
			if carries(has, labels) {
				found = append(found, f.volume(name))
			}
		}
		slices.SortFunc(found, func(a, b engine.Volume) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return result(found, err)
}

// RemoveVolume implements engine.Engine. No container of a Fake holds one.
func (f *Fake) RemoveVolume(ctx context.Context, name string) error {
	return f.do(ctx, "RemoveVolume", name, func() error {
		delete(f.volumes, name)
		return nil
	})
}

// volume is one that is there. f.mu is held.
func (f *Fake) volume(name string) engine.Volume {
	return engine.Volume{Name: name, Labels: maps.Clone(f.volumes[name])}
}
