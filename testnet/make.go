// Package testnet makes a network of several members on one machine and runs it: keys, genesis and settings for each in a
// folder of its own, and each node as a process of its own, so that killing one is as real as it gets.
//
// It is for trying out, demonstrating, measuring and testing. It is no way to run a consortium: all keys are in one place.
package testnet

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weft/config"
	"weft/config/genesis"
	"weft/plugins/identity"
	"weft/plugins/streams"
	"weft/tangle"
)

// MaxNodes bounds a network on one machine.
const MaxNodes = 32

// Options say how a network is made. The zero value is a network of four on free ports of 127.0.0.1.
type Options struct {
	Nodes    int    // default 4
	Network  string // default "testnet"
	BasePort int    // APIs from here on, peers 100 higher; 0: free ports

	// For nodes on machines or in containers of their own. %d stands for the node's number.
	Listen    string // where a node listens for peers
	Advertise string // where the others dial it
	APIListen string // where its API listens; a plain listener off loopback is allowed

	Settings map[string]string // paths of node.json and their values, as 'weft run --set' takes them
}

// ErrThere says that Make found a network in the folder.
var ErrThere = errors.New("holds a network already")

// Make writes the folders node0, node1, ... and genesis.json into dir. It overwrites nothing.
func Make(dir string, o Options) error {
	if o.Nodes == 0 {
		o.Nodes = 4
	}
	if o.Network == "" {
		o.Network = "testnet"
	}
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return fmt.Errorf("%d nodes: want 1 or 4 to %d", o.Nodes, MaxNodes)
	}
	if _, err := os.Stat(nodeDir(dir, 0).Node()); err == nil {
		return fmt.Errorf("%s: %w", dir, ErrThere)
	}
	m := maker{dir: dir, options: o}
	if err := m.choosePlaces(); err != nil {
		return err
	}
	if err := m.chooseKeys(); err != nil {
		return err
	}
	return m.write()
}

func nodeDir(dir string, i int) config.Dir {
	return config.Dir(filepath.Join(dir, "node"+strconv.Itoa(i)))
}

type maker struct {
	dir     string
	options Options
	places  []place
	keys    []ed25519.PrivateKey
	genesis *genesis.Genesis
}

// place is where a node listens and is dialled.
type place struct{ listen, advertise, api string }

func (m *maker) choosePlaces() error {
	o := m.options
	ports, err := choosePorts(o)
	if err != nil {
		return err
	}
	for i := range o.Nodes {
		p := place{
			listen: fmt.Sprintf("127.0.0.1:%d", ports[o.Nodes+i]),
			api:    fmt.Sprintf("127.0.0.1:%d", ports[i]),
		}
		numbered(&p.listen, o.Listen, i)
		numbered(&p.api, o.APIListen, i)
		p.advertise = p.listen
		numbered(&p.advertise, o.Advertise, i)
		m.places = append(m.places, p)
	}
	return nil
}

func numbered(to *string, pattern string, i int) {
	if pattern != "" {
		*to = strings.ReplaceAll(pattern, "%d", strconv.Itoa(i))
	}
}

// choosePorts returns the ports of all APIs, then those for peers.
func choosePorts(o Options) ([]int, error) {
	if o.BasePort == 0 {
		return freePorts(2 * o.Nodes)
	}
	if o.BasePort < 1 || o.BasePort+100+o.Nodes > 65535 {
		return nil, fmt.Errorf("base port %d: want 1 to %d", o.BasePort, 65535-100-o.Nodes)
	}
	var ports []int
	for _, base := range []int{o.BasePort, o.BasePort + 100} {
		for i := range o.Nodes {
			ports = append(ports, base+i)
		}
	}
	return ports, nil
}

// freePorts looks below the range from which systems give ports to outgoing connections, because a node must get its own
// ones back when it starts again.
func freePorts(n int) ([]int, error) {
	const from, to = 20_000, 30_000
	var ports []int
	start := from + rand.IntN(to-from)
	for i := range to - from {
		if len(ports) == n {
			return ports, nil
		}
		port := from + (start-from+i)%(to-from)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		ports = append(ports, port)
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}

// identityLimits lift the quotas of DIDs: whoever tries out or measures is the only member there is.
const identityLimits = `{"limits":{"maxCreatesPerMinute":1000000,"maxSpendsPerMinute":1000000,"maxUpdatesPerDay":1000000}}`

func (m *maker) chooseKeys() error {
	g := &genesis.Genesis{
		Version: genesis.Version, Network: m.options.Network, Time: tangle.TimeOf(time.Now()),
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(),
		Plugins: []genesis.Plugin{{Name: identity.Name, Config: json.RawMessage(identityLimits)}, {Name: streams.Name}},
	}
	for i := range m.options.Nodes {
		key, err := config.NewKey()
		if err != nil {
			return err
		}
		m.keys = append(m.keys, key)
		g.Members = append(g.Members, genesis.Member{
			Key: config.MemberOf(key), Name: fmt.Sprintf("node%d", i), Roles: []string{genesis.RoleValidator, genesis.RoleGovernor},
		})
	}
	m.genesis = g
	return g.Validate(config.CheckKey)
}

func (m *maker) write() error {
	for i := range m.keys {
		if err := m.writeNode(i); err != nil {
			return fmt.Errorf("node%d: %w", i, err)
		}
	}
	return config.WriteNew(filepath.Join(m.dir, "genesis.json"), m.genesis.Bytes(), 0o644)
}

func (m *maker) writeNode(i int) error {
	settings, err := m.settings(i)
	if err != nil {
		return err
	}
	dir := nodeDir(m.dir, i)
	stub := config.Stub{Member: m.genesis.Members[i], Addrs: []string{m.places[i].advertise}}
	if err := dir.Create(settings, stub, m.keys[i], ""); err != nil {
		return err
	}
	return dir.Join(m.genesis)
}

func (m *maker) settings(i int) (config.Node, error) {
	file := config.Default()
	file.Listen = []string{m.places[i].listen}
	file.API.Listen = m.places[i].api
	file.Operator.Socket = len(nodeDir(m.dir, i).Socket()) <= config.MaxSocketBytes
	file.API.Insecure = m.options.APIListen != ""
	file.API.Read, file.API.Submit = config.AccessOpen, config.AccessOpen
	file.API.Limits = config.Limits{} // whoever measures is the only caller
	for j, p := range m.places {
		if j != i {
			file.Peers = append(file.Peers, config.Peer{Member: m.genesis.Members[j].Key, Addrs: []string{p.advertise}})
		}
	}
	text, err := json.Marshal(file)
	if err != nil {
		return file, err
	}
	return config.Parse(config.Sources{File: text, Set: m.options.Settings})
}
