// Package doctor says what the machine can and cannot do for workspaces, in lines for an operator. It looks and changes
// nothing; what it is not given it does not look at.
package doctor

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// Verdict is how a finding is to be taken.
type Verdict string

// The verdicts.
const (
	OK   Verdict = "ok"
	Note Verdict = "note" // it works, with less than it could have
	Bad  Verdict = "BAD"  // workspaces cannot run, or the server cannot start
)

// Finding is one line.
type Finding struct {
	Verdict Verdict
	Subject string // what was looked at, in a word
	Text    string // what was seen and, where it is not good, what to do
}

// Print writes the findings, and reports whether none is bad.
func Print(w io.Writer, findings []Finding) bool {
	good := true
	for _, f := range findings {
		good = good && f.Verdict != Bad
		_, _ = fmt.Fprintf(w, "%-5s %-9s %s\n", f.Verdict, f.Subject, f.Text)
	}
	return good
}

// engineLimit bounds all that is asked of the engine.
const engineLimit = 15 * time.Second

// Engine looks at the engine, what its kernel enforces, the default image, and whether the pool of addresses is free.
func Engine(ctx context.Context, e engine.Engine, image string, pool netip.Prefix) []Finding {
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	info, err := e.Info(ctx)
	if err != nil {
		return []Finding{{Bad, "engine", fmt.Sprintf("It does not answer (%v). Install and start Docker or Podman's service, and see that you may use its socket.", err)}}
	}
	findings := []Finding{
		{OK, "engine", fmt.Sprintf("%s %s, API %s, storage %s.", info.Name, info.Version, info.APIVersion, info.StorageDriver)},
		{OK, "machine", fmt.Sprintf("%s, kernel %s, %d cores, %.1f GiB of memory.", info.OperatingSystem, info.KernelVersion, info.CPUs, float64(info.MemoryBytes)/(1<<30))},
	}
	for _, lack := range info.Lacks {
		findings = append(findings, Finding{Note, "engine", lack})
	}
	findings = append(findings, kernel(info)...)
	return append(findings, imageFinding(ctx, e, image), poolFinding(ctx, e, pool))
}

func kernel(info engine.Info) (findings []Finding) {
	has := func(option string) bool { return slices.Contains(info.SecurityOptions, option) }
	findings = append(findings, Finding{OK, "cgroups", "Version " + info.CgroupVersion + "."})
	if has("seccomp") {
		findings = append(findings, Finding{OK, "seccomp", "System calls are filtered by the engine's profile."})
	} else {
		findings = append(findings, Finding{Note, "seccomp", "The engine does not filter system calls. Use a kernel and an engine built with seccomp."})
	}
	if !has("userns") && !has("rootless") {
		findings = append(findings, Finding{Note, "users", "Root in a container is root's id on the host. Docker tells them apart when dockerd is started with --userns-remap=default."})
	}
	if !has("apparmor") && !has("selinux") {
		findings = append(findings, Finding{Note, "lsm", "Neither AppArmor nor SELinux confines containers here."})
	}
	for _, w := range info.Warnings {
		findings = append(findings, Finding{Note, "engine", strings.TrimPrefix(w, "WARNING: ") + "."})
	}
	return findings
}

func imageFinding(ctx context.Context, e engine.Engine, image string) Finding {
	_, err := e.Image(ctx, image)
	switch {
	case err == nil:
		return Finding{OK, "image", fmt.Sprintf("The engine has the default image, %s.", image)}
	case engine.Is(err, engine.KindNotFound):
		return Finding{Note, "image", fmt.Sprintf("The engine lacks the default image, %s: the first workspace pulls it. Where no registry can be reached, set AICLI_DEFAULT_IMAGE to one that is there.", image)}
	default:
		return Finding{Bad, "image", fmt.Sprintf("The default image, %s, cannot be looked up: %v", image, err)}
	}
}

func poolFinding(ctx context.Context, e engine.Engine, pool netip.Prefix) Finding {
	networks, err := e.Networks(ctx, nil)
	if err != nil {
		return Finding{Bad, "networks", fmt.Sprintf("They cannot be listed: %v", err)}
	}
	const perWorkspace = 28
	for _, n := range networks {
		subnet, err := netip.ParsePrefix(n.Subnet)
		if err == nil && n.Labels[engine.LabelManaged] == "" && subnet.Overlaps(pool) {
			return Finding{Note, "networks", fmt.Sprintf("The network %s (%s) lies in AICLI_NETWORK_POOL (%s). Its addresses are left alone; give another pool if there are many such.", n.Name, n.Subnet, pool)}
		}
	}
	return Finding{OK, "networks", fmt.Sprintf("%s has room for %d workspaces.", pool, 1<<(perWorkspace-pool.Bits()))}
}

// inspected bounds how many containers are looked at to find one that runs.
const inspected = 20

// Mounts finds out by a container that runs, whoever's it is, whether the server may look into containers. visible says so of one.
func Mounts(ctx context.Context, e engine.Engine, visible func(engine.Container) bool) Finding {
	const subject = "mounts"
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	list, err := e.Containers(ctx, nil)
	if err != nil {
		return Finding{Bad, subject, fmt.Sprintf("Containers cannot be listed: %v", err)}
	}
	running := slices.DeleteFunc(list, func(c engine.Summary) bool { return c.State != engine.Running })
	for _, one := range running[:min(len(running), inspected)] {
		c, err := e.Container(ctx, one.ID)
		switch {
		case err != nil || c.State != engine.Running: // it has ended meanwhile
			continue
		case visible(c):
			return Finding{OK, subject, "After each start, what a container has mounted is compared with its project's directory."}
		default:
			return Finding{Note, subject, "The server may not look into containers, so what they have mounted is not compared after a start; paths are still checked before it. " +
				"It may where it runs as root on the engine's machine, in the same PID namespace."}
		}
	}
	return Finding{Note, subject, "No container runs, so it cannot be told whether what is mounted is compared after a start. Run doctor again while a workspace runs."}
}
