package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"weft/config/genesis"
	"weft/config/strict"
	"weft/tangle"
)

// Stub is member.json: what a founder gives the others. It holds nothing secret.
type Stub struct {
	genesis.Member
	Addrs []string // where the others dial this member; not part of genesis
}

// stubFile is the form of a Stub on disk; strict does not look into embedded structs.
type stubFile struct {
	Key   tangle.Member `json:"key"`
	Name  string        `json:"name"`
	Roles []string      `json:"roles"`
	Addrs []string      `json:"addrs"`
}

// Create makes a data folder with a key, a stub, settings and an operator's token. It overwrites nothing.
func (d Dir) Create(n Node, s Stub, key ed25519.PrivateKey, passphrase string) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	if err := WriteKey(d.Key(), key, passphrase); err != nil {
		return err
	}
	token, err := newToken()
	if err != nil {
		return err
	}
	stub, err := pretty(stubFile{MemberOf(key), s.Name, s.Roles, append([]string{}, s.Addrs...)})
	if err != nil {
		return err
	}
	return errors.Join(WriteNew(d.Token(), token, 0o600), WriteNew(d.Member(), stub, 0o644), d.WriteNode(n))
}

// WriteNode writes node.json anew.
func (d Dir) WriteNode(n Node) error {
	text, err := pretty(n)
	if err != nil {
		return err
	}
	return replaceFile(d.Node(), text)
}

// Join puts the network's genesis into the folder; one that is there already must be the same.
func (d Dir) Join(g *genesis.Genesis) error {
	if have, err := readBounded(d.Genesis(), genesis.MaxFileBytes); err == nil {
		if bytes.Equal(have, g.Bytes()) {
			return nil
		}
		return fmt.Errorf("%s is of another network; a data folder stays with one network for good", d.Genesis())
	}
	return WriteNew(d.Genesis(), g.Bytes(), 0o644)
}

// LoadStub reads a member.json.
func LoadStub(path string) (Stub, error) {
	data, err := readBounded(path, MaxFileBytes)
	if err != nil {
		return Stub{}, err
	}
	var f stubFile
	err = strict.Decode(data, &f, true)
	if err == nil {
		err = errors.Join(CheckKey(f.Key), genesis.CheckName(f.Name), genesis.CheckRoles(f.Roles))
	}
	if err != nil {
		return Stub{}, fmt.Errorf("%s is not right:\n%w", path, err)
	}
	return Stub{genesis.Member{Key: f.Key, Name: f.Name, Roles: f.Roles}, f.Addrs}, nil
}

func newToken() ([]byte, error) {
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	return append(base64.RawURLEncoding.AppendEncode(nil, secret[:]), '\n'), nil
}

func pretty(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

// replaceFile puts a file in place at once: nobody sees half of it.
func replaceFile(path string, data []byte) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := WriteNew(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, path)
}
