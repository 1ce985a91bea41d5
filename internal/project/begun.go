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
	if err != nil {
		return false, false
	}
	if len(own) == 0 { // it is just becoming another program, or it has ended
		return false, !p.ended() && p.Visible()
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

// ended reports whether the process is none any more, though it may still be listed.
func (p Process) ended() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil {
		return true
	}
	state := text[bytes.LastIndexByte(text, ')')+1:] // behind the name of the program, which may have any sign in it
	return bytes.HasPrefix(state, []byte(" Z")) || bytes.HasPrefix(state, []byte(" X"))
}
