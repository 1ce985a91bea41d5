package workspace

import (
	"strings"
	"testing"
)

func TestImageRules(t *testing.T) {
	for _, c := range []struct {
		rules   ImageRules
		image   string
		allowed bool
	}{
		{nil, "alpine", true}, {nil, "alpine:3.20", true}, {nil, "team/tool", true}, {nil, "registry.example:5000/a/b@sha256:" + strings.Repeat("0a", 32), true}, {nil, "8.8.8.8/x", true},
		{nil, "aicli-base:busybox", true}, {nil, "cafe", true},
		{nil, "localhost/x", false}, {nil, "localhost:5000/x", false}, {nil, "registry.localhost/x", false}, {nil, "127.0.0.1:5000/x", false}, {nil, "127.1:5000/x", false},
		{nil, "2130706433:80/x", false}, {nil, "0.0.0.0:80/x", false}, {nil, "10.1.2.3:80/x", false}, {nil, "192.168.0.1/x", false}, {nil, "172.16.0.1/x", false}, {nil, "169.254.169.254/x", false},
		{nil, "[::1]:5000/x", false}, {nil, "[fe80::1]:5000/x", false}, {nil, "[::ffff:127.0.0.1]:80/x", false}, {nil, "[fd00::1]/x", false},
		{nil, "sha256:" + strings.Repeat("a", 64), false}, {nil, strings.Repeat("a", 64), false}, {nil, "sha256", false},
		{nil, "", false}, {nil, "-x", false}, {nil, "Upper", false}, {nil, "--privileged", false}, {nil, "a b", false}, {nil, strings.Repeat("a", 256), false},
		{ImageRules{"docker.io/library/*"}, "alpine:3", true}, {ImageRules{"docker.io/library/*"}, "team/tool", false}, {ImageRules{"docker.io/library/*"}, "evil.example/docker.io/library/x", false},
		{ImageRules{"docker.io/library/alpine"}, "alpine", true}, {ImageRules{"docker.io/library/alpine"}, "alpine2", false},
		{ImageRules{"a.example/*", "127.0.0.1:5000/*"}, "127.0.0.1:5000/deep/er/x", true}, {ImageRules{"a.example/*"}, "a.example/team/x:1", true}, {ImageRules{"a.example/*"}, "a.example.evil/x", false},
		{ImageRules{"*"}, "127.0.0.1:5000/x", true}, {ImageRules{"*"}, "sha256:" + strings.Repeat("a", 64), false},
	} {
		err := c.rules.Check(c.image)
		if (err == nil) != c.allowed || err != nil && (CodeOf(err) != BadUserInput || strings.Join(err.(*Error).Field, ".") != "input.image") { //nolint:errorlint // it is never wrapped
			t.Errorf("%q by %q: %v", c.image, c.rules, err)
		}
	}
}

func TestNoNameOfAnImageIsAnID(t *testing.T) {
	for image, want := range map[string]string{
		"alpine": "alpine:latest", "docker.io/library/alpine:latest": "alpine:latest", "cafe": "cafe:latest", "deadbeefcafe": "deadbeefcafe:latest",
		"a.example/x": "a.example/x:latest", "a.example/x:1": "a.example/x:1", "x@sha256:" + strings.Repeat("0a", 32): "x@sha256:" + strings.Repeat("0a", 32), "?": "?",
	} {
		if got := ImageName(image); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}
