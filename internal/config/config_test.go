package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(env map[string]string) (Config, error) {
	return Load(func(name string) string { return env[name] })
}

func TestDefaults(t *testing.T) {
	c, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Workers < 8 || c.Workers%4 != 0 {
		t.Errorf("%d workers by default", c.Workers)
	}
	c.Workers = 0
	want := Config{
		Addr: "127.0.0.1:8080", DataDir: "data", Database: Database{Dialect: SQLite, DSN: "data/aicli.db"}, ProjectsRoot: "data/projects",
		Sockets:      Sockets{Most: 4096, Unsigned: 256, PerUser: 256, PerAddress: 1024, UserOperations: 2048},
		DefaultImage: "alpine:latest", NetworkPool: netip.MustParsePrefix("10.213.0.0/16"), LogLevel: slog.LevelInfo,
		Resync: 30 * time.Second, OrphanGrace: 10 * time.Minute, EventsFor: 7 * 24 * time.Hour, EventsMost: 100_000, LogFormat: LogText, ShutdownGrace: 20 * time.Second,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("have %+v\nwant %+v", c, want)
	}
}

func TestAccepted(t *testing.T) {
	key := strings.Repeat("k", 32)
	digest := "alpine@sha256:" + strings.Repeat("0a", 32)
	for _, c := range []struct {
		name, value string
		field       func(Config) any
		want        any
	}{
		{"AICLI_ADDR", ":0", func(c Config) any { return c.Addr }, ":0"},
		{"AICLI_ADDR", "[::1]:443", func(c Config) any { return c.Addr }, "[::1]:443"},
		{"AICLI_ADDR", "host.example:80", func(c Config) any { return c.Addr }, "host.example:80"},
		{"AICLI_DATA_DIR", "/srv/aicli/", func(c Config) any { return c.DataDir }, "/srv/aicli"},
		{"AICLI_DATA_DIR", "/srv", func(c Config) any { return c.Database.DSN.Reveal() }, "/srv/aicli.db"},
		{"AICLI_DATA_DIR", "/srv", func(c Config) any { return c.ProjectsRoot }, "/srv/projects"},
		{"AICLI_PROJECTS_ROOT", "elsewhere", func(c Config) any { return c.ProjectsRoot }, "elsewhere"},
		{"AICLI_DATABASE_URL", "sqlite:./x/y.db", func(c Config) any { return c.Database }, Database{SQLite, "x/y.db"}},
		{"AICLI_DATABASE_URL", "sqlite:/x/y z.db", func(c Config) any { return c.Database }, Database{SQLite, "/x/y z.db"}},
		{"AICLI_DATABASE_URL", "postgres://u:p%40@h:1/d?sslmode=disable", func(c Config) any { return c.Database },
			Database{Postgres, "postgres://u:p%40@h:1/d?sslmode=disable"}},
		{"AICLI_DATABASE_URL", "postgresql:///d?host=/run", func(c Config) any { return c.Database }, Database{Postgres, "postgresql:///d?host=/run"}},
		{"AICLI_JWT_SECRET", key, func(c Config) any { return c.JWTSecret.Reveal() }, key},
		{"AICLI_ALLOWED_ORIGINS", " https://a.example ,http://localhost:3000/,", func(c Config) any { return c.AllowedOrigins },
			[]string{"https://a.example", "http://localhost:3000"}},
		{"AICLI_ALLOWED_ORIGINS", "http://[::1]:3000", func(c Config) any { return c.AllowedOrigins }, []string{"http://[::1]:3000"}},
		{"AICLI_DEFAULT_IMAGE", "aicli-base:busybox", func(c Config) any { return c.DefaultImage }, "aicli-base:busybox"},
		{"AICLI_DEFAULT_IMAGE", "registry.example:5000/a/b_c:v1.2", func(c Config) any { return c.DefaultImage }, "registry.example:5000/a/b_c:v1.2"},
		{"AICLI_DEFAULT_IMAGE", digest, func(c Config) any { return c.DefaultImage }, digest},
		{"AICLI_ALLOWED_IMAGES", " docker.io/library/* ,127.0.0.1:5000/*,", func(c Config) any { return c.AllowedImages }, []string{"docker.io/library/*", "127.0.0.1:5000/*"}},
		{"AICLI_WORKERS", "1", func(c Config) any { return c.Workers }, 1},
		{"AICLI_WORKERS", "256", func(c Config) any { return c.Workers }, 256},
		{"AICLI_MAX_SOCKETS", "1", func(c Config) any { return c.Sockets.Most }, 1},
		{"AICLI_MAX_UNSIGNED_SOCKETS", "7", func(c Config) any { return c.Sockets.Unsigned }, 7},
		{"AICLI_MAX_SOCKETS_PER_USER", "8", func(c Config) any { return c.Sockets.PerUser }, 8},
		{"AICLI_MAX_SOCKETS_PER_ADDRESS", "9", func(c Config) any { return c.Sockets.PerAddress }, 9},
		{"AICLI_MAX_OPERATIONS_PER_USER", "1000000", func(c Config) any { return c.Sockets.UserOperations }, 1_000_000},
		{"AICLI_NETWORK_POOL", "10.0.0.0/8", func(c Config) any { return c.NetworkPool }, netip.MustParsePrefix("10.0.0.0/8")},
		{"AICLI_NETWORK_POOL", "192.168.7.16/28", func(c Config) any { return c.NetworkPool }, netip.MustParsePrefix("192.168.7.16/28")},
		{"AICLI_LOG_LEVEL", "DEBUG", func(c Config) any { return c.LogLevel }, slog.LevelDebug},
		{"AICLI_LOG_LEVEL", "error", func(c Config) any { return c.LogLevel }, slog.LevelError},
		{"AICLI_LOG_FORMAT", "json", func(c Config) any { return c.LogFormat }, LogJSON},
		{"AICLI_RESYNC_INTERVAL", "1s", func(c Config) any { return c.Resync }, time.Second},
		{"AICLI_ORPHAN_GRACE", "0s", func(c Config) any { return c.OrphanGrace }, time.Duration(0)},
		{"AICLI_EVENTS_FOR", "1m", func(c Config) any { return c.EventsFor }, time.Minute},
		{"AICLI_EVENTS_MOST", "1", func(c Config) any { return c.EventsMost }, 1},
		{"AICLI_SHUTDOWN_GRACE", "0s", func(c Config) any { return c.ShutdownGrace }, time.Duration(0)},
		{"AICLI_SHUTDOWN_GRACE", "1m30s", func(c Config) any { return c.ShutdownGrace }, 90 * time.Second},
	} {
		t.Run(c.name+" may be "+c.value, func(t *testing.T) {
			config, err := load(map[string]string{c.name: c.value})
			if err != nil {
				t.Fatal(err)
			}
			if got := c.field(config); !reflect.DeepEqual(got, c.want) {
				t.Errorf("have %#v, want %#v", got, c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, values := range map[string][]string{
		"AICLI_ADDR":      {"8080", "127.0.0.1", "127.0.0.1:http", ":65536", ":-1", "::1:80", "http://localhost:80", "a b:80", "h/x:80"},
		"AICLI_DATA_DIR":  {"a\x00b", "a\nb", strings.Repeat("d", 4097), "\xff"},
		"AICLI_LOG_LEVEL": {"loud", "info+2", "0"},
		"AICLI_DATABASE_URL": {
			"data.db", "mysql://h/d", "sqlite:", "sqlite:dir/", "sqlite://data.db", "sqlite::memory:", "sqlite:a.db?mode=ro", "sqlite:a\nb",
			"postgres:", "postgres://", "postgres:host/db", "postgres:///db", "postgres://u:p%@h/d", "postgres://u:p#q@h/d", "postgres://u@h:port/d",
		},
		"AICLI_PROJECTS_ROOT": {"a\tb"},
		"AICLI_TLS_CERT":      {"a\tb", "cert.pem"}, // without its key
		"AICLI_JWT_SECRET":    {"short", strings.Repeat("k", 31)},
		"AICLI_ALLOWED_ORIGINS": {
			"example.com", "*", "https://*.example.com", "ftp://h", "https://h/path", "https://u@h", "https://h?q", "https://h#f", "null",
			"https://", "https://:80", "https://ok.example,bad", strings.Repeat("http://h,", 101),
		},
		"AICLI_DEFAULT_IMAGE": {
			"Alpine", "alpine:", "alpine latest", "a//b", "-alpine", "alpine@sha256:0", "alpine\n", strings.Repeat("a", 256),
		},
		"AICLI_MAX_SOCKETS":     {"0", "-1", "1000001", "many"},
		"AICLI_WORKERS":         {"0", "-1", "257", "many", "1.5", "99999999999999999999"},
		"AICLI_NETWORK_POOL":    {"10.0.0.0", "10.0.0.0/7", "10.0.0.0/29", "10.213.0.1/16", "fd00::/16", "::ffff:10.0.0.0/104", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/8", "0.0.0.0/8", "x"},
		"AICLI_ALLOWED_IMAGES":  {"docker.io/Library/*", "a b", "[a]/x", "a?b", "x\\y", strings.Repeat("a,", 101), strings.Repeat("a", 256)},
		"AICLI_LOG_FORMAT":      {"xml", "JSON"},
		"AICLI_RESYNC_INTERVAL": {"30", "999ms", "61m", "often"},
		"AICLI_ORPHAN_GRACE":    {"10", "-1s", "721h", "late"},
		"AICLI_EVENTS_FOR":      {"7", "59s", "721h", "long"},
		"AICLI_EVENTS_MOST":     {"0", "-1", "10000001", "all"},
		"AICLI_SHUTDOWN_GRACE":  {"20", "-1s", "11m", "soon"},
	} {
		for _, value := range values {
			t.Run(fmt.Sprintf("%s may not be %.40q", name, value), func(t *testing.T) {
				_, err := load(map[string]string{name: value})
				if err == nil {
					t.Fatal("it was accepted")
				}
				if message := err.Error(); !strings.HasPrefix(message, name+" ") || strings.Contains(message, "\n") {
					t.Errorf("not one line that begins with the name: %q", message)
				}
			})
		}
	}
}

func TestAllProblemsAreReportedTogether(t *testing.T) {
	_, err := load(map[string]string{"AICLI_ADDR": "nowhere", "AICLI_WORKERS": "none", "AICLI_LOG_FORMAT": "xml"})
	if err == nil {
		t.Fatal("it was accepted")
	}
	want := `AICLI_ADDR is "nowhere": give HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, [::1]:8080 or :8080
AICLI_WORKERS is "none": give a whole number from 1 to 256
AICLI_LOG_FORMAT is "xml": give text or json`
	if err.Error() != want {
		t.Errorf("have\n%s\nwant\n%s", err, want)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	const password = "correct-horse-battery-staple-0123456789"
	c, err := load(map[string]string{"AICLI_JWT_SECRET": password, "AICLI_DATABASE_URL": "postgres://u:" + password + "@h/d"})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("configuration", "config", c, "secret", c.JWTSecret, "database", &c.Database)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("configuration", "config", c, "secret", c.JWTSecret, "database", &c.Database)
	shown := string(encoded) + logged.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown += fmt.Sprintf(verb, c) + fmt.Sprintf(verb, c.JWTSecret) + fmt.Sprintf(verb, &c.Database)
	}
	if strings.Contains(shown, password) || strings.Contains(shown, fmt.Sprintf("%x", password)) {
		t.Errorf("a secret is in %s", shown)
	}
	for name, value := range map[string]string{
		"AICLI_DATABASE_URL": "postgres://u:" + password + "%@h/d",
		"AICLI_JWT_SECRET":   password[:20],
	} {
		if _, err := load(map[string]string{name: value}); err == nil || strings.Contains(err.Error(), password[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknown(t *testing.T) {
	got := Unknown([]string{"PATH=/bin", "AICLI_WORKRES=3", "AICLI_WORKERS=3", "AICLI_ADR=", "AICLI_TEST_POSTGRES=x", "AICLI_ADR=again", "XAICLI_Y=1"})
	if want := []string{"AICLI_ADR", "AICLI_WORKRES"}; !reflect.DeepEqual(got, want) {
		t.Errorf("have %q, want %q", got, want)
	}
	if got := Unknown(nil); len(got) != 0 {
		t.Errorf("an empty environment has %q", got)
	}
}

func TestHelp(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(Help(), "\n"), "\n")
	if len(lines) != len(variables)+2 {
		t.Errorf("%d lines for %d variables:\n%s", len(lines), len(variables), Help())
	}
	for i, v := range variables {
		for _, want := range []string{v.name, v.shown, v.help} {
			if want == "" || !strings.Contains(lines[i+1], want) {
				t.Errorf("line %d lacks %q: %s", i+1, want, lines[i+1])
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{"", "127.0.0.1:8080", "postgres://u:p@h/d", "sqlite:a.db", "https://a.example,http://b", "10.0.0.0/8", "20s", "alpine:latest"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, v := range variables {
			c, err := load(map[string]string{v.name: value})
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: the problem has more than one line: %q", v.name, err)
			}
			if err == nil && (c.Addr == "" || c.Workers < 1 || !c.NetworkPool.IsValid() || c.Database.DSN == "" || c.DataDir == "" || c.ProjectsRoot == "") {
				t.Errorf("%s=%q leaves the configuration incomplete: %+v", v.name, value, c)
			}
		}
	})
}

func TestACertificateComesWithItsKey(t *testing.T) {
	c, err := load(map[string]string{"AICLI_TLS_CERT": "cert.pem", "AICLI_TLS_KEY": "key.pem"})
	if err != nil || c.TLSCert != "cert.pem" || c.TLSKey != "key.pem" {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := load(map[string]string{"AICLI_TLS_KEY": "key.pem"}); err == nil || !strings.Contains(err.Error(), "give both, or neither") {
		t.Errorf("a key alone: %v", err)
	}
}
