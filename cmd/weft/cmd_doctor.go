package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
	"weft/internal/store"
	"weft/node"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams"
	"weft/plugins/streams/managed"
	"weft/receipt"
	"weft/tangle"
)

func newDoctorCommand(s *shell) *cobra.Command {
	d := doctor{shell: s}
	c := &cobra.Command{
		Use:   "doctor --dir DIR",
		Short: "check a data folder, and the node if it runs, and say what to do",
		Long: `Checks what a node needs, one line each: settings, key, genesis, disk, ports, clock, and
whether its network makes progress. It changes nothing. Exit code 0 if nothing is wrong;
1 if something is, with what to do about it. It reads little of the store: 'weft reindex
--check' checks all of it.`,
		Example: "  weft doctor --dir weft",
		RunE:    func(c *cobra.Command, _ []string) error { return d.run(c.Context()) },
	}
	c.Flags().StringVar(&d.passphraseFile, "passphrase-file", os.Getenv("WEFT_PASSPHRASE_FILE"), "file with the passphrase of node.key; also WEFT_PASSPHRASE_FILE")
	return c
}

// Verdicts on what a check found.
const (
	verdictGood = "good"
	verdictWarn = "warn" // works now, may not for long
	verdictBad  = "bad"
	verdictSkip = "skip" // could not be looked at
)

// finding is what one check says.
type finding struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	ToDo    string `json:"todo,omitempty"`
}

// doctor goes through the checks; later ones use what earlier ones have read.
type doctor struct {
	*shell
	passphraseFile string

	data     config.Dir
	settings *config.Node
	key      ed25519.PrivateKey
	genesis  *genesis.Genesis
	running  bool // a process holds the folder
	findings []finding
}

// errUnwell is the end of a doctor's visit that found something bad.
var errUnwell = errors.New("something needs mending")

func (d *doctor) run(ctx context.Context) error {
	if d.dir == "" {
		return usage("--dir is missing: which node?")
	}
	d.data = config.Dir(d.dir)
	if _, err := os.Stat(d.dir); err != nil {
		return fmt.Errorf("%w: 'weft init --dir %s' makes a data folder", err, d.dir)
	}
	d.checkSettings()
	d.checkKey()
	d.checkGenesis()
	d.checkMembers()
	d.checkSecrets()
	d.checkTools()
	d.checkFolder()
	d.checkDisk()
	d.checkStore()
	d.checkPorts()
	d.checkNode(ctx)
	return d.report()
}

func (d *doctor) note(name, verdict, todo, format string, args ...any) {
	d.findings = append(d.findings, finding{name, verdict, fmt.Sprintf(format, args...), todo})
}

func (d *doctor) report() error {
	bad := false
	for _, f := range d.findings {
		bad = bad || f.Verdict == verdictBad
		d.print("%-4s  %-10s %s\n", f.Verdict, f.Name, strings.ReplaceAll(f.Detail, "\n", "\n                 "))
		if f.ToDo != "" {
			d.print("                 -> %s\n", f.ToDo)
		}
	}
	if d.json {
		if err := d.printJSON(map[string]any{"good": !bad, "findings": d.findings}); err != nil || !bad {
			return err
		}
		return &exitError{code: exitRefused} // all is said
	}
	if bad {
		return errUnwell
	}
	return nil
}

func (d *doctor) checkSettings() {
	n, err := d.data.Load(os.Environ(), nil)
	if err != nil {
		d.note("settings", verdictBad, "mend the lines named above in node.json or the environment", "%s", err)
		return
	}
	d.settings = &n
	if err := d.data.CheckSocket(n); err != nil {
		d.note("settings", verdictBad, "move the folder, or turn the socket off", "%s", err)
		return
	}
	d.note("settings", verdictGood, "", "%s", d.data.Node())
}

func (d *doctor) checkKey() {
	key, err := config.ReadKey(d.data.Key(), func() (string, error) { return d.readPassphrase(d.passphraseFile) })
	switch {
	case errors.Is(err, config.ErrPassphrase):
		d.note("key", verdictSkip, "give --passphrase-file to look inside", "%s is locked with a passphrase", d.data.Key())
	case errors.Is(err, fs.ErrNotExist):
		d.note("key", verdictBad, "restore it from your backup; a new key is a new member", "%s is missing", d.data.Key())
	case err != nil:
		d.note("key", verdictBad, "make it readable for this user alone", "%s", err)
	default:
		d.key = key
		d.note("key", verdictGood, "", "member %s", config.MemberOf(key))
	}
}

func (d *doctor) checkGenesis() {
	g, err := config.LoadGenesis(d.data.Genesis())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note("genesis", verdictBad, "weft init --dir "+d.dir+" --genesis FILE", "there is none yet")
	case err != nil:
		d.note("genesis", verdictBad, "copy the founders' file unchanged and compare its sha256sum", "%s", err)
	default:
		d.genesis = g
		d.note("genesis", verdictGood, "", "network %s of %d members, id %s", g.Network, len(g.Members), g.ID())
	}
}

