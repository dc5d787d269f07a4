package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	xfs  = "xfs"
	ext4 = "ext4"
	// xfsMagic is what statfs says of a mounted XFS.
	xfsMagic = 0x58465342
)

// execute runs a program of the machine and returns what it printed.
func execute(name string, args ...string) (string, error) {
	command := exec.Command(name, args...)
	// mkfs.xfs makes filesystems below 300 MB for its own test suite only,
	// which it knows by these three.
	command.Env = append(os.Environ(), "TEST_DIR=1", "TEST_DEV=1", "QA_CHECK_FS=1")
	output, err := command.CombinedOutput()
	text := strings.TrimSpace(string(output))
	if err != nil {
		return text, fmt.Errorf("%s: %w: %s", command, err, text)
	}
	return text, nil
}

// loopDevice is the device bound to the file, or empty. Loop devices belong to
// the kernel: it is found whichever node's mount bound it.
func loopDevice(image string) (string, error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			continue // let go since the listing
		}
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(string(content)) == image {
			return "/dev/" + strings.Split(file, "/")[3], nil
		}
	}
	return "", nil
}

func isMountPoint(path string) (bool, error) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return false, err
	}
	for _, line := range strings.Split(string(table), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == path {
			return true, nil
		}
	}
	return false, nil
}

// ensureFilesystem makes one where there is none, and returns what is there.
func ensureFilesystem(image, wanted string) (string, error) {
	// blkid answers 2 where it finds nothing: no filesystem yet.
	found, err := execute("blkid", "-p", "-o", "value", "-s", "TYPE", image)
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 2) {
		return "", err
	}
	switch {
	case err == nil && found == ext4:
		return ext4, growUnmounted(image)
	case err == nil:
		return found, nil
	case wanted == ext4:
		_, err = execute("mkfs.ext4", "-q", "-F", "-m", "0",
			"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", image)
		return ext4, err
	}
	_, err = execute("mkfs.xfs", "-q", "-f", "-K", image)
	return xfs, err
}

// growUnmounted grows an ext4: to do that while it is mounted takes
// CAP_SYS_RESOURCE, which root does not have everywhere.
func growUnmounted(image string) error {
	var exit *exec.ExitError
	// 1 and 2 say that errors were found and are mended.
	if _, err := execute("e2fsck", "-f", "-p", image); err != nil && !(errors.As(err, &exit) && exit.ExitCode() <= 2) {
		return err
	}
	_, err := execute("resize2fs", image)
	return err
}

func mountImage(image, target, filesystem string) error {
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	// The loop device made by mount clears itself when its last mount goes,
	// also when the node dies and takes its mount namespace along.
	options := "loop,discard"
	if filesystem == xfs {
		options += ",nouuid" // a copy of a volume carries the original's id
	}
	if _, err := execute("mount", "-t", filesystem, "-o", options, image, target); err != nil {
		return err
	}
	if filesystem != xfs {
		return nil
	}
	// It may have been made larger while no node had it.
	if _, err := execute("xfs_growfs", target); err != nil {
		return errors.Join(err, unmountAll(target))
	}
	return nil
}

// growMounted gives the filesystem at path all of its file.
func growMounted(image, path string) error {
	device, err := loopDevice(image)
	if err != nil {
		return err
	}
	if device == "" {
		return status.Errorf(codes.FailedPrecondition, "%s is not mounted", image)
	}
	if _, err := execute("losetup", "--set-capacity", device); err != nil {
		return err
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return err
	}
	if fs.Type == xfsMagic {
		_, err = execute("xfs_growfs", path)
		return err
	}
	_, err = execute("resize2fs", device)
	return err
}

// unmountAll ends every mount at path, and removes the folder.
func unmountAll(path string) error {
	for {
		mounted, err := isMountPoint(path)
		if err != nil {
			return err
		}
		if !mounted {
			break
		}
		if err := syscall.Unmount(path, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
