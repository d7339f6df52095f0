package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"weft/config"
	"weft/config/genesis"
	"weft/config/strict"
	"weft/consensus"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/node"
	"weft/plugins"
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
	token    string // the operator's; empty: none
}

func (r *runCommand) run(ctx context.Context) error {
	if r.dir == "" {
		return usage("--dir is missing: which node?")
	}
	f, err := r.load()
	if err != nil {
		return err
	}
	var level slog.LevelVar
	log := newLog(r.err, f.settings.Log, &level)
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
	err = store.CheckSchema(disk)
	if err == nil {
		err = serve(ctx, r.config(f, disk, log, &level))
	}
	return ending(err, disk.Close())
}

// ending is why a node has ended, with what closing its store has added. A full disk says so both times.
func ending(err, closing error) error {
	if errors.Is(err, store.ErrDiskFull) && errors.Is(closing, store.ErrDiskFull) {
		return err
	}
	return errors.Join(err, closing)
}

// config is what the node is made of.
func (r *runCommand) config(f folder, disk *store.Badger, log *slog.Logger, level *slog.LevelVar) node.Config {
	n := f.settings
	c := node.Config{
		Genesis: f.genesis, Key: f.key, Store: disk, Dir: string(f.dir),
		Listen: n.Listen, PSK: f.psk, MDNS: n.MDNS,
		PurgeEvery: time.Duration(n.PurgeHours) * time.Hour,
		Tuning:     node.DefaultTuning(), Makers: r.plugins, Sections: n.Plugins, Log: log,
		API: node.APIConfig{API: n.API, OperatorToken: f.token, Version: version().Version, Level: level},
	}
	for _, p := range n.Peers {
		c.Peers = append(c.Peers, wire.Peer{Member: p.Member, Addrs: p.Addrs})
	}
	c.Tuning.Pace = consensus.Pace{
		MinRound: time.Duration(n.Tuning.MinRound), LeaderTimeout: time.Duration(n.Tuning.LeaderTimeout),
		MaxTimeout: time.Duration(n.Tuning.MaxTimeout), IdleRound: time.Duration(n.Tuning.IdleRound),
	}
	if n.API.TLS.Cert != "" {
		c.API.TLSCert, c.API.TLSKey = f.dir.Path(n.API.TLS.Cert), f.dir.Path(n.API.TLS.Key)
	}
	if n.Operator.Socket {
		c.API.Socket = f.dir.Socket()
	}
	return c
}

// serve runs the node until ctx ends.
func serve(ctx context.Context, c node.Config) error {
	n, err := node.Open(c)
	if err != nil {
		return err
	}
	c.Log.Info("node started", "network", c.Genesis.Network, "id", c.Genesis.ID(), "member", config.MemberOf(c.Key),
		"api", n.APIAddr(), "peers", n.WireAddrs(), "position", n.Head().Position)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.Run(ctx) })
	group.Go(func() error { sayReady(ctx, n, c.Log); return nil })
	err = group.Wait()
	c.Log.Info("node ended", "position", n.Head().Position)
	return err
}

// sayReady logs one line when the node serves for the first time.
func sayReady(ctx context.Context, n *node.Node, log *slog.Logger) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if v := n.Vitals(); v.Synced && v.Quorum {
			log.Info("ready: entries become final", "position", n.Head().Position)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// load reads the folder and reports everything wrong with it at once.
func (r *runCommand) load() (folder, error) {
	f := folder{dir: config.Dir(r.dir)}
	set, err := pairs(r.set)
	if err != nil {
		return f, err
	}
	var faults [5]error
	f.settings, faults[0] = f.dir.Load(os.Environ(), set)
	f.genesis, faults[1] = config.LoadGenesis(f.dir.Genesis())
	if errors.Is(faults[1], fs.ErrNotExist) {
		faults[1] = fmt.Errorf("%s has no genesis.json yet: 'weft init --dir %s --genesis FILE' puts it there", f.dir, f.dir)
	}
	f.key, faults[2] = config.ReadKey(f.dir.Key(), func() (string, error) { return r.readPassphrase(r.passphraseFile) })
	faults[2] = needPassphrase(faults[2])
	f.psk, faults[3] = f.dir.PSK(f.settings)
	f.token, faults[4] = f.dir.ReadToken()
	if err := errors.Join(faults[:]...); err != nil {
		return f, err
	}
	return f, errors.Join(config.CheckMembers(f.settings, f.genesis, config.MemberOf(f.key)), r.checkSections(f.settings), f.dir.CheckSocket(f.settings))
}

// checkSections refuses sections of plugins that this binary does not have.
func (r *runCommand) checkSections(n config.Node) error {
	var faults strict.Faults
	for _, name := range slices.Sorted(maps.Keys(n.Plugins)) {
		if !slices.ContainsFunc(r.plugins, func(m plugins.Maker) bool { return m.Name == name }) {
			faults.Add("plugins."+name, "this binary has no such plugin")
		}
	}
	return faults.Err()
}

func newLog(w io.Writer, c config.Log, level *slog.LevelVar) *slog.Logger {
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level.Set(slog.LevelInfo) // Validate has checked it
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
