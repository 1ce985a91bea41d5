// Package main_test holds the architecture.
package main_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const module = "github.com/aicli/aicli-web/"

// mayImport is the architecture: which room may import which of ours. Test support may be imported by tests only.
var mayImport = map[string][]string{
	"graph":                      {"internal/workspace", "internal/task", "internal/auth", "internal/isolation", "graph/model"},
	"graph/model":                {"internal/workspace", "internal/task", "internal/auth"},
	"migrations":                 {},
	"web":                        {},
	"internal/auth":              {},
	"internal/config":            {},
	"internal/doctor":            {"internal/engine"},
	"internal/engine":            {},
	"internal/engine/docker":     {"internal/engine"},
	"internal/engine/enginetest": {"internal/engine"},
	"internal/hub":               {},
	"internal/isolation":         {"internal/workspace", "internal/engine"},
	"internal/lifecycle":         {"internal/workspace", "internal/task", "internal/engine", "internal/isolation"},
	"internal/mark":              {"internal/engine"},
	"internal/monitor":           {"internal/workspace", "internal/engine", "internal/hub", "internal/isolation"},
	"internal/project":           {},
	"internal/store":             {"internal/workspace", "internal/task", "migrations"},
	"internal/store/storetest":   {"internal/store", "internal/workspace", "internal/task"},
	"internal/task":              {},
	"internal/transport":         {"graph", "internal/auth", "web"},
	"internal/workspace":         {"internal/task", "internal/hub"},
}

// onlyIn says which rooms may import a package of somebody else's.
var onlyIn = map[string][]string{
	"gorm.io/":                     {"internal/store"},
	"github.com/docker/docker":     {"internal/engine/docker"},
	"github.com/gorilla/websocket": {"internal/transport"},
	"github.com/99designs/gqlgen":  {"graph", "graph/model", "internal/transport"},
	"github.com/vektah/gqlparser":  {"graph", "graph/model", "internal/transport"},
	"github.com/golang-jwt/jwt":    {"internal/auth"},
	"github.com/pressly/goose":     {"internal/store"},
	"github.com/jackc/pgx":         {"internal/store", "internal/store/storetest"},
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git" || entry.Name() == ".cache" || ownModule(path)) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		checkFile(t, filepath.ToSlash(path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no file was read")
	}
}

// ownModule reports whether a directory below this one is a module of its own: it is no part of the server, and may import any room.
func ownModule(path string) bool {
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil && path != "."
}

func checkFile(t *testing.T, path string) {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	room := filepath.ToSlash(filepath.Dir(path))
	allowed, known := mayImport[room]
	if !known && room != "." {
		t.Errorf("%s: the room %s is not in mayImport. Say there what it may import.", path, room)
		return
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if ours, is := strings.CutPrefix(imported, module); is && room != "." && !slices.Contains(allowed, ours) {
			t.Errorf("%s: %s may not import %s", path, room, ours)
		}
		for prefix, rooms := range onlyIn {
			if strings.HasPrefix(imported, prefix) && !slices.Contains(rooms, room) {
				t.Errorf("%s: only %s may import %s", path, strings.Join(rooms, ", "), imported)
			}
		}
	}
	if room == "." || strings.HasSuffix(room, "test") {
		return
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"os.Getenv(", "os.LookupEnv(", "os.Environ("} {
		if strings.Contains(string(source), call) {
			t.Errorf("%s: only main may call %s…): pass the environment in", path, call)
		}
	}
}
