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

// refusals are what engines say of what its owner or the operator can put right, in Docker's words from 20.10 to 28, its runtime's, and Podman's: what it means, and the
// field at fault, where the owner has one to change. The first one that matches counts; ${1} is what the pattern has caught. Whether it is tried again is decided by its kind.
var refusals = []struct {
	said    *regexp.Regexp
	means   string
	atFault string
}{
	// The image and the command.
	{regexp.MustCompile(`(?i)unable to find (?:user|group) ([^\s:]+)|no matching entries in (?:passwd|group) file`), "The image names a user or a group ${1} that it does not have. Choose another image.", "image"},
	{regexp.MustCompile(`(?i)exec format error`), "The command is made for another kind of processor. Choose an image for this machine.", "image"},
	{regexp.MustCompile(`(?i)no match for platform`), "The image is made for another kind of machine. Choose an image for this one.", "image"},
	{regexp.MustCompile(`(?i)Cannot mkdir: /workspace|mkdir [^\s]*/workspace: not a directory`), "The image has a file at /workspace, where the project is mounted. Choose another image.", "image"},
	{regexp.MustCompile(`(?i)cannot mount volume over existing file`), "The image wants a volume at a path where it has a file. Choose another image.", "image"},
	{regexp.MustCompile(`(?i)No such image`), "The image was removed from the engine while a container was made of it. It is fetched again at the next try.", ""},
	{regexp.MustCompile(`(?i)invalid reference format`), "The engine does not take the image's name. Check it.", "image"},
	{regexp.MustCompile(`(?i)No command specified`), "The image has no command of its own. Give the workspace one.", "command"},
	{regexp.MustCompile(`(?i)exec: "(?:[^"]*/)?(docker-init|runc|crun|containerd-shim[^"]*)"|to rootfs at "?/sbin/(docker-init)|(container-init) binary not found`), "The engine does not find its own program ${1}${2}${3}. Ask the server's operator to install it.", ""},
	{regexp.MustCompile(`exec: "([^"]*)": (?:executable file not found|no such file or directory|stat )`), "The image does not have the command ${1}. Check the command and the image.", "command"},
	{regexp.MustCompile(`exec: "([^"]*)": permission denied`), "The command ${1} may not be executed. Check its mode in the image.", "command"},
	{regexp.MustCompile(`(?i)executable file .?([^\s"` + "`" + `]+).? not found in \$PATH`), "The image does not have the command ${1}. Check the command and the image.", "command"},
	{regexp.MustCompile(`(?i)open executable: permission denied`), "The command may not be executed. Check its mode in the image.", "command"},
	{regexp.MustCompile(`(?i)(\w+) in Healthcheck cannot be`), "The engine does not take the ${1} of the health check. Give the workspace a health check of its own.", "healthCheck"},
	{regexp.MustCompile(`(?i)invalid environment variable`), "The engine does not take one of the variables. Check their names.", "environment"},

	// The limits.
	{regexp.MustCompile(`(?i)Range of CPUs is from ([0-9.]+ to [0-9.]+)`), "The number of cores must be from ${1} on this machine.", "resources.cpus"},
	{regexp.MustCompile(`(?i)Minimum memory limit allowed is (\w+)`), "The memory must be at least ${1}.", "resources.memoryBytes"},
	{regexp.MustCompile(`(?i)unable to set memory limit to (\d+) \(current usage: (\d+)`), "The container uses ${2} bytes of memory, which is more than the ${1} that it is to have. Stop the workspace first, or give it more.", "resources.memoryBytes"},
	{regexp.MustCompile(`(?i)memory\.limit_in_bytes: device or resource busy`), "The container uses more memory than it is to have. Stop the workspace first, or give it more.", "resources.memoryBytes"},
	{regexp.MustCompile(`(?i)OOM-killed`), "The container has too little memory to start. Give it more.", "resources.memoryBytes"},
	{regexp.MustCompile(`(?i)fork\S* .*resource temporarily unavailable|failed to create new OS thread`), "No process could be made to start the container. If its bound on processes is low, raise it; otherwise ask the server's operator how many run on the machine.", "resources.pids"},
	{regexp.MustCompile(`(?i)cannot allocate memory`), "The machine has no memory left to start the container with. Stop other workspaces, or ask the server's operator to free some.", ""},
	{regexp.MustCompile(`(?i)final child's pid from pipe|init preliminary setup: EOF`), "The container ended while the engine prepared it, mostly for want of memory. Give it more; if that does not help, ask the server's operator what the machine has left.", ""},

	// Names, networks and what is still under way.
	{regexp.MustCompile(`(?i)container name "/?([^"]+)" is already in use`), "Another container of the engine has the name ${1}, which this workspace needs. Ask the server's operator to rename or remove it.", ""},
	{regexp.MustCompile(`(?i)network with name (\S+) already exists|network name (\S+) already used`), "Another network of the engine has the name ${1}${2}, which this workspace needs. Ask the server's operator to remove it.", ""},
	{regexp.MustCompile(`(?i)network \S+ is ambiguous`), "Two networks of the engine have the name that this workspace needs. Ask the server's operator to remove one of them.", ""},
	{regexp.MustCompile(`(?i)has active endpoints|network is being used`), "The network of the workspace is in use by other containers, or the engine takes it for used. Ask the server's operator to disconnect what is on it.", ""},
	{regexp.MustCompile(`(?i)already exists in network|is already present in sandbox`), "The engine holds the container's place on its network for an earlier run of it. Ask the server's operator to disconnect it by force, or to restart the engine.", ""},
	{regexp.MustCompile(`(?i)no available IPv[46] addresses|failed to find free IP in range`), "All addresses of the workspace's network are taken, by containers that something else has put on it. Ask the server's operator to disconnect them.", ""},
	{regexp.MustCompile(`(?i)network \S+ not found|unable to find network with name or ID`), "The network of the workspace was removed while it was needed. Another one is made at the next try.", ""},
	{regexp.MustCompile(`(?i)pair interfaces.*operation not supported`), "The machine cannot make network interfaces for containers, mostly since its kernel was updated. Ask the server's operator to restart it.", ""},
	{regexp.MustCompile(`(?i)ip6?tables|external connectivity|chain/target/match|nftables`), "The engine cannot set the machine's firewall for the network. Ask the server's operator to look at the firewall, and to restart the engine if its rules were flushed.", ""},
	{regexp.MustCompile(`(?i)cannot start a paused container`), "Something outside this server has paused the container. It goes on at the next try.", ""},
	{regexp.MustCompile(`(?i)removal of container \S+ is already in progress|marked for removal|has already been removed`), "The engine is removing the container. Try again when it is gone; if it stays, ask the server's operator to restart the engine.", ""},
	{regexp.MustCompile(`(?i)did not receive an exit event|is zombie and can not be killed`), "The processes of the container do not end, mostly because they wait for a disk or a network drive. Ask the server's operator to look at them.", ""},

	// The machine.
	{regexp.MustCompile(`(?i)bind source path does not exist|statfs .+?: no such file`), "The project directory is missing on the server. Have it put back, or delete the workspace and create another one.", "projectPath"},
	{regexp.MustCompile(`(?i)error mounting \S+ to rootfs at "?/workspace"?.*not a directory`), "The project or the image has a file where the other has a directory. Have the project directory put back, or choose another image.", "projectPath"},
	{regexp.MustCompile(`(?i)remove (?:root )?filesystem`), "The engine cannot remove the container's files, mostly because something on the machine uses them. Ask the server's operator to look at what the engine's log says.", ""},
	{regexp.MustCompile(`(?i)RWLayer.* unexpectedly|BaseFS.* unexpectedly|stat \S*/overlay2/\w+: no such file|error creating overlay mount`), "The engine does not find the container's own files. Ask the server's operator to look at the engine's disk. If they are lost, have the container removed, and start the workspace: its project stays, what was installed outside it does not.", ""},
	{regexp.MustCompile(`(?i)session key`), "The machine has no keys left for another container. Ask the server's operator to raise the kernel's bound on keys.", ""},
	{regexp.MustCompile(`(?i)CPU CFS scheduler|cgroup`), "The machine's control groups do not take the container or its limits. Ask the server's operator to look at them: they may be too many, or not mounted as the engine needs.", ""},
	{regexp.MustCompile(`(?i)apparmor|seccomp|set process label`), "The machine's own protection, AppArmor, SELinux or seccomp, keeps the container from starting. Ask the server's operator to look at the engine's log.", ""},
	{regexp.MustCompile(`(?i)too many open files`), "The engine has no files left to open. Ask the server's operator to raise its bound on open files.", ""},
	{regexp.MustCompile(`(?i)read-only file system|input/output error`), "The engine's disk fails or is read-only. Ask the server's operator to look after it.", ""},
	{regexp.MustCompile(`(?i)failed to initialize logging driver`), "The engine cannot write the container's log. Ask the server's operator to look at the engine's disk.", ""},
	{regexp.MustCompile(`(?i)denied by plugin`), "A plugin of the engine forbids this. Ask the server's operator to have it allowed.", ""},
	{regexp.MustCompile(`(?i)error while dialing|transport is closing|error reading from server|ttrpc: closed|shim disconnected|failed to start shim`), "The part of the engine that starts containers does not answer. Ask the server's operator to look at containerd.", ""},
}

