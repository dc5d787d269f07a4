package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const cgroupRoot = "/sys/fs/cgroup"

// isolate turns the copied mount namespace into this machine's own.
func isolate(spec Spec) error {
	if err := dropForeignMounts(spec.Keep); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0); err != nil {
		return err
	}
	if err := freshSysfs(filepath.Dir(spec.Socket)); err != nil {
		return err
	}
	// Only now: with a shared root, the moves above would propagate to their
	// own copies and take the cgroups away again. kubelet needs it shared.
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED); err != nil {
		return err
	}
	if err := mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV); err != nil {
		return err
	}
	for _, bind := range spec.Binds {
		if _, err := os.Stat(bind.Target); err != nil {
			if err := os.MkdirAll(bind.Target, 0o755); err != nil {
				return err
			}
		}
		if err := mount(bind.Source, bind.Target, "", syscall.MS_BIND); err != nil {
			return err
		}
	}
	return nil
}

// dropForeignMounts unmounts what the machine outside has mounted: kept here,
// another cluster's volumes would stay busy for as long as this one lives.
func dropForeignMounts(keep []string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	slices.Reverse(lines) // the innermost first
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			return fmt.Errorf("unexpected mountinfo: %q", line)
		}
		point := unescape(fields[4])
		if isSystem(point) || holdsAny(point, keep) {
			continue
		}
		// A mount that went with the one around it is gone already.
		err := syscall.Unmount(point, syscall.MNT_DETACH)
		if err != nil && err != syscall.EINVAL && err != syscall.ENOENT {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

func isSystem(point string) bool {
	for _, root := range []string{"/proc", "/sys", "/dev"} {
		if point == root || strings.HasPrefix(point, root+"/") {
			return true
		}
	}
	return point == "/"
}

func holdsAny(point string, paths []string) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		return path == point || strings.HasPrefix(path, point+"/")
	})
}

// unescape undoes the octal escapes of mountinfo.
func unescape(field string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(field)
}

// freshSysfs mounts a sysfs that shows this network namespace and moves the
// cgroup hierarchies, which a new sysfs does not have, over into it.
func freshSysfs(scratch string) error {
	aside, err := os.MkdirTemp(scratch, "cgroups-")
	if err != nil {
		return err
	}
	if err := mount(cgroupRoot, aside, "", syscall.MS_BIND|syscall.MS_REC); err != nil {
		return err
	}
	if err := mount("sysfs", "/sys", "sysfs", 0); err != nil {
		return err
	}
	if err := mount(aside, cgroupRoot, "", syscall.MS_BIND|syscall.MS_REC); err != nil {
		return err
	}
	if err := syscall.Unmount(aside, syscall.MNT_DETACH); err != nil {
		return err
	}
	return os.Remove(aside)
}

func mount(source, target, kind string, flags uintptr) error {
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %q on %s: %w", source, target, err)
	}
	return nil
}
