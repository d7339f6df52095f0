package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/config"
	"weft/config/genesis"
	"weft/plugins/identity"
	"weft/plugins/streams"
	"weft/tangle"
)

func newInitCommand(s *shell) *cobra.Command {
	i := initCommand{shell: s}
	c := &cobra.Command{
		Use:   "init --dir DIR --name NAME",
		Short: "make a data folder: key, settings, operator's token",
		Long: `Makes the data folder of a member's node. The key is made here and never leaves.

Founders of a network do this once:

  1. each member, at home:
       weft init --dir weft --name harbour.example --advertise node.harbour.example:7600
     and sends weft/member.json (nothing secret in it) to the others

  2. one of them makes the genesis and sends it back:
       weft init genesis --network trade-1 harbour.json bank.json customs.json carrier.json
     everybody compares: sha256sum genesis.json is the network's ID

  3. each member puts it in place, with the others' addresses:
       weft init --dir weft --genesis genesis.json --peer bank.json --peer customs.json --peer carrier.json
       weft run --dir weft

All validators are named in the genesis: one for a private log, or four and more. With
four, one may fail or lie and the network goes on.`,
		Example: `  weft init --dir weft --name harbour.example
  weft init --dir weft --genesis genesis.json --peer bank.json`,
		RunE: func(*cobra.Command, []string) error { return i.run() },
	}
	f := c.Flags()
	f.StringVar(&i.name, "name", "", "the member's name, such as a domain (for a new folder)")
	f.StringSliceVar(&i.roles, "roles", []string{genesis.RoleValidator, genesis.RoleGovernor}, "the member's roles: "+strings.Join(genesis.Roles(), ", "))
	f.StringSliceVar(&i.advertise, "advertise", nil, "where the others dial this node, host:port")
	f.StringArrayVar(&i.set, "set", nil, "a setting for node.json, such as api.listen=127.0.0.1:9000; may be repeated")
	f.StringVar(&i.genesis, "genesis", "", "the network's genesis.json")
	f.StringArrayVar(&i.peers, "peer", nil, "member.json of another member, to dial it; may be repeated")
	f.StringVar(&i.passphraseFile, "passphrase-file", "", "encrypt the key with the passphrase in this file (- for standard input)")
	c.AddCommand(newGenesisCommand(s))
	return c
}

type initCommand struct {
	*shell
	name, genesis, passphraseFile string
	roles, advertise, set, peers  []string
}

func (i *initCommand) run() error {
	if i.dir == "" {
		return usage("--dir is missing: which folder?")
	}
	dir := config.Dir(i.dir)
	_, err := os.Stat(dir.Key())
	made := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !made:
		return err
	case made && i.name == "":
		return usage("--name is missing: how is the member called?")
	case !made && i.name != "":
		return fmt.Errorf("%s is a data folder already; its key is never overwritten", dir)
	case !made && i.genesis == "" && len(i.peers) == 0:
		return fmt.Errorf("%s is a data folder already, and neither --genesis nor --peer says what to add", dir)
	}
	if made {
		if err := i.create(dir); err != nil {
			return err
		}
	}
	if err := i.join(dir); err != nil {
		return err
	}
	return i.report(dir)
}

func (i *initCommand) create(dir config.Dir) error {
	stub := config.Stub{Member: genesis.Member{Name: i.name, Roles: i.roles}, Addrs: i.advertise}
	if err := errors.Join(genesis.CheckName(i.name), genesis.CheckRoles(i.roles)); err != nil {
		return usage("%s", err)
	}
	words, err := i.readPassphrase(i.passphraseFile)
	if err != nil {
		return err
	}
	settings, err := i.settings(nil)
	if err != nil {
		return err
	}
	key, err := config.NewKey()
	if err != nil {
		return err
	}
	return dir.Create(settings, stub, key, words)
}

// settings are those of a file with what --set says on top.
func (i *initCommand) settings(file []byte) (config.Node, error) {
	set, err := pairs(i.set)
	if err != nil {
		return config.Node{}, err
	}
	if file == nil {
		if file, err = json.Marshal(config.Default()); err != nil {
			return config.Node{}, err
		}
	}
	n, err := config.Parse(config.Sources{File: file, Set: set})
	if err != nil {
		return n, usage("%s", err)
	}
	return n, nil
}

