package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The parsers' errors go on from the name of the variable, so they begin with a verb. Those of secret values repeat nothing of
// the value: url.Parse's own error would.

const sqliteScheme = "sqlite:"

var (
	// A registry's host may be in upper case, the rest of a name may not.
	imageShape = regexp.MustCompile(`^(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$`)
	// A host with a port, in brackets where it is an IPv6 address, and a name below it; * in the place of any part.
	patternShape = regexp.MustCompile(`^[a-z0-9*._:/-]+$`)
	levels       = map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
)

// is says which value is refused.
func is(value string) error {
	if r := []rune(value); len(r) > shownMax {
		return fmt.Errorf("begins with %q", string(r[:shownMax]))
	}
	return fmt.Errorf("is %q", value)
}

func unfitForPath(value string) bool {
	return len(value) > pathMax || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl)
}

func parseAddr(value string) (string, error) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return "", is(value)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", is(value)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' || r == '@' }) {
		return "", is(value)
	}
	return value, nil
}

func parsePath(value string) (string, error) {
	if unfitForPath(value) {
		return "", is(value)
	}
	return filepath.Clean(value), nil
}

// parseDataDir also refuses what would end or change a path inside SQLite's file: URL.
func parseDataDir(value string) (string, error) {
	if strings.ContainsAny(value, "?#%") {
		return "", is(value)
	}
	return parsePath(value)
}

func parseDatabase(value string) (Database, error) {
	if path, ok := strings.CutPrefix(value, sqliteScheme); ok {
		return parseSQLite(path)
	}
	u, err := url.Parse(value)
	if err != nil {
		return Database{}, errors.New("cannot be read as a URL")
	}
	if (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Opaque != "" || u.Fragment != "" {
		return Database{}, errors.New("names no database that the server can use")
	}
	if u.Host == "" && u.Query().Get("host") == "" {
		return Database{}, errors.New("names no host")
	}
	return Database{Dialect: Postgres, DSN: Secret(value)}, nil
}

func parseSQLite(path string) (Database, error) {
	switch {
	case path == "" || strings.HasSuffix(path, "/"):
		return Database{}, errors.New("names no file")
	case strings.HasPrefix(path, "//"):
		return Database{}, errors.New("has slashes that sqlite: does without")
	case strings.Contains(path, ":memory:"):
		return Database{}, errors.New("names memory, which does not outlive the server")
	case unfitForPath(path) || strings.ContainsAny(path, "?#%"):
		return Database{}, errors.New("has characters that a database's file may not have")
	}
	return Database{Dialect: SQLite, DSN: Secret(filepath.Clean(path))}, nil
}

func parseSecret(value string) (Secret, error) {
	if len(value) < secretMin {
		return "", fmt.Errorf("is too short (%d bytes)", len(value))
	}
	return Secret(value), nil
}

func parseOrigins(value string) ([]string, error) {
	var list []string
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		u, err := url.Parse(item)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(u.Host, "*") {
			return nil, fmt.Errorf("has an item that %w", is(item))
		}
		if len(list) == originsMax {
			return nil, fmt.Errorf("has more than %d items", originsMax)
		}
		list = append(list, u.Scheme+"://"+strings.ToLower(u.Host))
	}
	return list, nil
}

func parseImage(value string) (string, error) {
	if len(value) > imageMax || !imageShape.MatchString(value) || strings.Contains(value, "//") {
		return "", is(value)
	}
	return value, nil
}

// count gives what reads a whole number from 1 to most.
func count(most int) func(string) (int, error) {
	return func(value string) (int, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > most {
			return 0, is(value)
		}
		return n, nil
	}
}

func parsePool(value string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(value)
	if err != nil || !p.Addr().Is4() || p.Bits() < poolBitsMin || p.Bits() > poolBitsMax {
		return netip.Prefix{}, is(value)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%w, whose network begins at %s", is(value), p.Masked().Addr())
	}
	// Networks of at least eight bits lie wholly within one first octet.
	first := p.Addr().As4()[0]
	linkLocal := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16)
	if first == 0 || first == 127 || first >= 224 || p.Overlaps(linkLocal) {
		return netip.Prefix{}, fmt.Errorf("%w, which is reserved for other uses", is(value))
	}
	return p, nil
}

func parseLevel(value string) (slog.Level, error) {
	level, ok := levels[strings.ToLower(value)]
	if !ok {
		return 0, is(value)
	}
	return level, nil
}

func parseFormat(value string) (string, error) {
	if value != LogText && value != LogJSON {
		return "", is(value)
	}
	return value, nil
}

// span reads a duration that is neither shorter nor longer than may be.
func span(least, most time.Duration) func(string) (time.Duration, error) {
	return func(value string) (time.Duration, error) {
		d, err := time.ParseDuration(value)
		if err != nil || d < least || d > most {
			return 0, is(value)
		}
		return d, nil
	}
}

// parsePatterns reads patterns of image names.
func parsePatterns(value string) (patterns []string, err error) {
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if !patternShape.MatchString(part) || len(part) > imageMax || len(patterns) == patternsMax {
			return nil, is(value)
		}
		patterns = append(patterns, part)
	}
	return patterns, nil
}
