package enginetest

import (
	"maps"

	"github.com/aicli/aicli-web/internal/engine"
)

func exerciseVolumes(run runner) {
	run("a volume is what was asked for", func(b *bench) {
		made, err := b.engine.CreateVolume(b.ctx, b.prefix, b.labels)
		b.must(err)
		b.isVolume(made, b.labels)
		b.volumes(b.labels, 1)
	})
	run("a volume that is there keeps its labels, and tells them to who asks for one of its name", func(b *bench) {
		_, err := b.engine.CreateVolume(b.ctx, b.prefix, b.labels)
		b.must(err)
		again, err := b.engine.CreateVolume(b.ctx, b.prefix, b.otherLabels())
		b.must(err)
		b.isVolume(again, b.labels)
		b.volumes(b.labels, 1)
	})
	run("volumes are listed by all of the labels", func(b *bench) {
		_, err := b.engine.CreateVolume(b.ctx, b.prefix, b.labels)
		b.must(err)
		b.volumes(b.otherLabels(), 0)
	})
	run("of many who ask for the same volume at once all are told the labels of one", func(b *bench) {
		type answer struct {
			volume engine.Volume
			err    error
		}
		answers := make(chan answer, rivals)
		for i := range rivals {
			labels := maps.Clone(b.labels)
			labels[engine.LabelDatabase] = string(rune('a' + i))
			go func() {
				v, err := b.engine.CreateVolume(b.ctx, b.prefix, labels)
				answers <- answer{v, err}
			}()
		}
		told := make(map[string]bool)
		for range rivals {
			a := <-answers
			if a.err != nil { // one that is being made: who is refused asks again
				b.fails(a.err, engine.KindConflict, engine.KindInternal)
				continue
			}
			told[a.volume.Labels[engine.LabelDatabase]] = true
		}
		if len(told) != 1 || told[""] {
			b.Errorf("they were told %v", told)
		}
		there := b.volumes(b.labels, 1)
		if len(there) == 1 && !told[there[0].Labels[engine.LabelDatabase]] {
			b.Errorf("they were told %v, and it is %+v", told, there)
		}
	})
	run("a volume that is removed is gone, and gone it can be removed again", func(b *bench) {
		_, err := b.engine.CreateVolume(b.ctx, b.prefix, b.labels)
		b.must(err)
		b.must(b.engine.RemoveVolume(b.ctx, b.prefix))
		b.volumes(b.labels, 0)
		b.must(b.engine.RemoveVolume(b.ctx, b.prefix))
		made, err := b.engine.CreateVolume(b.ctx, b.prefix, b.otherLabels())
		b.must(err)
		b.isVolume(made, b.otherLabels())
		b.must(b.engine.RemoveVolume(b.ctx, b.prefix))
	})
	run("a volume's name that is none is invalid", func(b *bench) {
		_, err := b.engine.CreateVolume(b.ctx, "", b.labels)
		b.fails(err, engine.KindInvalid)
	})
}

// isVolume holds that a volume has the subtest's name and just these labels.
func (b *bench) isVolume(got engine.Volume, labels engine.Labels) {
	b.Helper()
	if got.Name != b.prefix || !maps.Equal(got.Labels, labels) {
		b.Errorf("got %+v, want %s with %v", got, b.prefix, labels)
	}
}

// volumes holds that so many carry the labels.
func (b *bench) volumes(labels engine.Labels, want int) []engine.Volume {
	b.Helper()
	found, err := b.engine.Volumes(b.ctx, labels)
	b.must(err)
	if len(found) != want {
		b.Errorf("got %+v, want %d", found, want)
	}
	return found
}
