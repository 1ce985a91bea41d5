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
	third := os.Getpid() % 256 // two runs on one daemon seldom meet
	var subnets []string
	for host := 0; host < 48; host += 16 {
		subnets = append(subnets, fmt.Sprintf("10.215.%d.%d/28", third, host))
	}
	enginetest.Exercise(t, func(t *testing.T) engine.Engine {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}, enginetest.ExerciseOptions{
		Image: enginetest.BaseImage, Prefix: fmt.Sprint("engine-contract-", os.Getpid()),
		Subnets: subnets,
		Pause: func(t *testing.T, e engine.Engine, id string) {
			t.Helper()
			if err := e.(*Engine).api.ContainerPause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		},
	})
}