func (d *doctor) checkMembers() {
	if d.settings == nil || d.genesis == nil || d.key == nil {
		d.note("members", verdictSkip, "", "needs settings, key and genesis")
		return
	}
	if err := config.CheckMembers(*d.settings, d.genesis, config.MemberOf(d.key)); err != nil {
		d.note("members", verdictBad, "use the genesis that names this member; take strangers out of peers", "%s", err)
		return
	}
	others := len(d.genesis.Members) - 1
	if others > 0 && len(d.settings.Peers) == 0 && !d.settings.MDNS {
		d.note("members", verdictWarn, "weft init --dir "+d.dir+" --peer MEMBER.json", "no peers in node.json: this node only waits to be dialled")
		return
	}
	d.note("members", verdictGood, "", "%d of %d others are in peers", len(d.settings.Peers), others)
}

func (d *doctor) checkSecrets() {
	err := config.CheckSecret(d.data.Token())
	if errors.Is(err, fs.ErrNotExist) {
		d.note("secrets", verdictWarn, "use the operator's socket", "no operator.token")
		return
	}
	if err == nil && d.settings != nil {
		_, err = d.data.PSK(*d.settings)
	}
	if err != nil {
		d.note("secrets", verdictBad, "chmod 600 the file", "%s", err)
		return
	}
	d.note("secrets", verdictGood, "", "nobody else on this machine may read them")
}

// checkTools looks at the key files of managed mode, without opening them: a node that cannot read one does not start.
func (d *doctor) checkTools() {
	if d.settings == nil {
		return // said already
	}
	_, settings, err := readManaged(d.settings.Plugins[streams.Name])
	if err == nil && !settings.Enabled {
		return
	}
	for _, name := range settings.Identities {
		_, fault := keyfile.Read(managed.KeyFile(d.dir, name))
		err = errors.Join(err, fault)
	}
	if file := settings.PassphraseFile; file != "" {
		_, fault := keyfile.ReadPassphrase(d.data.Path(file))
		err = errors.Join(err, fault)
	}
	switch {
	case err != nil:
		d.note("managed", verdictBad, "mend or restore the file; the node does not start without it", "%s", err)
	case settings.PassphraseFile == "":
		d.note("managed", verdictWarn, "name its file in plugins.streams.managed.passphraseFile", "keys of %d tools, which stay locked without a passphrase", len(settings.Identities))
	default:
		d.note("managed", verdictGood, "", "this node acts for %d tools", len(settings.Identities))
	}
}

func (d *doctor) checkFolder() {
	f, err := os.CreateTemp(d.dir, ".doctor-")
	if err != nil {
		d.note("folder", verdictBad, "give the folder to the user that runs the node", "not writable: %s", err)
		return
	}
	f.Close()
	os.Remove(f.Name())
	d.note("folder", verdictGood, "", "writable")
}

func (d *doctor) checkDisk() {
	const bad, tight = 256 << 20, 2 << 30 // bytes
	free, known := store.FreeBytes(d.dir)
	switch {
	case !known:
		d.note("disk", verdictSkip, "", "this system does not say how much is free")
	case free < bad:
		d.note("disk", verdictBad, "make room; a node with a full disk takes no more entries", "%d MiB free", free>>20)
	case free < tight:
		d.note("disk", verdictWarn, "make room soon", "%d MiB free", free>>20)
	default:
		d.note("disk", verdictGood, "", "%d GiB free", free>>30)
	}
}

// damagedStore is what to do about a store that cannot be used. An empty one is no way out: a key that has signed must not
// sign again without the record of what it signed (docs/operations.md).
const damagedStore = "check the disk; put the newest copy of store/ back only if the node has not run since it was made; " +
	"never start this key on an empty or older store"

// checkStore opens the store if no node has it.
func (d *doctor) checkStore() {
	if _, err := os.Stat(d.data.Store()); errors.Is(err, fs.ErrNotExist) {
		d.note("store", verdictGood, "", "none yet: the node has not run")
		return
	}
	disk, err := store.OpenBadger(store.BadgerConfig{Dir: d.data.Store()})
	if errors.Is(err, store.ErrLocked) {
		d.running = true
		d.note("store", verdictGood, "", "in use: a node runs")
		return
	}
	if err == nil {
		defer disk.Close()
		err = store.CheckSchema(disk)
	}
	switch {
	case errors.Is(err, store.ErrNewerSchema):
		d.note("store", verdictBad, "run the newer program again", "%s", err)
	case errors.Is(err, store.ErrOlderSchema):
		d.note("store", verdictBad, "run the program that wrote it", "%s", err)
	case err != nil:
		d.note("store", verdictBad, damagedStore, "%s", err)
	case errors.Is(node.CheckReindex(disk), node.ErrReindex):
		d.note("store", verdictBad, "weft reindex --dir "+d.dir, "%s", node.ErrReindex)
	default:
		d.readStore(disk)
	}
}

