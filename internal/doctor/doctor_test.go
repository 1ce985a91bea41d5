package doctor_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/doctor"
	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEngine(t *testing.T) {
	pool := netip.MustParsePrefix("10.213.0.0/16")
	look := func(f engine.Engine, image string) (string, bool) {
		var b strings.Builder
		good := doctor.Print(&b, doctor.Engine(t.Context(), f, image, pool))
		return b.String(), good
	}
	t.Run("a good engine", func(t *testing.T) {
		text, good := look(enginetest.New(), enginetest.BaseImage)
		if !good || !strings.Contains(text, "Fake 1.0") || !strings.Contains(text, "4096 workspaces") || strings.Contains(text, "lacks") {
			t.Errorf("good %t:\n%s", good, text)
		}
	})
	t.Run("an engine that is away is bad", func(t *testing.T) {
		f := enginetest.New()
		f.SetDown(true)
		if text, good := look(f, enginetest.BaseImage); good || !strings.Contains(text, "does not answer") {
			t.Errorf("good %t:\n%s", good, text)
		}
	})
	t.Run("what an engine of its kind lacks is a note each", func(t *testing.T) {
		text, good := look(lesser{enginetest.New()}, enginetest.BaseImage)
		if !good || !strings.Contains(text, "Lesser 1.0") || !strings.Contains(text, "note  engine    It cannot fly.\nnote  engine    It cannot sing.\n") {
			t.Errorf("good %t:\n%s", good, text)
		}
	})
	t.Run("a missing image is a note", func(t *testing.T) {
		if text, good := look(enginetest.New(), "none"); !good || !strings.Contains(text, "lacks the default image, none") {
			t.Errorf("good %t:\n%s", good, text)
		}
	})
	t.Run("somebody else's network in the pool is a note", func(t *testing.T) {
		f := enginetest.New()
		if _, err := f.CreateNetwork(t.Context(), engine.NetworkSpec{Name: "theirs", Subnet: "10.213.4.0/24"}); err != nil {
			t.Fatal(err)
		}
		if text, good := look(f, enginetest.BaseImage); !good || !strings.Contains(text, "theirs (10.213.4.0/24)") {
			t.Errorf("good %t:\n%s", good, text)
		}
	})
}

func TestMounts(t *testing.T) {
	f := enginetest.New()
	look := func(visible bool) doctor.Finding {
		return doctor.Mounts(t.Context(), f, func(c engine.Container) bool {
			if c.Pid == 0 || c.State != engine.Running {
				t.Errorf("asked about %+v", c)
			}
			return visible
		})
	}
	if got := look(true); got.Verdict != doctor.Note || !strings.Contains(got.Text, "while a workspace runs") {
		t.Errorf("without a container: %+v", got)
	}
	id, err := f.CreateContainer(t.Context(), engine.ContainerSpec{Name: "one", Image: enginetest.BaseImage, Entrypoint: []string{"sleep", "infinity"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := look(true); got.Verdict != doctor.Note {
		t.Errorf("with a container that does not run: %+v", got)
	}
	if err := f.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := look(true); got.Verdict != doctor.OK {
		t.Errorf("got %+v", got)
	}
	if got := look(false); got.Verdict != doctor.Note || !strings.Contains(got.Text, "may not look into containers") {
		t.Errorf("got %+v", got)
	}
	f.SetDown(true)
	if got := look(true); got.Verdict != doctor.Bad {
		t.Errorf("of an engine that is away: %+v", got)
	}
}

// lesser is an engine of another kind.
type lesser struct{ *enginetest.Fake }

func (l lesser) Info(ctx context.Context) (engine.Info, error) {
	info, err := l.Fake.Info(ctx)
	info.Name, info.Lacks = "Lesser", []string{"It cannot fly.", "It cannot sing."}
	return info, err
}
