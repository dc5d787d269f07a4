package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	mebibyte = 1 << 20
	// minSizeBytes is what XFS needs at the least for its log and its groups.
	minSizeBytes = 32 * mebibyte
)

// volume is what is recorded of a volume beside its file.
type volume struct {
	Name      string `json:"name"`
	SizeBytes int64  `json:"size_bytes"`
	// Node is the only node that may use it; empty: any, one at a time.
	Node string `json:"node,omitempty"`
}

// store owns the folder of volumes: ID.img holds the data, ID.json the record,
// ID.lock serialises what processes on several nodes do to one volume.
type store struct {
	folder string
}

func volumeID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("vol-%x", sum[:8])
}

func (s *store) path(id, kind string) (string, error) {
	// The id comes from the API server, where a person may have written it.
	if id == "" || strings.ContainsAny(id, "/.") {
		return "", status.Errorf(codes.InvalidArgument, "not a volume id: %q", id)
	}
	return filepath.Join(s.folder, id+"."+kind), nil
}

func (s *store) image(id string) string {
	return filepath.Join(s.folder, id+".img")
}

// lock returns what releases the volume again.
func (s *store) lock(id string) (func(), error) {
	path, err := s.path(id, "lock")
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

func (s *store) load(id string) (volume, error) {
	path, err := s.path(id, "json")
	if err != nil {
		return volume{}, err
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return volume{}, status.Errorf(codes.NotFound, "there is no volume %s", id)
	}
	if err != nil {
		return volume{}, err
	}
	var found volume
	return found, json.Unmarshal(content, &found)
}

// save makes the file as large as the record says, then writes the record.
func (s *store) save(id string, v volume) error {
	path, err := s.path(id, "json")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(s.image(id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(v.SizeBytes); err != nil {
		return err
	}
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (s *store) remove(id string) error {
	for _, kind := range []string{"img", "json", "lock"} {
		path, err := s.path(id, kind)
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