// join adds the genesis and the peers that the flags name.
func (i *initCommand) join(dir config.Dir) error {
	if i.genesis != "" {
		g, err := config.LoadGenesis(i.genesis)
		if err != nil {
			return err
		}
		self, err := config.LoadStub(dir.Member())
		if err != nil {
			return err
		}
		if err := config.CheckMembers(config.Node{}, g, self.Key); err != nil {
			return err
		}
		if err := dir.Join(g); err != nil {
			return err
		}
	}
	if len(i.peers) == 0 {
		return nil
	}
	settings, err := dir.Load(nil, nil)
	if err != nil {
		return err
	}
	for _, path := range i.peers {
		stub, err := config.LoadStub(path)
		if err != nil {
			return err
		}
		settings.Peers = withPeer(settings.Peers, stub)
	}
	if err := settings.Validate(); err != nil {
		return err
	}
	return dir.WriteNode(settings)
}

// withPeer adds a peer, or replaces its addresses.
func withPeer(peers []config.Peer, stub config.Stub) []config.Peer {
	for i, p := range peers {
		if p.Member == stub.Key {
			peers[i].Addrs = stub.Addrs
			return peers
		}
	}
	return append(peers, config.Peer{Member: stub.Key, Addrs: stub.Addrs})
}

func (i *initCommand) report(dir config.Dir) error {
	stub, err := config.LoadStub(dir.Member())
	if err != nil {
		return err
	}
	g, err := config.LoadGenesis(dir.Genesis())
	ready := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if i.json {
		facts := map[string]any{"dir": dir, "member": stub.Key, "name": stub.Name}
		if ready {
			facts["network"], facts["networkId"] = g.Network, g.ID()
		}
		return i.printJSON(facts)
	}
	i.print("member   %s  %s\nfolder   %s\n", stub.Name, stub.Key, dir)
	if ready {
		i.print("network  %s  %s\n\nNext: weft run --dir %s\n", g.Network, g.ID(), dir)
		return nil
	}
	i.print("\nNext: give %s to the founders, and when the genesis is there:\n  weft init --dir %s --genesis genesis.json --peer MEMBER.json ...\n", dir.Member(), dir)
	return nil
}

func newGenesisCommand(s *shell) *cobra.Command {
	var g genesisCommand
	g.shell = s
	c := &cobra.Command{
		Use:   "genesis --network NAME MEMBER.json...",
		Short: "make the network's genesis from the founders' member.json files",
		Long: `Makes genesis.json, which all members share and which never changes. The SHA-256 of
the file is the network's ID: everybody compares it before running.`,
		Example: `  weft init genesis --network trade-1 harbour.json bank.json customs.json carrier.json
  sha256sum genesis.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, members []string) error { return g.run(members) },
	}
	g.out = "genesis.json"
	c.Flags().StringVar(&g.network, "network", "", "the network's name: a-z, 0-9 and -")
	c.Flags().StringVar(&g.out, "out", g.out, "file to write")
	c.Flags().StringArrayVar(&g.plugins, "plugin", []string{identity.Name, streams.Name}, "a ledger plugin that every node runs, as name or name={JSON}; in order; may be repeated")
	return c
}

type genesisCommand struct {
	*shell
	network, out string
	plugins      []string
}

func (c *genesisCommand) run(members []string) error {
	if c.network == "" {
		return usage("--network is missing: how is the network called?")
	}
	g := &genesis.Genesis{
		Version: genesis.Version, Network: c.network, Time: tangle.TimeOf(time.Now()),
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(),
	}
	for _, path := range members {
		stub, err := config.LoadStub(path)
		if err != nil {
			return err
		}
		g.Members = append(g.Members, stub.Member)
	}
	for _, text := range c.plugins {
		name, section, given := strings.Cut(text, "=")
		p := genesis.Plugin{Name: name}
		if given {
			p.Config = json.RawMessage(section)
		}
		g.Plugins = append(g.Plugins, p)
	}
	if err := g.Validate(config.CheckKey); err != nil {
		return fmt.Errorf("this would be no network:\n%w", err)
	}
	if err := config.WriteNew(c.out, g.Bytes(), 0o644); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"network": g.Network, "networkId": g.ID(), "file": c.out, "validators": len(g.Committee())})
	}
	c.print("network %s, %d members, %d validators\nid      %s\nwritten to %s; all members need exactly this file\n",
		g.Network, len(g.Members), len(g.Committee()), g.ID(), c.out)
	return nil
}

// pairs reads flags of the form path=value.
func pairs(flags []string) (map[string]string, error) {
	set := map[string]string{}
	for _, flag := range flags {
		path, value, ok := strings.Cut(flag, "=")
		if !ok {
			return nil, usage("--set %s: want path=value, such as api.listen=127.0.0.1:9000", flag)
		}
		set[path] = value
	}
	return set, nil
}
