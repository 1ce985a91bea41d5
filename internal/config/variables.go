package config

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// variable is one row of the table.
type variable struct {
	name     string
	help     string                 // what it is for: a sentence
	accepts  string                 // for the help and for problems: ends the sentence "give …"
	shown    string                 // the default, in words
	fallback func(c *Config) string // the default, as it would be given; empty leaves the field at its zero
	set      func(c *Config, value string) error
	show     func(c Config) string // the value, without secrets
}

const (
	secretMin  = 32               // bytes: HS256 is only as strong as a key of its hash's own length (RFC 7518, 3.2)
	workersMin = 8                // of the default: a task waits for the engine most of the time, which makes containers fastest about eight at once
	workersMax = 256              // an engine makes about ten containers a second, however many are asked for at once
	graceMax   = 10 * time.Minute // whoever supervises the server kills it long before
	// orphanGraceMax is a month: longer means never.
	orphanGraceMax = 720 * time.Hour
	eventsForMax   = 720 * time.Hour
	eventsMax      = 10_000_000 // some ten gigabytes
	socketsMax     = 1_000_000  // more file descriptors than a process gets
	poolBitsMin    = 8
	poolBitsMax    = 28   // the subnet of one workspace
	pathMax        = 4096 // bytes: what Linux takes
	originsMax     = 100  // every request of a browser is compared with them; more is a mistake
	patternsMax    = 100  // each image is compared with them
	imageMax       = 255  // characters: what registries take for a name
	shownMax       = 80   // characters of a refused value that a problem repeats: it stays one line
)

func literal(value string) func(*Config) string { return func(*Config) string { return value } }

func below(name string) func(*Config) string {
	return func(c *Config) string { return filepath.Join(c.DataDir, name) }
}

// variables is the table, never changed. A default may be made from the fields of the rows above it.
var variables = slices.Concat(serverVariables(), socketVariables(), workVariables(), logVariables())

func serverVariables() []variable {
	return []variable{
		{
			name: "AICLI_ADDR", help: "Address to listen on.",
			accepts: "HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, [::1]:8080 or :8080",
			shown:   "127.0.0.1:8080", fallback: literal("127.0.0.1:8080"),
			set:  func(c *Config, v string) error { return assign(&c.Addr, v, parseAddr) },
			show: func(c Config) string { return c.Addr },
		},
		{
			name: "AICLI_TLS_CERT", help: "Certificate that the server shows, with those that lead to its authority, in PEM. Read at the start.",
			accepts: "the path of a file of at most 4096 bytes, without control characters",
			shown:   "none: no TLS", fallback: literal(""),
			set:  func(c *Config, v string) error { return assign(&c.TLSCert, v, parsePath) },
			show: func(c Config) string { return c.TLSCert },
		},
		{
			name: "AICLI_TLS_KEY", help: "Private key of the certificate, in PEM.",
			accepts: "the path of a file of at most 4096 bytes, without control characters",
			shown:   "none", fallback: literal(""),
			set:  func(c *Config, v string) error { return assign(&c.TLSKey, v, parsePath) },
			show: func(c Config) string { return c.TLSKey },
		},
		{
			name: "AICLI_DATA_DIR", help: "Directory of the database, the signing key and the projects.",
			accepts: "the path of a directory of at most 4096 bytes, without control characters, ?, # and %",
			shown:   "./data", fallback: literal("./data"),
			set:  func(c *Config, v string) error { return assign(&c.DataDir, v, parseDataDir) },
			show: func(c Config) string { return c.DataDir },
		},
		{
			name: "AICLI_PROJECTS_ROOT", help: "Directory that holds each owner's projects in a directory of its own.",
			accepts: "the path of a directory of at most 4096 bytes, without control characters",
			shown:   "AICLI_DATA_DIR/projects", fallback: below("projects"),
			set:  func(c *Config, v string) error { return assign(&c.ProjectsRoot, v, parsePath) },
			show: func(c Config) string { return c.ProjectsRoot },
		},
		{
			name: "AICLI_DATABASE_URL", help: "Database.",
			accepts: "sqlite:PATH (a file's path, without ?, # and %), or postgres://USER:PASSWORD@HOST:PORT/NAME with what is special in the password written as %XX",
			shown:   "sqlite:AICLI_DATA_DIR/aicli.db",
			fallback: func(c *Config) string {
				return sqliteScheme + filepath.Join(c.DataDir, "aicli.db")
			},
			set:  func(c *Config, v string) error { return assign(&c.Database, v, parseDatabase) },
			show: func(c Config) string { return c.Database.String() },
		},
		{
			name: "AICLI_JWT_SECRET", help: "Key that signs bearer tokens (HS256).",
			accepts: fmt.Sprintf("at least %d random bytes, for example what openssl rand -hex 32 prints", secretMin),
			shown:   "made on the first start, kept in AICLI_DATA_DIR", fallback: literal(""),
			set:  func(c *Config, v string) error { return assign(&c.JWTSecret, v, parseSecret) },
			show: func(c Config) string { return c.JWTSecret.String() },
		},
		{
			name: "AICLI_ALLOWED_ORIGINS", help: "Origins of web pages that may call the server, besides its own.",
			accepts: "origins such as https://app.example.com or http://localhost:5173, at most 100, with commas between them",
			shown:   "none", fallback: literal(""),
			set:  func(c *Config, v string) error { return assign(&c.AllowedOrigins, v, parseOrigins) },
			show: func(c Config) string { return strings.Join(c.AllowedOrigins, ",") },
		},
	}
}

