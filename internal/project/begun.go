package project

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Begun says whether an init, which is what the process is, has begun its command. Until then its child, if it has one yet, is a copy of it with the same
// command line. known is false where that cannot be told: see Visible, and a process that has ended.
func (p Process) Begun() (begun, known bool) {
	if !p.Visible() {
		return false, false
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.Pid, p.Pid))
	if err != nil {
		return false, false
	}
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid))
	if err != nil || len(own) == 0 { // it is ending
		return false, false
	}
	for child := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			return false, false
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && len(line) > 0 && !bytes.Equal(line, own) {
			return true, p.Visible()
		}
	}
	return false, p.Visible()
}
