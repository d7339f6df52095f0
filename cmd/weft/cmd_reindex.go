package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"weft/config"
	"weft/config/genesis"
	"weft/internal/store"
	"weft/node"
	"weft/tangle"
)

func newReindexCommand(s *shell) *cobra.Command {
	r := reindex{shell: s}
	c := &cobra.Command{
		Use:   "reindex --dir DIR",
		Short: "execute a stopped node's ledger again, check all of it, and rebuild what follows from it",
		Long: `Executes every commit in a data folder again, from nothing but genesis.json and the
messages that are stored. It verifies each message and its signature, and compares outcomes,
the log, the plugins' states, every checkpoint and its signatures with what the folder says.
Then what follows from the messages, and differs, is written anew: positions, the log's
hashes, the plugins' states and indexes. What the node has signed, messages and what is kept
on this node alone are never touched. The node must be stopped; no key is needed.

A difference that cannot come from that, such as a damaged message, ends it: the folder is
then as it was before. If it is interrupted while it writes, the node does not start until
it has been run again.

--check changes nothing and only compares: for a copy of somebody's folder, for example.

Exit code 0 if all is as it should be; 1 if something differs or the folder cannot be read.`,
		Example: `  weft reindex --dir weft
  weft reindex --dir weft --check --json`,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context()) },
	}
	c.Flags().BoolVar(&r.check, "check", false, "compare alone, and change nothing")
	c.Flags().StringVar(&r.temp, "temp", "", "folder for what is made anew, which is removed at the end (default: in the data folder)")
	return c
}

type reindex struct {
	*shell
	check bool
	temp  string

	data    config.Dir
	genesis *genesis.Genesis
}

func (r *reindex) run(ctx context.Context) (err error) {
	if r.dir == "" {
		return usage("--dir is missing: which node?")
	}
	r.data = config.Dir(r.dir)
	if r.genesis, err = config.LoadGenesis(r.data.Genesis()); err != nil {
		return err
	}
	disk, err := r.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	if err := store.CheckSchema(disk); err != nil {
		return err
	}
	return r.replay(ctx, disk)
}

// open opens the store of a node that does not run.
func (r *reindex) open() (*store.Badger, error) {
	if _, err := os.Stat(r.data.Store()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no store: its node has never run", r.data)
	}
	disk, err := store.OpenBadger(store.BadgerConfig{Dir: r.data.Store()})
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("a process runs a node on %s: stop it first", r.data)
	}
	return disk, err
}

// scratch opens an empty store that is thrown away. The one in the data folder is safe from others, because whoever makes it
// holds the node's store; an earlier one may lie there.
func (r *reindex) scratch() (s *store.Badger, remove func() error, err error) {
	dir := r.data.Path("reindex.tmp")
	if r.temp != "" {
		if dir, err = os.MkdirTemp(r.temp, "weft-reindex-"); err != nil {
			return nil, nil, err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, nil, err
	}
	s, err = store.OpenBadger(store.BadgerConfig{Dir: dir})
	return s, func() error { return os.RemoveAll(dir) }, err
}

// replay does it, with a line of progress on a terminal.
func (r *reindex) replay(ctx context.Context, disk store.Store) (err error) {
	scratch, remove, err := r.scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close(), remove()) }()
	ledger, err := node.LedgerPlugins(r.plugins, r.genesis, scratch)
	if err != nil {
		return err
	}
	replay, err := node.NewReplay(node.ReplayConfig{Genesis: r.genesis, Store: disk, Scratch: scratch, Plugins: ledger, Mend: !r.check})
	if err != nil {
		return err
	}
	err = r.steps(ctx, replay)
	report := replay.Report()
	var difference *node.Difference
	switch {
	case errors.As(err, &difference):
		return r.differs(report, difference)
	case err != nil && report.Writing:
		return fmt.Errorf("%w\nThe node does not start until 'weft reindex --dir %s' has been run to its end", err, r.dir)
	case err != nil:
		return err
	}
	return r.tell(report)
}