// worded are the kinds of failure whose words are looked up there. What a registry says is told to nobody, and what an engine that is away says is of no use.
var worded = []engine.Kind{
	engine.KindInvalid, engine.KindInternal, engine.KindConflict, engine.KindNotFound, engine.KindNotRunning, engine.KindStorage,
}

var (
	// hostPath is a path; what is a command's own stands in one of the phrases above.
	hostPath = regexp.MustCompile(`(?:/[^\s:"',;()]+)+/?`)
	longID   = regexp.MustCompile(`\b[0-9a-f]{12,64}\b`)
	prefixes = regexp.MustCompile(`^(?:(?:Error response from daemon|failed to create (?:shim )?task(?: for container)?|OCI runtime create failed|OCI runtime error|runc create failed|runc|crun|unable to start container process|container_linux\.go:\d+|starting container process caused):\s*)+`)
)

// refusedMost bounds how much of an engine's own words is shown, in characters.
const refusedMost = 200

// explain says what a failure of an engine means, and which field is at fault, where one is: otherwise stands where nothing better is known.
func explain(err *engine.Error, otherwise string) (message string, field []string) {
	switch {
	case errors.Is(err, engine.ErrNotOurs):
		return "The containers of this server belong to another copy of its database, so nothing of them is touched. Ask the server's operator to run aicli-web adopt; the work goes on by itself then.", nil
	case len(err.Holders) > 0:
		return held(err.Holders), nil
	case err.Err == nil || !slices.Contains(worded, err.Kind):
		return otherwise, nil
	}
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
	return otherwise, nil
}

// refusal says why the engine refuses a workspace. Words that are not known are shown without paths of the host and ids.
func refusal(err *engine.Error) (message string, field []string) {
	return explain(err, "The container engine refuses this workspace: "+cleaned(err.Err.Error())+".")
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
