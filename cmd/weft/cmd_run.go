package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"weft/config"
	"weft/config/genesis"
	"weft/internal/store"
)

func newRunCommand(s *shell) *cobra.Command {
	r := runCommand{shell: s}
	c := &cobra.Command{
		Use:   "run --dir DIR",
		Short: "run the node of a data folder",
		Long: `Runs the node until SIGTERM or Ctrl-C. It may be killed at any moment: what it has
confirmed is on disk, and it goes on where it was.

Settings come from node.json, then the environment (api.listen is WEFT_API_LISTEN), then
--set, later ones winning. What the node says of itself goes to standard error.`,
		Example: `  weft run --dir weft
  weft run --dir weft --set log.level=debug --set api.listen=127.0.0.1:9000`,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context()) },
	}
	c.Flags().StringArrayVar(&r.set, "set", nil, "a setting over node.json, such as log.level=debug; may be repeated")
	c.Flags().StringVar(&r.passphraseFile, "passphrase-file", os.Getenv("WEFT_PASSPHRASE_FILE"), "file with the passphrase of node.key (- for standard input); also WEFT_PASSPHRASE_FILE")
	return c
}

type runCommand struct {
	*shell
	set            []string
	passphraseFile string
}

// folder is a data folder that was read and found right.
type folder struct {
	dir      config.Dir
	settings config.Node
	genesis  *genesis.Genesis
	key      ed25519.PrivateKey
	psk      []byte
}

func (r *runCommand) run(ctx context.Context) error {
	if r.dir == "" {
		return usage("--dir is missing: which node?")
	}
	f, err := r.load()
	if err != nil {
		return err
	}
	log := newLog(r.err, f.settings.Log)
	if limit := f.settings.MemoryMebibytes; limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(limit) << 20)
	}
	disk, err := store.OpenBadger(store.BadgerConfig{Dir: f.dir.Store(), Log: log})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("another process runs a node on %s: stop it first, one folder has one node", f.dir)
	}
	if err != nil {
		return err
	}
	return errors.Join(r.serve(ctx, f, disk, log), disk.Close())
}

// load reads the folder and reports everything wrong with it at once.
func (r *runCommand) load() (folder, error) {
	f := folder{dir: config.Dir(r.dir)}
	set, err := pairs(r.set)
	if err != nil {
		return f, err
	}
	var faults [4]error
	f.settings, faults[0] = f.dir.Load(os.Environ(), set)
	f.genesis, faults[1] = config.LoadGenesis(f.dir.Genesis())
	if errors.Is(faults[1], fs.ErrNotExist) {
		faults[1] = fmt.Errorf("%s has no genesis.json yet: 'weft init --dir %s --genesis FILE' puts it there", f.dir, f.dir)
	}
	f.key, faults[2] = config.ReadKey(f.dir.Key(), func() (string, error) { return r.readPassphrase(r.passphraseFile) })
	faults[2] = needPassphrase(faults[2])
	f.psk, faults[3] = f.dir.PSK(f.settings)
	if err := errors.Join(faults[:]...); err != nil {
		return f, err
	}
	return f, config.CheckMembers(f.settings, f.genesis, config.MemberOf(f.key))
}

func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validate has checked it
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// serve runs the node on an open store.
func (r *runCommand) serve(ctx context.Context, f folder, disk *store.Badger, log *slog.Logger) error {
	<-ctx.Done()
	return nil
}
