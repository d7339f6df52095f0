package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// generation is one Badger database of a store. There is one, and a second while
// Purge makes the next. The first one lies in the folder of the store itself, a
// later one in a folder inside, and the file CURRENT names that folder.
type generation struct {
	db      *badger.DB
	name    string // of the folder inside the store's; empty is that itself
	dir     string
	log     *badgerLog
	readers map[uint64]int // guarded by Badger.mu: how many read which version
}

const (
	currentName      = "CURRENT"
	generationPrefix = "generation-"
)

func openGeneration(c BadgerConfig, name string) (*generation, error) {
	c.Dir = filepath.Join(c.Dir, name)
	g := &generation{name: name, dir: c.Dir, log: &badgerLog{slog: c.Log}, readers: map[uint64]int{}}
	options, err := c.options(g.log)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := removeEmptyLogs(c.Dir); err != nil {
		return nil, err
	}
	g.db, err = badger.OpenManaged(options)
	return g, err
}

// removeEmptyLogs removes log files of no bytes. Badger leaves one behind when it
// is killed between making and sizing a log, or between emptying and removing it,
// and then refuses to open the folder.
func removeEmptyLogs(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		if extension := filepath.Ext(file.Name()); extension != ".mem" && extension != ".vlog" {
			continue
		}
		info, err := file.Info()
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			continue
		}
		if err := os.Remove(filepath.Join(dir, file.Name())); err != nil {
			return err
		}
	}
	return nil
}

// currentGeneration is the name of the folder that counts.
func currentGeneration(dir string) (name string, err error) {
	content, err := os.ReadFile(filepath.Join(dir, currentName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name = strings.TrimSuffix(string(content), "\n")
	if _, err := generationNumber(name); err != nil {
		return "", fmt.Errorf("%s names %q: %w", currentName, name, err)
	}
	return name, nil
}

// checkComplete refuses a folder of which a part has not been copied along: what is
// missing must not begin anew, and what is there must not be removed.
func checkComplete(dir, current string) error {
	_, err := os.Stat(filepath.Join(dir, current, "MANIFEST"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if current != "" {
		return fmt.Errorf("%s names %s, which is not there", currentName, current)
	}
	files, err := os.ReadDir(dir)
	for _, file := range files {
		if _, none := generationNumber(file.Name()); none == nil {
			return fmt.Errorf("there is %s and no %s", file.Name(), currentName)
		}
	}
	return err
}

// setCurrentGeneration returns when it is durable that name counts.
func setCurrentGeneration(dir, name string) error {
	next := filepath.Join(dir, currentName+".new")
	if err := writeSynced(next, []byte(name+"\n")); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, currentName)); err != nil {
		return err
	}
	return syncDir(dir)
}

func generationNumber(name string) (uint64, error) {
	number, found := strings.CutPrefix(name, generationPrefix)
	if !found {
		return 0, errors.New("not the name of a generation")
	}
	return strconv.ParseUint(number, 10, 64)
}

// nextName is the name of the generation after this one.
func (g *generation) nextName() string {
	number, err := generationNumber(g.name)
	if err != nil { // the first one
		number = 1
	}
	return generationPrefix + strconv.FormatUint(number+1, 10)
}

// removeOtherGenerations removes what an interrupted Purge left behind.
func removeOtherGenerations(dir, current string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := generationNumber(file.Name()); err != nil || file.Name() == current {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, file.Name())); err != nil {
			return err
		}
	}
	if current == "" {
		return nil
	}
	return removeFirstGeneration(dir)
}

// removeFirstGeneration removes Badger's files from the folder of the store, and
// nothing else that lies there.
func removeFirstGeneration(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		switch extension := filepath.Ext(file.Name()); {
		case file.IsDir():
			continue
		case extension == ".sst" || extension == ".vlog" || extension == ".mem":
		case file.Name() == "MANIFEST" || file.Name() == "KEYREGISTRY" || file.Name() == "DISCARD":
		default:
			continue
		}
		if err := os.Remove(filepath.Join(dir, file.Name())); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// remove closes the database, which nobody reads any more, and deletes its files.
func (g *generation) remove() error {
	if err := g.db.Close(); err != nil {
		return err
	}
	if g.name == "" {
		return removeFirstGeneration(g.dir)
	}
	if err := os.RemoveAll(g.dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(g.dir))
}

// writeAt writes changes in one synced transaction.
func (g *generation) writeAt(version uint64, changes []change) error {
	txn := g.db.NewTransactionAt(version-1, true)
	defer txn.Discard()
	for _, c := range changes {
		var err error
		if c.deleted {
			err = txn.Delete(c.key)
		} else {
			err = txn.Set(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return txn.CommitAt(version, nil)
}

// readFrom returns what is in a version from a key on, at most size bytes and at
// least one change if there is one.
func (g *generation) readFrom(version uint64, from []byte, size int) (changes []change, err error) {
	err = g.scanAt(version, span{from: from}, nil, func(key, value []byte) bool {
		c := change{key: bytes.Clone(key), value: bytes.Clone(value)}
		size -= c.size()
		if size < 0 && len(changes) > 0 {
			return false
		}
		changes = append(changes, c)
		return true
	})
	return changes, err
}

func (g *generation) getAt(version uint64, key []byte) ([]byte, error) {
	txn := g.db.NewTransactionAt(version, false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading from store %s: %w", g.dir, err)
	}
	value, err := item.ValueCopy([]byte{})
	if err != nil {
		return nil, fmt.Errorf("reading from store %s: %w", g.dir, err)
	}
	return value, nil
}

// scanAt merges two ordered runs, the keys on disk and the changes that wait for
// a sync; where both have a key the change counts.
func (g *generation) scanAt(version uint64, keys span, waiting []change, visit func(key, value []byte) bool) error {
	txn := g.db.NewTransactionAt(version, false)
	defer txn.Discard()
	disk := txn.NewIterator(badger.IteratorOptions{Prefix: keys.prefix()})
	defer disk.Close()
	for disk.Seek(keys.from); disk.Valid() && keys.beforeEnd(disk.Item().Key()); disk.Next() {
		item := disk.Item()
		upTo := countUpTo(waiting, item.Key())
		if !visitAll(waiting[:upTo], visit) {
			return nil
		}
		overwritten := upTo > 0 && bytes.Equal(waiting[upTo-1].key, item.Key())
		waiting = waiting[upTo:]
		if overwritten {
			continue
		}
		goOn := false
		err := item.Value(func(value []byte) error {
			goOn = visit(item.Key(), value)
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading from store %s: %w", g.dir, err)
		}
		if !goOn {
			return nil
		}
	}
	visitAll(waiting, visit)
	return nil
}