func socketVariables() []variable {
	bound := func(name, help string, fallback int, field func(*Config) *int) variable {
		return variable{
			name: name, help: help, accepts: fmt.Sprintf("a whole number from 1 to %d", socketsMax),
			shown: strconv.Itoa(fallback), fallback: literal(strconv.Itoa(fallback)),
			set:  func(c *Config, v string) error { return assign(field(c), v, count(socketsMax)) },
			show: func(c Config) string { return strconv.Itoa(*field(&c)) },
		}
	}
	return []variable{
		bound("AICLI_MAX_SOCKETS", "How many WebSockets may be open at once. One with a subscription takes about 40 kB.", 4096, func(c *Config) *int { return &c.Sockets.Most }),
		bound("AICLI_MAX_UNSIGNED_SOCKETS", "How many of them may be those that have not signed in yet.", 256, func(c *Config) *int { return &c.Sockets.Unsigned }),
		bound("AICLI_MAX_SOCKETS_PER_USER", "How many WebSockets one user may have open at once.", 256, func(c *Config) *int { return &c.Sockets.PerUser }),
		bound("AICLI_MAX_SOCKETS_PER_ADDRESS", "How many WebSockets one remote address may have open at once, or one IPv6 network of 64 bits. Behind a proxy all have the proxy's address: set it as high as AICLI_MAX_SOCKETS there.",
			1024, func(c *Config) *int { return &c.Sockets.PerAddress }),
		bound("AICLI_MAX_OPERATIONS_PER_USER", "How many operations one user may have active at once over WebSockets.", 2048, func(c *Config) *int { return &c.Sockets.UserOperations }),
	}
}

