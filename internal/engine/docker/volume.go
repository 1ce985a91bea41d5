package docker

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"

	"github.com/aicli/aicli-web/internal/engine"
)

// CreateVolume makes a volume, or gives the one that has the name. One that exists is inspected: asked to make it, Docker 20.10 gives it without its labels
// once it was started again.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels engine.Labels) (engine.Volume, error) {
	var made engine.Volume
	err := e.callOn(ctx, volumeLimit, "create volume", name, func(ctx context.Context) error {
		said, err := e.api.VolumeInspect(ctx, name)
		if errdefs.IsNotFound(err) {
			if _, err = e.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels}); err == nil {
				said, err = e.api.VolumeInspect(ctx, name)
			}
		}
		made = engine.Volume{Name: said.Name, Labels: said.Labels}
		return err
	})
	return made, err
}

// Volumes lists the volumes that carry all of the labels. Podman gives those that carry any.
func (e *Engine) Volumes(ctx context.Context, labels engine.Labels) ([]engine.Volume, error) {
	var found []engine.Volume
	err := e.call(ctx, lookLimit, "list volumes", "", func(ctx context.Context) error {
		said, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: labelled(labels)})
		for _, v := range said.Volumes {
			if carries(v.Labels, labels) {
				found = append(found, engine.Volume{Name: v.Name, Labels: v.Labels})
			}
		}
		return err
	})
	return found, err
}

// RemoveVolume removes a volume with what is in it.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	err := e.callOn(ctx, volumeLimit, "remove volume", name, func(ctx context.Context) error {
		return e.api.VolumeRemove(ctx, name, false)
	})
	return unless(err, engine.KindNotFound)
}

// carries reports whether labels has all of wanted.
func carries(labels, wanted engine.Labels) bool {
	for name, value := range wanted {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}
