package lifecycle

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/aicli/aicli-web/internal/engine"
)

// refusals are what engines say of what its owner can put right, in Docker's words from 20.10 to 28 and Podman's: what it means, and the field at fault. The
// first one that matches counts; ${1} is what the pattern has caught.
var refusals = []struct {
	said    *regexp.Regexp
	means   string
	atFault string
}{
	{regexp.MustCompile(`(?i)unable to find (?:user|group) ([^\s:]+)|no matching entries in (?:passwd|group) file`), "The image names a user or a group ${1} that it does not have. Choose another image.", "image"},
	{regexp.MustCompile(`(?i)exec format error`), "The command is made for another kind of processor. Choose an image for this machine.", "image"},
	{regexp.MustCompile(`(?i)Cannot mkdir: /workspace|mkdir [^\s]*/workspace: not a directory`), "The image has a file at /workspace, where the project is mounted. Choose another image.", "image"},
	{regexp.MustCompile(`exec: "([^"]*)": (?:executable file not found|no such file or directory|stat )`), "The image does not have the command ${1}. Check the command and the image.", "command"},
	{regexp.MustCompile(`exec: "([^"]*)": permission denied`), "The command ${1} may not be executed. Check its mode in the image.", "command"},
	{regexp.MustCompile(`(?i)executable file .?([^\s"` + "`" + `]+).? not found in \$PATH`), "The image does not have the command ${1}. Check the command and the image.", "command"},
	{regexp.MustCompile(`(?i)Range of CPUs is from ([0-9.]+ to [0-9.]+)`), "The number of cores must be from ${1} on this machine.", "resources.cpus"},
	{regexp.MustCompile(`(?i)Minimum memory limit allowed is (\w+)`), "The memory must be at least ${1}.", "resources.memoryBytes"},
	{regexp.MustCompile(`(?i)bind source path does not exist|statfs [^\s:]+: no such file`), "The project directory is missing on the server. Have it put back, or delete the workspace and create another one.", "projectPath"},
	{regexp.MustCompile(`(?i)invalid (?:environment variable|reference format)`), "A setting of the workspace has a form that the engine does not take.", ""},
}

var (
	// hostPath is a path; what is a command's own stands in one of the phrases above.
	hostPath = regexp.MustCompile(`(?:/[^\s:"',;()]+)+/?`)
	longID   = regexp.MustCompile(`\b[0-9a-f]{12,64}\b`)
	prefixes = regexp.MustCompile(`^(?:(?:Error response from daemon|failed to create (?:shim )?task(?: for container)?|OCI runtime create failed|OCI runtime error|runc create failed|runc|crun|unable to start container process|container_linux\.go:\d+|starting container process caused):\s*)+`)
)

// refusedMost bounds how much of an engine's own words is shown, in characters.
const refusedMost = 200

// refusal says why the engine refuses a workspace, and which field is at fault, where one is. Words that are not known are shown without paths of the host
// and ids.
func refusal(err *engine.Error) (message string, field []string) {
	said := err.Err.Error()
	for _, r := range refusals {
		found := r.said.FindStringSubmatchIndex(said)
		if found == nil {
			continue
		}
		message = strings.Join(strings.Fields(string(r.said.ExpandString(nil, r.means, said, found))), " ")
		if r.atFault != "" {
			field = append([]string{"input"}, strings.Split(r.atFault, ".")...)
		}
		return printable(message), field
	}
	return "The container engine refuses this workspace: " + cleaned(said) + ".", nil
}

// cleaned are an engine's words without what is the host's.
func cleaned(said string) string {
	said = prefixes.ReplaceAllString(said, "")
	said = longID.ReplaceAllString(hostPath.ReplaceAllString(said, "…"), "…")
	said = strings.TrimRight(strings.TrimSuffix(strings.TrimSpace(printable(said)), ": unknown"), ". ")
	return shortened(said)
}

func shortened(said string) string {
	if letters := []rune(said); len(letters) > refusedMost {
		return string(letters[:refusedMost]) + "…"
	}
	return said
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// holdersShown is how many of those that hold a network are named.
const holdersShown = 3

// foreign leaves the workspace's own container out of what holds its network: nobody can put that right but the server.
func foreign(err error, own string) error {
	if refused, ok := errors.AsType[*engine.Error](err); ok {
		refused.Holders = slices.DeleteFunc(slices.Clone(refused.Holders), func(name string) bool { return name == own })
	}
	return err
}

// held says which containers keep a network from being removed.
func held(by []string) string {
	more := ""
	if n := len(by) - holdersShown; n > 0 {
		by, more = by[:holdersShown], fmt.Sprintf(" and %d more", n)
	}
	return "The network of the workspace is in use by other containers: " + shortened(printable(strings.Join(by, ", "))) + more + ". Have them disconnected from it or removed, and try again."
}