func workVariables() []variable {
	return []variable{
		{
			name: "AICLI_DEFAULT_IMAGE", help: "Image of a workspace that names none.",
			accepts: "an image reference in lower case, such as alpine:latest or registry.example.com/team/image:1.2",
			shown:   "alpine:latest", fallback: literal("alpine:latest"),
			set:  func(c *Config, v string) error { return assign(&c.DefaultImage, v, parseImage) },
			show: func(c Config) string { return c.DefaultImage },
		},
		{
			name: "AICLI_ALLOWED_IMAGES", help: "Images that workspaces may name, besides the default one, by patterns of their full names without tag and digest, in which * stands for anything.",
			accepts: "patterns such as docker.io/library/* or registry.example.com/team/tool, at most 100, with commas between them",
			shown:   "all, but for registries on this machine and at private or link-local addresses", fallback: literal(""),
			set:  func(c *Config, v string) error { return assign(&c.AllowedImages, v, parsePatterns) },
			show: func(c Config) string { return strings.Join(c.AllowedImages, ",") },
		},
		{
			name: "AICLI_WORKERS", help: "How many tasks run at once.",
			accepts: fmt.Sprintf("a whole number from 1 to %d", workersMax),
			shown:   fmt.Sprintf("4 × cores, at least %d", workersMin),
			fallback: func(*Config) string {
				return strconv.Itoa(min(max(4*runtime.NumCPU(), workersMin), workersMax))
			},
			set:  func(c *Config, v string) error { return assign(&c.Workers, v, count(workersMax)) },
			show: func(c Config) string { return strconv.Itoa(c.Workers) },
		},
		{
			name: "AICLI_NETWORK_POOL", help: "Addresses that the networks of workspaces are cut from, a /28 each.",
			accepts: fmt.Sprintf("the first address of an IPv4 network and its length, from /%d to /%d, that nothing else uses, for example 10.213.0.0/16", poolBitsMin, poolBitsMax),
			shown:   "10.213.0.0/16", fallback: literal("10.213.0.0/16"),
			set:  func(c *Config, v string) error { return assign(&c.NetworkPool, v, parsePool) },
			show: func(c Config) string { return c.NetworkPool.String() },
		},
		{
			name: "AICLI_RESYNC_INTERVAL", help: "How often all workspaces are compared with the engine, besides what its events tell.",
			accepts: "a duration from 1s to 1h, for example 30s",
			shown:   "30s", fallback: literal("30s"),
			set:  func(c *Config, v string) error { return assign(&c.Resync, v, span(time.Second, time.Hour)) },
			show: func(c Config) string { return c.Resync.String() },
		},
		{
			name: "AICLI_ORPHAN_GRACE", help: "How long containers, networks and subnets of this installation that no workspace knows of are left, before they are removed.",
			accepts: "a duration from 0s to 720h, for example 10m",
			shown:   "10m", fallback: literal("10m"),
			set:  func(c *Config, v string) error { return assign(&c.OrphanGrace, v, span(0, orphanGraceMax)) },
			show: func(c Config) string { return c.OrphanGrace.String() },
		},
		{
			name: "AICLI_SHUTDOWN_GRACE", help: "How long running work may go on after a stop is asked for, before it is cut and put back.",
			accepts: "a duration from 0s to 10m, for example 20s",
			shown:   "20s", fallback: literal("20s"),
			set:  func(c *Config, v string) error { return assign(&c.ShutdownGrace, v, span(0, graceMax)) },
			show: func(c Config) string { return c.ShutdownGrace.String() },
		},
	}
}

// logVariables are those of the event log, and of the server's own.
func logVariables() []variable {
	return []variable{
		{
			name: "AICLI_EVENTS_FOR", help: "How long the event log is kept, so that streams can be resumed.",
			accepts: "a duration from 1m to 720h, for example 168h",
			shown:   "168h", fallback: literal("168h"),
			set:  func(c *Config, v string) error { return assign(&c.EventsFor, v, span(time.Minute, eventsForMax)) },
			show: func(c Config) string { return c.EventsFor.String() },
		},
		{
			name: "AICLI_EVENTS_MOST", help: "How many events the log has at most; the oldest go first.",
			accepts: fmt.Sprintf("a whole number from 1 to %d", eventsMax),
			shown:   "100000", fallback: literal("100000"),
			set:  func(c *Config, v string) error { return assign(&c.EventsMost, v, count(eventsMax)) },
			show: func(c Config) string { return strconv.Itoa(c.EventsMost) },
		},
		{
			name: "AICLI_LOG_LEVEL", help: "What is logged: this and what is graver.",
			accepts: "debug, info, warn or error",
			shown:   "info", fallback: literal("info"),
			set:  func(c *Config, v string) error { return assign(&c.LogLevel, v, parseLevel) },
			show: func(c Config) string { return strings.ToLower(c.LogLevel.String()) },
		},
		{
			name: "AICLI_LOG_FORMAT", help: "How the log is written.",
			accepts: "text or json",
			shown:   "text", fallback: literal(LogText),
			set:  func(c *Config, v string) error { return assign(&c.LogFormat, v, parseFormat) },
			show: func(c Config) string { return c.LogFormat },
		},
	}
}

func assign[T any](field *T, value string, parse func(string) (T, error)) error {
	parsed, err := parse(value)
	if err != nil {
		return err
	}
	*field = parsed
	return nil
}
