// Package config turns environment variables into one validated Config. One table (see variables) says what each is called,
// what it defaults to and what it accepts; loading, the help and the check for unknown names all read it. It never reads the
// environment by itself, opens nothing, makes nothing, and never prints a secret.
package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// The dialects of a Database.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// The values of Config.LogFormat.
const (
	LogText = "text"
	LogJSON = "json"
)

const (
	prefix     = "AICLI_"
	testPrefix = "AICLI_TEST_" // what tests are told; the server has no part in it
)

// Config is all that the server is told at its start. Paths are as given, cleaned: a relative one counts from the working
// directory.
type Config struct {
	Addr           string        // AICLI_ADDR: host:port to listen on
	TLSCert        string        // AICLI_TLS_CERT: path of a certificate with its chain; empty: none
	TLSKey         string        // AICLI_TLS_KEY: path of its key
	DataDir        string        // AICLI_DATA_DIR: the database, the signing key and, by default, the projects
	ProjectsRoot   string        // AICLI_PROJECTS_ROOT: holds a directory for each owner
	Database       Database      // AICLI_DATABASE_URL
	JWTSecret      Secret        // AICLI_JWT_SECRET: empty when none is given, for the server to make one
	AllowedOrigins []string      // AICLI_ALLOWED_ORIGINS: besides the server's own, each scheme://host[:port]
	Sockets        Sockets       // AICLI_MAX_…: bounds of WebSockets
	DefaultImage   string        // AICLI_DEFAULT_IMAGE: of a workspace that names none
	AllowedImages  []string      // AICLI_ALLOWED_IMAGES: patterns; none: see the help
	Workers        int           // AICLI_WORKERS: size of the pool
	NetworkPool    netip.Prefix  // AICLI_NETWORK_POOL: IPv4, masked
	Resync         time.Duration // AICLI_RESYNC_INTERVAL: between two comparisons of all workspaces with the engine
	OrphanGrace    time.Duration // AICLI_ORPHAN_GRACE: how long what no workspace knows of is left on the engine
	EventsFor      time.Duration // AICLI_EVENTS_FOR: how long the event log is kept
	EventsMost     int           // AICLI_EVENTS_MOST: how many events it has at most
	LogLevel       slog.Level    // AICLI_LOG_LEVEL
	LogFormat      string        // AICLI_LOG_FORMAT: LogText or LogJSON
	ShutdownGrace  time.Duration // AICLI_SHUTDOWN_GRACE: how long running work may go on after a stop is asked for
}

// Sockets are bounds of WebSockets.
type Sockets struct {
	Most           int // AICLI_MAX_SOCKETS: open at once
	Unsigned       int // AICLI_MAX_UNSIGNED_SOCKETS: of these, those of which nobody has signed in yet
	PerUser        int // AICLI_MAX_SOCKETS_PER_USER
	PerAddress     int // AICLI_MAX_SOCKETS_PER_ADDRESS: of remote addresses
	UserOperations int // AICLI_MAX_OPERATIONS_PER_USER: active at once on all sockets of a user
}

// Problems is what Load refuses: one line a variable, which says what is wrong with it and what is accepted.
type Problems []string //nolint:errname // it is read as a list of what to mend

// Error gives one problem a line.
func (p Problems) Error() string { return strings.Join(p, "\n") }

// Load reads each variable by getenv; an empty one counts as not set. Its error is Problems, with all of them, and comes with
// the zero Config.
func Load(getenv func(string) string) (Config, error) {
	var c Config
	var problems Problems
	for _, v := range variables {
		value := getenv(v.name)
		if value == "" {
			value = v.fallback(&c)
		}
		if value == "" {
			continue
		}
		if err := v.set(&c, value); err != nil {
			problems = append(problems, fmt.Sprintf("%s %v: give %s", v.name, err, v.accepts))
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		problems = append(problems, "AICLI_TLS_CERT and AICLI_TLS_KEY belong together: give both, or neither")
	}
	if len(problems) > 0 {
		return Config{}, problems
	}
	return c, nil
}

// Help lists the variables, one a line, with their defaults, what they are for and what they accept.
func Help() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	// Writing to a strings.Builder never fails.
	_, _ = fmt.Fprintln(w, "VARIABLE\tDEFAULT\tWHAT IT IS")
	for _, v := range variables {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s Give %s.\n", v.name, v.shown, v.help, v.accepts)
	}
	_, _ = fmt.Fprintln(w, "DOCKER_HOST\tas the Docker client\tThe engine, with DOCKER_TLS_VERIFY, DOCKER_CERT_PATH and DOCKER_API_VERSION.")
	_ = w.Flush()
	return b.String()
}

// Unknown gives the names in environ (NAME=value, as os.Environ gives it) that look like ours and are not, sorted: most likely
// they are misspelt. Those of tests are left out.
func Unknown(environ []string) []string {
	known := map[string]bool{}
	for _, v := range variables {
		known[v.name] = true
	}
	var unknown []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, testPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return slices.Compact(unknown)
}

// String gives a variable a line, without secrets.
func (c Config) String() string {
	var b strings.Builder
	for _, v := range variables {
		fmt.Fprintf(&b, "%s=%s\n", v.name, v.show(c))
	}
	return b.String()
}

// LogValue gives a group with an attribute a variable, without secrets.
func (c Config) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, len(variables))
	for _, v := range variables {
		key := strings.ToLower(strings.TrimPrefix(v.name, prefix))
		attrs = append(attrs, slog.String(key, v.show(c)))
	}
	return slog.GroupValue(attrs...)
}