// readStore compares a store with the genesis and this machine's clock.
func (d *doctor) readStore(disk store.Store) {
	if d.genesis == nil {
		d.note("store", verdictSkip, "", "whose it is cannot be said without the genesis")
		return
	}
	id := d.genesis.ID()
	owner, err := disk.Get(store.Key(store.PrefixNode, []byte("network"))) // network, then member
	if err == nil && (len(owner) < len(id) || tangle.ID(owner[:len(id)]) != id) {
		d.note("store", verdictBad, "put the right genesis.json back, or give the other network its own folder", "it belongs to another network")
		return
	}
	size := finalSize(disk)
	if size == 0 {
		d.note("store", verdictGood, "", "nothing is final yet")
		return
	}
	record, err := node.OpenLedger(d.genesis, disk).Checkpoint(size)
	if err != nil {
		d.note("store", verdictBad, damagedStore, "checkpoint of size %d: %s", size, err)
		return
	}
	checkpoint, err := receipt.ParseCheckpoint(record.Text())
	if err != nil {
		d.note("store", verdictBad, damagedStore, "checkpoint of size %d: %s", size, err)
		return
	}
	d.note("store", verdictGood, "", "%d positions are final, the last at %s", size, checkpoint.Time)
	if ahead := checkpoint.Time.Sub(tangle.TimeOf(time.Now())); ahead > time.Minute {
		d.note("clock", verdictBad, "set the clock (NTP)", "the ledger is %s ahead of this machine's clock", ahead.Round(time.Second))
	}
}

// finalSize finds the size of the newest certified checkpoint by bisection, since a store is only read upwards.
func finalSize(disk store.Store) uint64 {
	end := store.PrefixEnd(store.Key(store.PrefixCertified))
	n := sort.Search(math.MaxInt, func(n int) bool {
		none := true
		disk.Scan(store.Key(store.PrefixCertified, store.U64(uint64(n))), end, func(_, _ []byte) bool { none = false; return false })
		return none
	})
	return uint64(max(n-1, 0))
}

// checkPorts tries the ports of a node that does not run.
func (d *doctor) checkPorts() {
	if d.settings == nil || d.running {
		d.note("ports", verdictSkip, "", "looked at only while the node does not run")
		return
	}
	listen := d.settings.Listen
	if d.settings.API.Listen != "" {
		listen = append([]string{d.settings.API.Listen}, listen...)
	}
	for _, addr := range listen {
		if strings.HasPrefix(addr, "/") {
			continue // the network layer's own notation; the node says at its start
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			d.note("ports", verdictBad, "end what listens there, or choose another port in node.json", "%s", err)
			return
		}
		l.Close()
	}
	d.note("ports", verdictGood, "", "free: %s", strings.Join(listen, " "))
}

// checkNode asks the node itself if it runs.
func (d *doctor) checkNode(ctx context.Context) {
	if !d.running || d.settings == nil {
		d.note("node", verdictSkip, "", "does not run")
		return
	}
	e := endpoint{URL: "http://" + d.settings.API.Listen}
	if d.settings.Operator.Socket {
		e = endpoint{URL: "http://localhost", Socket: d.data.Socket()}
	}
	c, err := client.New(client.Config{URL: e.URL, Socket: e.Socket, Retry: client.NoRetry()})
	if err != nil {
		d.note("node", verdictSkip, "", "%s", err)
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	facts, err := c.Node(ctx)
	if err != nil {
		d.note("node", verdictBad, "read its log; if it hangs, end it and start it again", "holds the folder but does not answer: %s", err)
		return
	}
	d.note("node", verdictGood, "", "version %s, %d peers, position %d, final %d", facts.Version, facts.Peers, facts.Position, facts.Final)
	d.checkProgress(ctx, c, facts)
}

func (d *doctor) checkProgress(ctx context.Context, c *client.Client, facts client.Node) {
	if d.genesis != nil && facts.NetworkID != d.genesis.ID() {
		d.note("network", verdictBad, "start the node again, or put its genesis.json back", "the node runs another genesis than the folder holds")
	}
	const old = 60 // seconds; one is due every ten
	switch {
	case !facts.Quorum:
		d.note("progress", verdictBad, "see 'weft peers': bring members back or mend the way to them", "no quorum: too few validators are reachable")
	case facts.FinalAge == nil:
		d.note("progress", verdictGood, "", "nothing is on the ledger yet")
	case *facts.FinalAge > old:
		d.note("progress", verdictBad, "see 'weft peers' and the node's log", "the last checkpoint is %.0f s old", *facts.FinalAge)
	default:
		d.note("progress", verdictGood, "", "the last checkpoint is %.0f s old", *facts.FinalAge)
	}
	ready, err := c.Ready(ctx)
	if err != nil {
		d.note("ready", verdictBad, "", "%s", err)
		return
	}
	for _, check := range ready.Checks {
		if !check.OK {
			d.note("ready", verdictBad, "", "%s: %s", check.Name, check.Detail)
		}
	}
}
