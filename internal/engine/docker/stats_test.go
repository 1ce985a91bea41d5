package docker

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestNextStats(t *testing.T) {
	const head = `{"read":"2026-01-02T03:04:05Z","pids_stats":{"current":3},"cpu_stats":{"cpu_usage":{"total_usage":7}},`
	for _, c := range []struct {
		name, memory string
		want         int64
	}{
		{"version 1 of cgroups names the total", `{"usage":100,"stats":{"total_inactive_file":30,"inactive_file":1}}`, 70},
		{"version 2 of cgroups has no total", `{"usage":100,"stats":{"inactive_file":30}}`, 70},
		{"more cache than memory leaves nothing", `{"usage":10,"stats":{"inactive_file":30}}`, 0},
		{"no word on the cache", `{"usage":100}`, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := nextStats(json.NewDecoder(strings.NewReader(head + `"memory_stats":` + c.memory + `}`)))
			if err != nil || got.MemoryBytes != c.want || got.Pids != 3 || got.CPUNanos != 7 {
				t.Errorf("got %+v, %v; want %d bytes", got, err, c.want)
			}
		})
	}
	t.Run("traffic is summed over networks and devices", func(t *testing.T) {
		got, err := nextStats(json.NewDecoder(strings.NewReader(head + `"networks":{"eth0":{"rx_bytes":1,"tx_bytes":2},
			"eth1":{"rx_bytes":10,"tx_bytes":20}},"blkio_stats":{"io_service_bytes_recursive":[
			{"op":"Read","value":1},{"op":"read","value":2},{"op":"Write","value":4},{"op":"Total","value":7}]}}`)))
		if err != nil || got.NetworkRxBytes != 11 || got.NetworkTxBytes != 22 || got.BlockReadBytes != 3 || got.BlockWriteBytes != 4 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("an empty reading is of a container that does not run", func(t *testing.T) {
		for _, empty := range []string{`{"read":"0001-01-01T00:00:00Z","name":"/a"}`, `{"read":"2026-01-02T03:04:05Z"}`} {
			if _, err := nextStats(json.NewDecoder(strings.NewReader(empty))); !errors.Is(err, errNotRunning) {
				t.Errorf("%s: got %v", empty, err)
			}
		}
	})
}
