package workspace

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// The exit codes of an init that could not run the command that it was given: it may not be executed, or is not there.
const (
	exitNotExecutable = 126
	exitNotThere      = 127
)

// initSaid is what an init writes then: Docker's (tini) and Podman's (catatonit). A command may exit with the same codes by itself, as shells do.
var initSaid = regexp.MustCompile(`^\[FATAL tini \(\d+\)\] (exec .+ failed: .+)$|catatonit.*(failed to exec pid1: .+)$`)

// saidMost bounds how much of that is shown, in bytes.
const saidMost = 300

// CannotRun says why a command cannot be run, from how its container ended; nil when it was run. It is no use to try again. A command that writes the
// same words and exits with the same code is taken for one that cannot be run, which harms its own workspace alone.
func CannotRun(command []string, e Exit) *Error {
	if e.Code != exitNotExecutable && e.Code != exitNotThere || len(e.LogTail) == 0 {
		return nil
	}
	found := initSaid.FindStringSubmatch(e.LogTail[len(e.LogTail)-1])
	if found == nil {
		return nil
	}
	if slices.Equal(command, keepAlive) {
		return badInput("The image has no "+keepAlive[0]+", which keeps a workspace running that names no command. Give the workspace a command.", "input", "command")
	}
	said := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(found[1]+found[2], ""))
	return badInput(fmt.Sprintf("The command cannot be run: %.*s. Check the command, and that the image has it.", saidMost, said), "input", "command")
}
