package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Open reads a key file and unlocks it. A nil passphrase means that there is none to give.
func Open(path string, passphrase func() (string, error)) (*File, error) {
	f, err := Read(path)
	if err != nil {
		return nil, err
	}
	if err := f.Unlock(passphrase); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Read reads a key file and leaves it locked: its public halves need no passphrase. It refuses a file that others may read.
func Read(path string) (*File, error) {
	raw, err := readSecret(path, MaxFileBytes)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	f, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// ReadPassphrase is the first line of a file that nobody else may read, so that a process without a person opens key files.
func ReadPassphrase(path string) (string, error) {
	raw, err := readSecret(path, MaxFileBytes)
	if err != nil {
		return "", err
	}
	defer clear(raw)
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	if line = bytes.TrimRight(line, "\r"); len(line) == 0 {
		return "", fault(CodePassphrase, "%s begins with an empty line", path)
	}
	return string(line), nil
}

// Create writes a new file, durable and readable by its owner only. It overwrites nothing.
func (f *File) Create(path string) error {
	raw, err := f.Bytes()
	if err != nil {
		return err
	}
	defer clear(raw)
	return writeNew(path, raw)
}

// Save puts this version in the place of the one at path. Until the new one is whole and durable the old one stays; a
// crash at any point leaves one of them.
func (f *File) Save(path string) error {
	raw, err := f.Bytes()
	if err != nil {
		return err
	}
	defer clear(raw)
	return replace(path, raw)
}

// readSecret reads a file that only its owner may read or write.
func readSecret(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fault("bad_key_file", "%s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fault(CodeOpenToOthers, "%s: others on this machine may read it (mode %04o): run 'chmod 600 %s', and make new keys if they may have", path, mode, path)
	}
	raw, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(raw)) > most {
		return nil, fault("too_large", "%s has more than %d bytes", path, most)
	}
	return raw, err
}

// writeNew makes a file appear at once and whole, unless there is one: a hard link never overwrites.
func writeNew(path string, data []byte) error {
	next, err := writeBeside(path, data)
	if err != nil {
		return err
	}
	defer os.Remove(next)
	err = os.Link(next, path)
	if errors.Is(err, fs.ErrExist) {
		return fault("already_exists", "%s is there already; it is never overwritten", path)
	}
	if err != nil {
		return err
	}
	return syncFolder(path)
}

func replace(path string, data []byte) error {
	next, err := writeBeside(path, data)
	if err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		os.Remove(next)
		return err
	}
	return syncFolder(path)
}

// writeBeside writes a durable file of mode 0600 in the folder of path.
func writeBeside(path string, data []byte) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(0o600), file.Sync(), file.Close())
	if err != nil {
		os.Remove(file.Name())
	}
	return file.Name(), err
}

// syncFolder makes a new name durable.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
