// Package identity is the ledger plugin for decentralized identities: a registry of DIDs of the method did:weft with its W3C
// resolver, status lists and trust as signed operations that every node judges alike, and the node's bridge to verifiable
// credentials: issuing, verifying, presentations, login.
//
// It holds no key of a user and makes no signature on anybody's behalf, except those of issuer instances that the operator
// set up. The rules themselves are pure and live below: did, status, trust (ledger), vc and jsonld (credentials), keyfile
// (private keys at rest). What may not be on the ledger (profiles, custody bodies, requests) is kept in the node's local key
// space, where it can be erased.
package identity

import (
	"context"
	"fmt"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
	"weft/plugins/rest"
	"weft/tangle"
)

// Name is the plugin's name in genesis.json and node.json.
const Name = "identity"

// The entry kinds of the plugin.
const (
	KindDID    tangle.Kind = 16
	KindStatus tangle.Kind = 17
	KindTrust  tangle.Kind = 18
)

// Maker names the plugin and opens it.
func Maker() plugins.Maker { return MakerAt(time.Now) }

// MakerAt is Maker with another clock, for conformance suites whose credentials have a date. The clock judges credentials
// and tokens; the ledger has its own.
func MakerAt(now func() time.Time) plugins.Maker {
	return plugins.Maker{Name: Name, Open: func(h plugins.Host) (plugins.Plugin, error) { return openAt(h, now) }}
}

// identity is the opened plugin. It is safe for concurrent use: what changes is in records, pending, tokens and vault, which
// guard themselves.
type identity struct {
	host       plugins.Host
	now        func() time.Time
	ledger     ledger
	settings   Settings
	records    *records
	operations *rest.Operations
	tokens     *tokens
	vault      *vault
	contexts   *jsonld.Contexts
	fetcher    fetcher
	challenges *challenger
	books      *books
	served     *servedLists
	faults     chan error // broken invariants that requests met: the node stops
}

func openAt(h plugins.Host, now func() time.Time) (plugins.Plugin, error) {
	l, err := openLedger(h.Network, h.Genesis)
	if err != nil {
		return plugins.Plugin{}, fmt.Errorf("genesis: %w", err)
	}
	settings, err := parseSettings(h.Config)
	if err != nil {
		return plugins.Plugin{}, err
	}
	x := &identity{host: h, now: now, ledger: l, settings: settings, records: &records{local: h.Local, now: now}, challenges: newChallenger(), faults: make(chan error, 1)}
	x.fetcher = newFetcher(settings.Fetch)
	x.books, x.served = newBooks(x.records), &servedLists{}
	x.operations = rest.NewOperations(h, now, x.rules())
	if err := x.openParts(); err != nil {
		return plugins.Plugin{}, err
	}
	p := l.plugin()
	admit := l.admit(h.Self, now)
	p.Admit = func(s plugins.Reader, op plugins.Op) error { return admit(s, op) }
	p.HTTP = plugins.Routes{List: x.routes(), Codes: statuses(), OpenAPI: fragments()}
	p.Authenticate, p.Operation, p.Run = x.authenticate, x.operations.Look, x.run
	return p, nil
}

// openParts opens what reads files or the local key space.
func (x *identity) openParts() (err error) {
	if x.contexts, err = openContexts(x.host.Dir, x.settings.Contexts); err != nil {
		return err
	}
	if x.vault, err = openVault(x.host.Dir, x.settings); err != nil {
		return err
	}
	x.tokens, err = openTokens(x.records, x.now)
	return err
}

// run expires what is over. Everything it does is also done on reading; it keeps the disk small.
func (x *identity) run(ctx context.Context) error {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		if err := x.records.expire(); err != nil {
			return err
		}
		x.operations.Expire()
		x.challenges.used.expire(x.now())
		select {
		case <-ctx.Done():
			return nil
		case err := <-x.faults:
			return err
		case <-ticker.C:
		}
	}
}

const expireEvery = 10 * time.Second

// label is the network as DIDs name it.
func (x *identity) label() string { return did.NetworkLabel(x.host.Network) }
