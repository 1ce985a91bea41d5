package mark_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/mark"
)

// database is one whose copies have its home and another identity.
type database struct {
	identity, home string
	settled        int
	fails          error
}

func (d *database) Identity(context.Context) (string, error) { return d.identity, d.fails }
func (d *database) Home(context.Context) (string, error)     { return d.home, d.fails }

func (d *database) Settle(_ context.Context, home string) error {
	if d.fails == nil {
		d.home = home
		d.settled++
	}
	return d.fails
}

var labels = engine.Labels{engine.LabelManaged: "true", engine.LabelInstallation: "inst_1"}

const volume = "aicli-inst_1"

// beside is an engine with one container of the installation, the database that made it, and a copy of that.
type beside struct {
	*testing.T
	fake           *enginetest.Fake
	original, copy *database
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	b := &beside{T: t, fake: enginetest.New(), original: &database{identity: "first", home: "first"}, copy: &database{identity: "second", home: "first"}}
	if _, err := b.fake.CreateContainer(t.Context(), engine.ContainerSpec{Name: "ws-1", Image: enginetest.BaseImage, Labels: labels}); err != nil {
		t.Fatal(err)
	}
	return b
}

// server is the mark as a server has it that starts on a database.
func (b *beside) server(on *database) *mark.Mark {
	b.Helper()
	m, err := mark.New(b.Context(), b.fake, on, labels)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func (b *beside) ours(what string, m *mark.Mark) {
	b.Helper()
	if err := m.Check(b.Context()); err != nil {
		b.Errorf("%s: %v", what, err)
	}
	b.looks(what, m, mark.Ours)
}

func (b *beside) refused(what string, m *mark.Mark) {
	b.Helper()
	if err := m.Check(b.Context()); !errors.Is(err, engine.ErrNotOurs) || !engine.Is(err, engine.KindUnavailable) {
		b.Errorf("%s: %v (%s), want a refusal", what, err, engine.KindOf(err))
	}
}

func (b *beside) looks(what string, m *mark.Mark, want mark.Owner) {
	b.Helper()
	if owner, err := m.Look(b.Context()); err != nil || owner != want {
		b.Errorf("%s: it looks as if the engine's things were %q, want %q: %v", what, owner, want, err)
	}
}

func (b *beside) prune() {
	b.Helper()
	if err := b.fake.RemoveVolume(b.Context(), volume); err != nil {
		b.Fatal(err)
	}
}

func (b *beside) adopts(m *mark.Mark, want mark.Owner) {
	b.Helper()
	got, err := m.Adopt(b.Context())
	if err != nil || got.Before != want || got.Containers != 1 || got.Networks != 0 {
		b.Errorf("the adoption says %+v, %v", got, err)
	}
}

func TestTheFirstStartMarksWhatIsThere(t *testing.T) {
	b := newBeside(t)
	m := b.server(b.original)
	b.looks("before", m, mark.Nobody)
	b.ours("the first", m)
	b.ours("another server of the same database", b.server(b.original))
	found, err := b.fake.Volumes(t.Context(), labels)
	if err != nil || len(found) != 1 || found[0].Name != volume || found[0].Labels[engine.LabelDatabase] != "first" {
		t.Errorf("the mark is %+v, %v", found, err)
	}
	if b.original.settled != 0 {
		t.Error("the database was written, which nothing was new to")
	}
}

func TestACopyIsRefusedUntilItAdopts(t *testing.T) {
	b := newBeside(t)
	first, second := b.server(b.original), b.server(b.copy)
	b.ours("the original", first)
	b.refused("the copy", second)
	b.looks("the copy", second, mark.Others)
	b.adopts(b.server(b.copy), mark.Others) // by a process of its own
	b.ours("the copy that has adopted", second)
	b.refused("the original after that", first)
	b.refused("the original, started again", b.server(b.original))
	b.adopts(b.server(b.copy), mark.Ours)
	b.adopts(b.server(b.original), mark.Others)
	b.ours("the original that has adopted", first)
	b.refused("the copy after that", second)
}

// TestAMarkThatWasRemovedIsMadeByItsOwner, whoever comes first.
func TestAMarkThatWasRemovedIsMadeByItsOwner(t *testing.T) {
	b := newBeside(t)
	first, second := b.server(b.original), b.server(b.copy)
	b.ours("the original", first)
	b.refused("the copy", second)
	b.prune()
	b.refused("the copy, without a mark", second)
	b.refused("the copy, started anew without a mark", b.server(b.copy))
	b.looks("the copy, without a mark", second, mark.Lost)
	b.ours("the original, without a mark", first)

	b.adopts(b.server(b.copy), mark.Others)
	b.refused("the original", first)
	b.prune()
	b.refused("the original, without the copy's mark", first)
	b.refused("the original, started anew without the copy's mark", b.server(b.original))
	b.ours("the copy, without its mark", b.server(b.copy))
	b.prune()
	b.adopts(b.server(b.original), mark.Lost)
	b.ours("the original that has adopted", first)
}

// TestACopyOnAnotherEngineNeedsNoAdoption: there is nothing that could belong to somebody else.
func TestACopyOnAnotherEngineNeedsNoAdoption(t *testing.T) {
	b := newBeside(t)
	b.fake = enginetest.New()
	m := b.server(b.copy)
	b.looks("before", m, mark.Nobody)
	b.ours("the copy", m)
	b.prune()
	b.ours("the copy, whose mark was removed", m)
	b.refused("the original", b.server(b.original))
}

func TestADatabaseThatIsAwayIsNoRefusal(t *testing.T) {
	b := newBeside(t)
	away := errors.New("the database is away")
	first, second := b.server(b.original), b.server(b.copy)
	b.original.fails, b.copy.fails = away, away
	b.ours("the original does not ask it", first)
	b.refused("the copy does not ask it", second)
	b.prune()
	if err := second.Check(t.Context()); !errors.Is(err, away) {
		t.Errorf("the copy, without a mark: %v", err)
	}
	b.copy.fails = nil
	b.adopts(second, mark.Lost)
	b.refused("the original cannot write whose its things are", first)
	b.original.fails = nil
	b.refused("the original", first)
	b.prune()
	b.refused("the original has written it", first)
}

// TestAnAdoptionBesideTheOthersServerSaysSo: it makes its mark again.
func TestAnAdoptionBesideTheOthersServerSaysSo(t *testing.T) {
	b := newBeside(t)
	first := b.server(b.original)
	b.ours("the original", first)
	m, err := mark.New(t.Context(), &rival{b.fake, func() { b.ours("the original, between", first) }}, b.copy, labels)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Adopt(t.Context()); !errors.Is(err, mark.ErrRival) {
		t.Errorf("got %v", err)
	}
	b.adopts(b.server(b.copy), mark.Others)
}

// rival does something between the removal of a mark and the making of the next.
type rival struct {
	engine.Engine

	between func()
}

func (r *rival) RemoveVolume(ctx context.Context, name string) error {
	defer r.between()
	return r.Engine.RemoveVolume(ctx, name)
}

// TestAVolumeOfTheNameThatSaysNothing is not taken for a mark of ours, and is replaced by an adoption.
func TestAVolumeOfTheNameThatSaysNothing(t *testing.T) {
	b := newBeside(t)
	if _, err := b.fake.CreateVolume(t.Context(), volume, nil); err != nil {
		t.Fatal(err)
	}
	m := b.server(b.original)
	b.refused("the original", m)
	b.adopts(m, mark.Nobody)
	b.ours("the original", m)
}
