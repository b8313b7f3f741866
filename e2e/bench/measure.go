//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// usage is what one process took, from its start to its end.
type usage struct {
	Wall   time.Duration `json:"wall"`
	CPU    time.Duration `json:"cpu"` // user and system
	Memory int64         `json:"memory"`
	Code   int           `json:"code"`
	Hosts  time.Duration `json:"hosts"`          // CPU time of all hosts together, until they were quiet again
	Talk   string        `json:"talk,omitempty"` // the end of what it said, when it failed
}

// measureEnv makes this program the small parent that a measured process has: the kernel counts the parent's memory at
// the fork into the child's peak, so the parent must be smaller than any child of interest.
const measureEnv = "VPSCTL_BENCH_MEASURE"

// measure runs a program in a folder with these variables beside PATH.
func measure(dir string, env, args []string) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), measureEnv + "=1"}, env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return usage{}, fmt.Errorf("measure %v: %w", args, err)
	}
	var u usage
	if err := json.Unmarshal(out, &u); err != nil {
		return usage{}, fmt.Errorf("measure %v: %w", args, err)
	}
	if u.Code != 0 {
		return u, fmt.Errorf("%v: exit %d: %s", args, u.Code, u.Talk)
	}
	return u, nil
}

// measured is measure's other half: it runs args and prints what they took.
func measured(args []string) error {
	if err := os.Unsetenv(measureEnv); err != nil {
		return err
	}
	var talk bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &talk, &talk
	began := time.Now()
	err := cmd.Run()
	u := usage{Wall: time.Since(began)}
	if cmd.ProcessState == nil {
		return err
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	u.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	u.Memory, u.Code = ru.Maxrss<<10, cmd.ProcessState.ExitCode()
	if u.Code != 0 {
		u.Talk = string(talk.Bytes()[max(0, talk.Len()-2000):])
	}
	return json.NewEncoder(os.Stdout).Encode(u)
}
