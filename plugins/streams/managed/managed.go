// Package managed is the mode in which a node acts for simple tools of its own organisation, such as a SIEM or a PLC gateway:
// they send and get plaintext, and the node signs, seals and opens with keys that it keeps for them. It is off unless
// node.json names the tools.
//
// It gets no privilege: it is a client like any other, which goes through package audit and the channel routes of its own
// node (see door), so that rights, order and receipts are those of everybody. It writes no plaintext to a disk, an index or a
// log, and drops the keys of a channel that nobody uses. The custody mark "node" of requests and grants tells all
// participants; in a channel that says otherwise of a tool it does not act.
package managed

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/client"
	"weft/client/audit"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// Bounds of what is done for a tool.
const (
	MaxPayload   = 512 << 10        // bytes of a record that is sent or answered in clear
	MaxBody      = 1 << 20          // of a request with a record
	MaxRequest   = 50 * time.Second // that one request may take: seals again, rekeys
	MaxAtOnce    = 30               // requests of one tool, without live feeds: fewer than payloads of a DID that may wait for their record
	defaultWait  = 10 * time.Second // for finality
	expireEvery  = 30 * time.Second
	identityName = "identity" // the plugin whose state holds the documents of readers
)

// Mode acts for the tools that node.json names. It is safe for concurrent use.
type Mode struct {
	host   plugins.Host
	now    func() time.Time
	door   *door
	tools  []*tool
	opened *opened
	pace   time.Duration // between looks for epochs that are due

	life context.Context // ends when the node stops, and with it what is done for requests
	end  context.CancelFunc
	gate sync.RWMutex // requests hold it for reading: keys go when none is left
}

// Config is what the mode is made of.
type Config struct {
	Host     plugins.Host
	Settings Settings
	Channels []plugins.Route // of this node
	Now      func() time.Time
	Settle   time.Duration // between looks for epochs that are due; 0: as it is
}

// Open reads the key files of all tools, and unlocks them if the settings name a passphrase file.
func Open(c Config) (*Mode, error) {
	m := &Mode{host: c.Host, now: c.Now, door: newDoor(c.Channels), opened: newOpened(c.Now), pace: c.Settle}
	if m.pace == 0 {
		m.pace = expireEvery
	}
	m.life, m.end = context.WithCancel(context.Background())
	var err error
	m.tools, err = openTools(c.Host.Dir, c.Settings)
	if err != nil {
		return nil, err
	}
	for _, t := range m.tools {
		if t.locked {
			c.Host.Log.Warn("the keys of a managed identity are locked: managed.passphraseFile is not set", slog.String("name", t.name))
			continue
		}
		if t.session, err = m.session(t); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// begin takes a place for a request of a tool; the caller gives it back by calling done.
func (m *Mode) begin(t *tool) (done func(), err error) {
	select {
	case t.places <- struct{}{}:
	default:
		return nil, plugins.Reject("busy", "%d requests of %s run already", MaxAtOnce, t.name)
	}
	m.gate.RLock()
	done = func() { m.gate.RUnlock(); <-t.places }
	if m.life.Err() != nil {
		done()
		return nil, plugins.Reject("shutting_down", "the node stops")
	}
	return done, nil
}

// session is a tool as a client of this node.
func (m *Mode) session(t *tool) (*audit.Session, error) {
	caller := plugins.Caller{
		ID: "managed " + t.identity.DID, DID: t.identity.DID, Proved: true, Loopback: true,
		Scopes: []string{plugins.ScopeLedgerRead, plugins.ScopeLedgerSubmit, plugins.ScopeChannelsRead},
	}
	t.http = &http.Client{Transport: doorFor{m.door, caller}}
	node, err := client.New(client.Config{URL: base, HTTP: t.http, Retry: client.NoRetry()})
	if err != nil {
		return nil, err
	}
	return audit.NewSession(audit.Config{
		Node: node, Network: m.host.Network, Identity: t.identity, NoLogin: true, Resolve: m.resolve, Now: m.now,
	}), nil
}

// resolve reads a document in this node's own state.
func (m *Mode) resolve(_ context.Context, id string) (did.Object, error) {
	r := did.Resolve(m.host.Peek(identityName), id, did.Options{})
	switch {
	case r.Fault != nil:
		return nil, r.Fault
	case r.Error != nil:
		return nil, plugins.Reject("unknown_did", "%s", id)
	case r.Document == nil:
		return nil, plugins.Reject("deactivated", "%s", id)
	}
	return r.Document, nil
}

// Run opens epochs that are due where a tool is admin, and drops keys that nobody uses, until ctx ends.
func (m *Mode) Run(ctx context.Context) error {
	defer m.close()
	var g errgroup.Group
	g.Go(func() error { m.settling(ctx); return nil })
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-ticker.C:
			m.opened.expire()
		}
	}
}

// close ends the requests that run, and overwrites the keys in memory once they have.
func (m *Mode) close() {
	m.end()
	m.gate.Lock()
	defer m.gate.Unlock()
	for _, t := range m.tools {
		t.close()
	}
}

// settling looks for epochs that are due.
func (m *Mode) settling(ctx context.Context) {
	ticker := time.NewTicker(m.pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, t := range m.tools {
			if t.locked {
				continue
			}
			if err := m.settleAll(ctx, t); err != nil && ctx.Err() == nil {
				m.host.Log.Warn("an epoch is due and could not be opened", slog.String("identity", t.name), slog.Any("error", err))
			}
		}
	}
}

// settleAll does what is due in all channels of which a tool is admin. One that fails does not hold up the others.
func (m *Mode) settleAll(ctx context.Context, t *tool) error {
	var faults []error
	err := t.session.EachChannel(ctx, client.ChannelFilter{Participant: t.identity.DID, Access: string(channel.Private), Archived: true}, func(ch client.Channel) error {
		if !ch.RekeyDue || !ch.Rights.Has(channel.Admin) || m.declared(ch.ID, t) != nil {
			return ctx.Err()
		}
		c, err := m.opened.take(ctx, t, ch.ID)
		if err == nil {
			err = m.settle(ctx, c)
		}
		if err != nil {
			faults = append(faults, err)
		} else {
			m.opened.keep(t, c)
		}
		return ctx.Err()
	})
	return errors.Join(append(faults, err)...)
}

// settle opens an epoch if one is due and the tool is admin: nothing more is sealed for those who may not read any more.
func (m *Mode) settle(ctx context.Context, c *audit.Channel) error {
	if !c.Info.RekeyDue || !c.Info.Rights.Has(channel.Admin) {
		return nil
	}
	_, err := c.Settle(ctx)
	return err
}
