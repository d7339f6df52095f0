package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weft/config/genesis"
	"weft/config/strict"
	"weft/tangle"
)

// Dir is a node's data folder: everything that a node has.
type Dir string

// The files of a data folder.
func (d Dir) Node() string    { return filepath.Join(string(d), "node.json") }
func (d Dir) Genesis() string { return filepath.Join(string(d), "genesis.json") }
func (d Dir) Key() string     { return filepath.Join(string(d), "node.key") }       // the member's key, mode 0600
func (d Dir) Member() string  { return filepath.Join(string(d), "member.json") }    // the member's entry for a genesis
func (d Dir) Token() string   { return filepath.Join(string(d), "operator.token") } // the operator's token, mode 0600
func (d Dir) Socket() string  { return filepath.Join(string(d), "api.sock") }
func (d Dir) Store() string   { return filepath.Join(string(d), "store") }

// MaxSocketBytes bounds the path of a socket on every system; Linux allows a little more.
const MaxSocketBytes = 103

// CheckSocket refuses a folder whose operator's socket would have a longer path than systems allow.
func (d Dir) CheckSocket(n Node) error {
	if path := d.Socket(); n.Operator.Socket && len(path) > MaxSocketBytes {
		return strict.Faults{{Path: "operator.socket", Detail: fmt.Sprintf("%s has %d bytes, and a socket's path at most %d: "+
			"use a folder with a shorter path, or set operator.socket to false", path, len(path), MaxSocketBytes)}}
	}
	return nil
}

// LoadGenesis reads and checks a genesis file, its members' keys included.
func LoadGenesis(path string) (*genesis.Genesis, error) {
	data, err := readBounded(path, genesis.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	g, err := genesis.Parse(data, CheckKey)
	if err != nil {
		return nil, fmt.Errorf("%s is not right:\n%w", path, err)
	}
	return g, nil
}

// CheckMembers reports what node.json says of members that genesis does not know, and a key that is not a member's.
func CheckMembers(n Node, g *genesis.Genesis, self tangle.Member) error {
	known := map[tangle.Member]bool{}
	for _, m := range g.Members {
		known[m.Key] = true
	}
	var faults strict.Faults
	if !known[self] {
		faults.Add("node.key", "%s is not a member of network %s: the file belongs to another one, or its founders have not added this member", self, g.Network)
	}
	for i, p := range n.Peers {
		path := fmt.Sprintf("peers[%d].member", i)
		switch {
		case p.Member == self:
			faults.Add(path, "this node's own key")
		case !known[p.Member]:
			faults.Add(path, "%s is not a member of network %s", p.Member, g.Network)
		}
	}
	return faults.Err()
}

// PSK reads the private-network key that node.json names; nil if it names none.
func (d Dir) PSK(n Node) ([]byte, error) {
	if n.PSKFile == "" {
		return nil, nil
	}
	path := d.Path(n.PSKFile)
	if err := CheckSecret(path); err != nil {
		return nil, fmt.Errorf("pskFile: %w", err)
	}
	text, err := readBounded(path, 4<<10)
	if err != nil {
		return nil, fmt.Errorf("pskFile: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("pskFile: %s: want 64 hex digits", path)
	}
	return key, nil
}

// ReadToken reads the operator's token; empty if the folder has none.
func (d Dir) ReadToken() (string, error) {
	if err := CheckSecret(d.Token()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return "", err
	}
	text, err := readBounded(d.Token(), 4<<10)
	return strings.TrimSpace(string(text)), err
}

// Path is a file that node.json names, relative to the folder.
func (d Dir) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(string(d), name)
}

// errOpenToOthers is what CheckSecret says of a file that others may read.
var errOpenToOthers = errors.New("others on this machine may read it")

// CheckSecret refuses a secret file that its group or everyone may read or write.
func CheckSecret(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s: %w (mode %04o): run 'chmod 600 %s', and make a new one if they may have", path, errOpenToOthers, mode, path)
	}
	return nil
}

// WriteNew writes a file that must not be there yet, and makes it durable.
func WriteNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; it is never overwritten", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}
