// Command init is the first process of one machine of the embedded cluster:
// of the control plane or of a node. It is started in new mount, pid, uts and
// ipc namespaces and an existing network namespace. It makes them look like a
// machine of their own, and then starts, reaps and restarts the programs it is
// told to, over a unix socket.
//
// Everything on the machine is a descendant of this process, so SIGKILL to it
// is the machine losing power: the kernel ends the rest, unmounts and frees
// loop devices.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
)

// Spec describes the machine; the one argument is the file that holds it.
type Spec struct {
	Hostname string `json:"hostname"`
	// PidFile receives this process's identity as seen from outside.
	PidFile string `json:"pid_file"`
	// Socket is where commands are taken.
	Socket string `json:"socket"`
	// CgroupProcs are the cgroup.procs files of the groups to join.
	CgroupProcs []string `json:"cgroup_procs"`
	// Keep are paths that must stay readable; mounts that hold none are left behind.
	Keep []string `json:"keep"`
	// Binds are made in order; a target that is missing is made as a folder.
	Binds []Bind `json:"binds"`
}

// Bind makes Source visible as Target too.
type Bind struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("coffer cluster init")
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: init SPEC")
	}
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var spec Spec
	if err := json.Unmarshal(content, &spec); err != nil {
		return err
	}
	if err := setLimits(); err != nil {
		return err
	}
	for _, procs := range spec.CgroupProcs {
		if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
			return err
		}
	}
	// The old /proc is still mounted and shows the pids of the outside.
	if err := writeIdentity(spec.PidFile); err != nil {
		return err
	}
	if err := isolate(spec); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(spec.Hostname)); err != nil {
		return err
	}
	return newSupervisor().serve(spec.Socket)
}

// maxOpenFiles is enough for any database; some programs try every number up to the limit.
const maxOpenFiles = 1 << 20

// setLimits makes what programs and containers inherit independent of the
// shell that brought the cluster up.
func setLimits() error {
	syscall.Umask(0o022)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	files.Cur = min(files.Max, maxOpenFiles)
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
}
