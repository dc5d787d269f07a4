package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// identity names one process beyond doubt: a pid alone is reused.
type identity struct {
	Pid int `json:"pid"`
	// StartTicks is field 22 of /proc/PID/stat.
	StartTicks int64  `json:"start_ticks"`
	BootID     string `json:"boot_id"`
}

// writeIdentity writes the file under a temporary name, so that no reader ever
// sees half of it.
func writeIdentity(path string) error {
	self, err := readIdentity()
	if err != nil {
		return err
	}
	content, err := json.Marshal(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readIdentity() (identity, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return identity{}, err
	}
	// The second field is the program's name in brackets and may hold anything.
	end := bytes.LastIndexByte(stat, ')')
	pidText, _, _ := strings.Cut(string(stat), " ")
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) < 20 {
		return identity{}, fmt.Errorf("unexpected /proc/self/stat: %q", stat)
	}
	pid, err := strconv.Atoi(pidText)
	if err != nil {
		return identity{}, err
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return identity{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, err
	}
	return identity{Pid: pid, StartTicks: ticks, BootID: strings.TrimSpace(string(boot))}, nil
}
