package docker

import (
	"fmt"
	"os"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
)

// TestContract holds the real daemon to what the fake is held to.
func TestContract(t *testing.T) {
	enginetest.Exercise(t, func(t *testing.T) engine.Engine {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}, enginetest.ExerciseOptions{
		Image: enginetest.BaseImage, Prefix: fmt.Sprint("engine-contract-", os.Getpid()),
		Subnets: []string{"10.215.0.0/28", "10.215.0.16/28", "10.215.0.32/28"},
		Pause: func(t *testing.T, e engine.Engine, id string) {
			t.Helper()
			if err := e.(*Engine).api.ContainerPause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		},
	})
}