func (r *reindex) steps(ctx context.Context, replay *node.Replay) error {
	line := r.progress()
	defer line.clear()
	for more := true; more; {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		var err error
		if more, err = replay.Step(); err != nil {
			return err
		}
		got, keys := replay.Report(), uint64(0)
		for _, d := range got.Derived {
			keys += d.Keys
		}
		line.show("%d of %d commits, %d positions, %d certified checkpoints, %d keys compared", got.Commits, got.Of, got.Position, got.Certified, keys)
	}
	return nil
}

// reindexReport is what --json prints.
type reindexReport struct {
	Network     string          `json:"network"`
	Good        bool            `json:"good"`    // the folder is as it should be now
	Changed     bool            `json:"changed"` // something was written anew
	Commits     uint64          `json:"commits"`
	CommitsHere uint64          `json:"commitsHere"` // in the folder
	Positions   uint64          `json:"positions"`
	Rejected    uint64          `json:"rejected"`
	Checkpoints uint64          `json:"checkpoints"`
	Certified   uint64          `json:"certified"`
	Derived     []derivedView   `json:"derived"`
	Difference  *differenceView `json:"difference,omitempty"`
	Interrupted bool            `json:"interrupted,omitempty"` // an earlier run was, and the node does not start
}

type derivedView struct {
	Name    string `json:"name"`
	Keys    uint64 `json:"keys"`
	Differs uint64 `json:"differs"`
}

type differenceView struct {
	Code     string `json:"code"`
	Commit   uint64 `json:"commit"`
	Position uint64 `json:"position"`
	Message  string `json:"message,omitempty"`
	Detail   string `json:"detail"`
}

func (r *reindex) view(got node.ReplayReport) reindexReport {
	v := reindexReport{
		Network: r.genesis.Network, Good: got.Stale == "" || !r.check, Changed: got.Stale != "" && !r.check, Commits: got.Commits, CommitsHere: got.Of,
		Positions: uint64(got.Position), Rejected: got.Rejected, Checkpoints: got.Checkpoints, Certified: got.Certified, Interrupted: got.Writing,
	}
	for _, d := range got.Derived {
		v.Derived = append(v.Derived, derivedView{d.Name, d.Keys, d.Stale})
	}
	return v
}

// differs says what was found that cannot be made anew, and what to do about it.
func (r *reindex) differs(got node.ReplayReport, d *node.Difference) error {
	if r.json {
		v := r.view(got)
		v.Good, v.Changed = false, false
		v.Difference = &differenceView{Code: d.Code, Commit: d.Commit, Position: uint64(d.Position), Detail: d.Detail}
		if d.Message != (tangle.ID{}) {
			v.Difference.Message = d.Message.String()
		}
		if err := r.printJSON(v); err != nil {
			return err
		}
		return &exitError{code: exitRefused}
	}
	return fmt.Errorf("%w\n%d of %d commits are as they should be; nothing was changed. See docs/operations.md", d, got.Commits, got.Of)
}

// tell says how it came out when all commits did as they had before.
func (r *reindex) tell(got node.ReplayReport) error {
	v := r.view(got)
	v.Good = v.Good && !got.Writing
	r.print("executed    %d commits, %d positions, %d entries rejected: as before\n", got.Commits, got.Position, got.Rejected)
	r.print("checkpoints %d, of which a quorum has signed %d: all good\n", got.Checkpoints, got.Certified)
	var rows [][]string
	stale := uint64(0)
	for _, d := range got.Derived {
		rows = append(rows, []string{d.Name, fmt.Sprintf("%d keys", d.Keys), fmt.Sprintf("%d differ", d.Stale)})
		stale += d.Stale
	}
	r.table(rows)
	var bad error
	switch {
	case got.Writing:
		bad = node.ErrReindex
	case stale > 0 && r.check:
		bad = fmt.Errorf("%d keys differ, the first of %s: 'weft reindex --dir %s' writes them anew", stale, got.Stale, r.dir)
	case stale > 0:
		r.print("written anew: %d keys, the first of %s\n", stale, got.Stale)
	default:
		r.print("nothing differs\n")
	}
	if !r.json {
		return bad
	}
	if err := r.printJSON(v); err != nil || bad == nil {
		return err
	}
	return &exitError{code: exitRefused} // all is said
}
