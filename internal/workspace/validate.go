package workspace

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what a workspace may be told. They keep one row under about 100 kB, and what is read in one page under 10 MB.
const (
	maxName        = 100 // characters
	maxImage       = 255 // bytes, as registries have it
	maxArguments   = 100 // of the command
	maxArgument    = 4096
	maxCommand     = 16 << 10 // all words together
	maxVariables   = 100
	maxVariable    = 16 << 10
	maxEnvironment = 64 << 10 // all names and values together
	maxLabels      = 50
	maxLabelKey    = 63
	maxLabelValue  = 255
)

// Bounds of a recovery policy: a crash loop costs next to nothing, and ends.
const (
	maxRetries = 100
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Hour
)

// Limits of a container: the default, the least that a shell lives with, and the most that is accepted whatever the machine.
const (
	defaultCPUs   = 1.0
	minCPUs       = 0.01
	defaultMemory = 512 << 20
	minMemory     = 6 << 20 // the engine's own least
	maxMemory     = 1 << 50
	defaultPids   = 512
	minPids       = 2 // the init and the command
	maxPids       = 1 << 15
)

// keepAlive is the command of a workspace that names none: a place to work in, that ends at once when it is told to.
var keepAlive = []string{"sleep", "infinity"}

var (
	variableName = regexp.MustCompile(`^[\x21-\x3C\x3E-\x7E]+$`) // as engines and processes take it: no sign that separates it from its value
	labelKey     = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$`)
)

// newSpec checks what a workspace is to be and fills in the defaults.
func (s *Service) newSpec(actor Actor, id string, in CreateInput) (Spec, error) {
	spec := Spec{
		Name: in.Name, ProjectPath: id, Image: s.config.DefaultImage, Command: keepAlive,
		Environment: in.Environment, Labels: in.Labels,
		Resources: in.Resources.over(s.defaultResources()), Policy: in.Policy.over(DefaultRecovery), HealthCheck: in.HealthCheck.over(),
	}
	if in.Image != nil {
		spec.Image = *in.Image
	}
	if in.Command != nil {
		spec.Command = in.Command
	}
	if in.ProjectPath != nil {
		spec.ProjectPath = *in.ProjectPath
	}
	var nameErr, labelsErr error
	spec.Name, nameErr = checkName(spec.Name)
	spec.Labels, labelsErr = checkLabels(spec.Labels)
	for _, err := range []error{
		nameErr, checkPath(spec.ProjectPath), s.CheckImage(spec.Image), checkCommand(spec.Command, "input", "command"), checkEnvironment(spec.Environment),
		labelsErr, s.checkResources(in.Resources), checkPolicy(in.Policy), checkHealthCheck(spec.HealthCheck),
	} {
		if err != nil {
			return Spec{}, err
		}
	}
	return spec, s.projects.Check(actor.ID, spec.ProjectPath)
}

// checkUpdate gives the input with its texts in their one form.
func (s *Service) checkUpdate(in UpdateInput) (_ UpdateInput, err error) {
	if in.Name != nil {
		name, err := checkName(*in.Name)
		if err != nil {
			return in, err
		}
		in.Name = &name
	}
	if in.Labels, err = checkLabels(in.Labels); err != nil {
		return in, err
	}
	if err := checkPolicy(in.Policy); err != nil {
		return in, err
	}
	return in, s.checkResources(in.Resources)
}

// over puts what is asked for over what is there.
func (in PolicyInput) over(have RecoveryPolicy) RecoveryPolicy {
	if in.MaxRetries != nil {
		have.MaxRetries = *in.MaxRetries
	}
	if in.Backoff != nil {
		have.Backoff = *in.Backoff
	}
	if in.Fallback != nil {
		have.Fallback = *in.Fallback
	}
	if in.RestartWhenUnhealthy != nil {
		have.RestartWhenUnhealthy = *in.RestartWhenUnhealthy
	}
	return have
}

func checkPolicy(in PolicyInput) error {
	if in.MaxRetries != nil && (*in.MaxRetries < 0 || *in.MaxRetries > maxRetries) {
		return badInput(fmt.Sprintf("The number of retries must be between 0 and %d.", maxRetries), "input", "recoveryPolicy", "maxRetries")
	}
	if in.Backoff != nil && (*in.Backoff < minBackoff || *in.Backoff > maxBackoff) {
		return badInput("The backoff must be between PT0.1S and PT1H.", "input", "recoveryPolicy", "backoff")
	}
	return nil
}

// over puts what is asked for over what is there.
func (in ResourcesInput) over(have Resources) Resources {
	if in.Cpus != nil {
		have.Cpus = *in.Cpus
	}
	if in.MemoryBytes != nil {
		have.MemoryBytes = *in.MemoryBytes
	}
	if in.Pids != nil {
		have.Pids = *in.Pids
	}
	return have
}

// defaultResources never ask for more than the machine has.
func (s *Service) defaultResources() Resources {
	r := Resources{Cpus: defaultCPUs, MemoryBytes: defaultMemory, Pids: defaultPids}
	if e := s.Engine(); e.MemoryBytes > 0 {
		r.MemoryBytes = min(r.MemoryBytes, e.MemoryBytes)
	}
	return r
}

// checkName gives a name in its one form.
func checkName(name string) (string, error) {
	field := []string{"input", "name"}
	form, ok := plain(name)
	switch n := utf8.RuneCountInString(form); {
	case !ok:
		return "", badInput("The name must not contain control characters, or others that cannot be seen.", field...)
	case n == 0 || n > maxName:
		return "", badInput(fmt.Sprintf("The name must have 1 to %d characters.", maxName), field...)
	case strings.TrimSpace(form) != form:
		return "", badInput("The name must not begin or end with a space.", field...)
	}
	return form, nil
}

// checkPath refuses what looks like another path. What may be a path at all is for the projects to say.
func checkPath(p string) error {
	if form, ok := plain(p); !ok || form != p {
		return badInput("The path must not contain characters that cannot be seen, wide spaces, or accents that are not composed with their letter (NFC).", "input", "projectPath")
	}
	return nil
}

func checkCommand(command []string, field ...string) error {
	if len(command) > maxArguments {
		return badInput(fmt.Sprintf("The command may have at most %d words.", maxArguments), field...)
	}
	total := 0
	for i, word := range command {
		if total += len(word); total > maxCommand {
			return badInput(fmt.Sprintf("The command may have at most %d bytes in all.", maxCommand), field...)
		}
		if len(word) > maxArgument || strings.ContainsRune(word, 0) || !utf8.ValidString(word) || i == 0 && word == "" {
			return badInput(fmt.Sprintf("Each word of the command must be text of at most %d bytes, and the first must not be empty.", maxArgument),
				append(field, strconv.Itoa(i))...)
		}
	}
	return nil
}

func checkEnvironment(environment []EnvironmentVariable) error {
	if len(environment) > maxVariables {
		return badInput(fmt.Sprintf("The environment may have at most %d variables.", maxVariables), "input", "environment")
	}
	seen, total := make(map[string]bool, len(environment)), 0
	for i, v := range environment {
		at := strconv.Itoa(i)
		switch total += len(v.Name) + len(v.Value); {
		case !variableName.MatchString(v.Name) || len(v.Name) > maxLabelValue:
			return badInput("The name of a variable must be letters, digits and signs of ASCII, without spaces and without =.", "input", "environment", at, "name")
		case seen[v.Name]:
			return badInput("The variable is given twice. Keep one of them.", "input", "environment", at, "name")
		case len(v.Value) > maxVariable || strings.ContainsRune(v.Value, 0) || !utf8.ValidString(v.Value):
			return badInput(fmt.Sprintf("The value must be text of at most %d bytes.", maxVariable), "input", "environment", at, "value")
		case total > maxEnvironment:
			return badInput(fmt.Sprintf("The environment may have at most %d bytes in all.", maxEnvironment), "input", "environment")
		}
		seen[v.Name] = true
	}
	return nil
}

// checkLabels gives labels with their values in their one form; nil stays nil.
func checkLabels(labels []Label) ([]Label, error) {
	if len(labels) > maxLabels {
		return nil, badInput(fmt.Sprintf("There may be at most %d labels.", maxLabels), "input", "labels")
	}
	seen, checked := make(map[string]bool, len(labels)), slices.Clone(labels)
	for i, l := range labels {
		at := strconv.Itoa(i)
		form, ok := plain(l.Value)
		switch {
		case len(l.Key) > maxLabelKey || !labelKey.MatchString(l.Key):
			return nil, badInput(fmt.Sprintf("A label's key must have 1 to %d letters, digits, dots, dashes, underscores or slashes.", maxLabelKey), "input", "labels", at, "key")
		case seen[l.Key]:
			return nil, badInput("The label is given twice. Keep one of them.", "input", "labels", at, "key")
		case !ok || len(form) > maxLabelValue:
			return nil, badInput(fmt.Sprintf("A label's value must be text of at most %d bytes, without characters that cannot be seen.", maxLabelValue), "input", "labels", at, "value")
		}
		seen[l.Key], checked[i].Value = true, form
	}
	return checked, nil
}

// checkResources refuses limits that the engine's machine does not have, once it has been seen.
func (s *Service) checkResources(in ResourcesInput) error {
	machine := s.Engine()
	if in.Cpus != nil {
		most := float64(machine.CPUs)
		if machine.CPUs == 0 {
			most = math.MaxInt16
		}
		if !(*in.Cpus >= minCPUs && *in.Cpus <= most) {
			return badInput(fmt.Sprintf("The number of cores must be between %g and %g.", minCPUs, most), "input", "resources", "cpus")
		}
	}
	if in.MemoryBytes != nil {
		most := machine.MemoryBytes
		if most == 0 {
			most = maxMemory
		}
		if *in.MemoryBytes < minMemory || *in.MemoryBytes > most {
			return badInput(fmt.Sprintf("The memory must be between %d and %d bytes.", minMemory, most), "input", "resources", "memoryBytes")
		}
	}
	if in.Pids != nil && (*in.Pids < minPids || *in.Pids > maxPids) {
		return badInput(fmt.Sprintf("The number of processes must be between %d and %d.", minPids, maxPids), "input", "resources", "pids")
	}
	return nil
}
