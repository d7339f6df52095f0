// Package streams is the ledger plugin for channels: audit trails that their readers can decrypt and nobody else, whose rights
// every node enforces. It wires the rules of package channel into a node and serves them: operations, records, a live feed,
// evidence, payloads beside the ledger and their erasure.
//
// It holds no key of a channel and opens nothing, but for tools of its own organisation if it is told to (package managed):
// what a node stores and serves is ciphertext, and who is served what is courtesy; the keys are the lock. Keys of actors are those of the plugin identity. What is not on the ledger (payload files,
// statements about erasure) is kept in the node's data folder and its local key space.
package streams

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/plugins/streams/managed"
)

// Name is the plugin's name in genesis.json and node.json.
const Name = "streams"

// identityPlugin is the plugin whose state holds the keys of actors.
const identityPlugin = "identity"

// Maker names the plugin and opens it.
func Maker() plugins.Maker { return MakerAt(time.Now) }

// MakerAt is Maker with another clock. The clock judges what is served; the ledger has its own.
func MakerAt(now func() time.Time) plugins.Maker {
	return plugins.Maker{Name: Name, Open: func(h plugins.Host) (plugins.Plugin, error) { return openAt(h, now) }}
}

// streams is the opened plugin. It is safe for concurrent use: what changes is in its parts, which guard themselves.
type streams struct {
	host       plugins.Host
	now        func() time.Time
	ledger     ledger
	settings   Settings
	operations *rest.Operations
	feed       *feed
	dues       *dues
	blobs      *blobStore
	statements *statements
	wanted     chan blobKey // payloads that this node fetches by itself
	silent     silence
	consumers  consumers
	rendered   rendered
	pace       pace
	done       followed      // owned by run
	drops      drops         // owned by run
	faults     chan error    // broken invariants that requests met: the node stops
	managed    *managed.Mode // nil: off
}

// pace is how fast streams go.
type pace struct {
	beat   time.Duration // that a stream may be silent
	block  time.Duration // that a consumer may block before it is cut off
	settle time.Duration // between looks for epochs that managed mode has to open; 0: its own
}

func openAt(h plugins.Host, now func() time.Time) (plugins.Plugin, error) {
	return openPaced(h, now, pace{beat: streamBeat, block: MaxStreamBlock})
}

func openPaced(h plugins.Host, now func() time.Time, p pace) (plugins.Plugin, error) {
	l, err := openLedger(h.Network, h.Genesis)
	if err != nil {
		return plugins.Plugin{}, fmt.Errorf("genesis: %w", err)
	}
	s := &streams{
		host: h, now: now, ledger: l, pace: p, feed: newFeed(), dues: newDues(), statements: &statements{local: h.Local},
		wanted: make(chan blobKey, MaxWanted), faults: make(chan error, 1),
	}
	if s.settings, err = parseSettings(h.Config); err != nil {
		return plugins.Plugin{}, err
	}
	if s.blobs, err = openBlobs(h.Dir, s.settings.Blobs.MaxBytes, now); err != nil {
		return plugins.Plugin{}, err
	}
	s.operations = rest.NewOperations(h, now, s.rules())
	plugin := l.plugin()
	plugin.Admit = s.admit
	plugin.HTTP = plugins.Routes{List: s.routes(), Codes: statuses(), OpenAPI: [][]byte{openAPI}}
	if s.settings.Managed.Enabled {
		if err := s.manage(&plugin.HTTP); err != nil {
			return plugins.Plugin{}, err
		}
		plugin.Managed = true
	}
	plugin.Operation, plugin.Run, plugin.Answer, plugin.Gone = s.operations.Look, s.run, s.answer, s.gone
	plugin.Facts = s.blobs.facts
	return plugin, nil
}

// manage adds the routes for tools that hold no keys.
func (s *streams) manage(to *plugins.Routes) (err error) {
	s.managed, err = managed.Open(managed.Config{Host: s.host, Settings: s.settings.Managed, Channels: to.List, Now: s.now, Settle: s.pace.settle})
	if err != nil {
		return err
	}
	to.List, to.OpenAPI = append(to.List, s.managed.Routes()...), append(to.OpenAPI, managed.OpenAPI())
	return nil
}

// run follows the ledger, fetches payloads, and does what is due for tools, until ctx ends.
func (s *streams) run(ctx context.Context) error {
	defer s.feed.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.replicate(ctx) })
	if s.managed != nil {
		g.Go(func() error { return s.managed.Run(ctx) })
	}
	g.Go(func() error { return s.work(ctx) })
	return g.Wait()
}

// work wakes streams, erases what the ledger says, and drops what nobody refers to.
func (s *streams) work(ctx context.Context) error {
	s.drops = newDrops(s.host.Local)
	s.done = followed{final: s.drops.done, erase: s.statements.done()}
	now := make(chan struct{})
	close(now)
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	var swept time.Time
	for {
		changed := s.host.Changed()
		again, err := s.follow()
		if err != nil {
			return err
		}
		if again {
			changed = now
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.faults:
			return err
		case <-changed:
			continue
		case <-ticker.C:
		}
		s.operations.Expire()
		if err := s.blobs.expire(s.judgeBlob); err != nil {
			return err
		}
		if s.now().Sub(swept) > sweepEvery {
			swept = s.now()
			if err := s.blobs.sweep(s.judgeBlob); err != nil {
				return err
			}
		}
	}
}

const (
	expireEvery = 10 * time.Second
	sweepEvery  = time.Hour
)

// damaged stops the node over state that cannot be read; other errors are the caller's.
func (s *streams) damaged(err error) {
	if err == nil || plugins.Rejected(err) != nil {
		return
	}
	select {
	case s.faults <- err:
	default:
	}
}

// state is the plugin's own state now.
func (s *streams) state() plugins.View { return s.host.View() }

// identity is the state of the plugin identity now; nil if the network does not run it.
func (s *streams) identity() plugins.View { return s.host.Peek(identityPlugin) }

// channelOf reads a channel. One that this node has not heard of may be known to others already.
func (s *streams) channelOf(ctx context.Context, id channel.ID) (channel.Channel, channel.Head, error) {
	c, h, err := channel.ReadChannel(s.state(), id)
	if r := plugins.Rejected(err); r != nil {
		s.host.CatchUp(ctx)
		c, h, err = channel.ReadChannel(s.state(), id)
	}
	s.damaged(err)
	return c, h, err
}
