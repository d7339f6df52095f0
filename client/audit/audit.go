// Package audit is what a client with keys does with channels: it opens them with the wraps that are for it, seals and opens
// records, seals again when the epoch has changed meanwhile, gives rights together with keys, takes them together with a
// new epoch, and sends keys to whoever misses them.
//
// It is orchestration and nothing else: what counts is decided by package channel and by the ledger, requests go through
// package client, private keys stay behind Identity. It writes no file, logs nothing, and keeps epoch keys in memory only.
// It takes the node's word for which keys a DID has, unless Config.Resolve asks somebody else, and for what the ledger
// holds: that is what evidence bundles are checked for, offline.
package audit

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// Bounds of what is done at a time.
const (
	MaxAttempts      = 8   // of an operation that races with others
	MaxReaderKeys    = 4   // of one reader that a key is sealed to
	maxEpochs        = 1e5 // of one channel
	resolveAtOnce    = 8
	keyloadsAtOnce   = 4
	defaultValidity  = time.Hour
	operationTimeout = client.MaxWait
)

// Identity is whoever acts: a DID, the key it signs with, and the keys it opens wraps with.
type Identity struct {
	DID    string
	Method string // DID URL of the signing key, for login
	Public string // multikey of the signing key

	Sign func(message []byte) ([]byte, error) // Ed25519

	Agreements []Agreement // present and retired ones
}

// Agreement is an X25519 key.
type Agreement struct {
	To      string // DID URL; empty: its name is not known any more
	Public  string // multikey
	Private *ecdh.PrivateKey
}

// ReaderKey is a key of a reader that epoch keys are sealed to.
type ReaderKey struct {
	To     string // DID URL
	Public []byte
}

// Config of a session. Network, Identity and Node are needed; without a Node only what needs none works.
type Config struct {
	Node     *client.Client
	Network  tangle.ID
	Identity Identity

	ValidFor time.Duration // how long operations count; an hour, if 0
	Audience string        // of logins; the node's own, if empty
	NoLogin  bool          // the node's client has a token already

	// Resolve returns the current document of a DID; the node's resolver is asked if it is nil.
	Resolve func(ctx context.Context, id string) (did.Object, error)
	// Sealing is told the keys that Settle, Complete and KeyLoad seal to by themselves, before anything is signed; an error
	// stops them. Keys of a Change are in it. nil: nobody looks.
	Sealing func(keys []ReaderKey) error
	Random  io.Reader        // of the system, if nil
	Now     func() time.Time // the system's clock, if nil
}

// Session is an identity at a node. It is safe for concurrent use.
type Session struct {
	Config
	mu   sync.Mutex // guards node
	node *client.Client
}

// NewSession asks nothing yet: it logs in when the node wants it.
func NewSession(c Config) *Session {
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ValidFor == 0 {
		c.ValidFor = defaultValidity
	}
	s := &Session{Config: c, node: c.Node}
	if s.Resolve == nil {
		s.Resolve = s.resolve
	}
	return s
}

// errNoNode is what a session without a node says.
var errNoNode = errors.New("this needs a node")

// ask does something at the node, and again with a fresh login if the node wants to know who asks. What a node
// does not show to strangers, such as a hidden channel, is not there without a login: then too it asks again, once.
func (s *Session) ask(ctx context.Context, do func(*client.Client) error) error {
	node := s.current()
	if node == nil {
		return errNoNode
	}
	err := do(node)
	if s.canLogin() && node == s.Node && slices.Contains([]string{"unknown_channel", "not_found"}, client.ProblemCode(err)) {
		node, fault := s.login(ctx, node)
		if fault != nil {
			return fmt.Errorf("%w; that is what a caller without a login gets, and to log in failed: %v", err, fault)
		}
		return do(node)
	}
	if !s.wantsLogin(err) {
		return err
	}
	if node, err = s.login(ctx, node); err != nil {
		return err
	}
	return do(node)
}

// known logs in where it can and has not yet: a list shows less to strangers, and says nothing of it.
func (s *Session) known(ctx context.Context) error {
	node := s.current()
	if node == nil || node != s.Node || !s.canLogin() {
		return nil
	}
	_, err := s.login(ctx, node)
	return err
}

func (s *Session) current() *client.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}

func (s *Session) canLogin() bool { return !s.NoLogin && s.Identity.Sign != nil }

func (s *Session) wantsLogin(err error) bool {
	return s.canLogin() && slices.Contains([]string{"unauthenticated", "bad_token", "token_expired"}, client.ProblemCode(err))
}

// login logs in unless somebody else has done so since the caller looked.
func (s *Session) login(ctx context.Context, stale *client.Client) (*client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != stale {
		return s.node, nil
	}
	who := client.LoginKey{DID: s.Identity.DID, Method: s.Identity.Method, Sign: s.Identity.Sign}
	token, err := s.Node.Login(ctx, who, s.Audience, s.Now())
	if err != nil {
		return nil, err
	}
	s.node = s.Node.WithToken(token.Token)
	return s.node, nil
}

// header is the header of a new operation, with a fresh nonce.
func (s *Session) header(id channel.ID, after channel.After) (channel.Header, error) {
	nonce, err := channel.NewNonce(s.Random)
	now := tangle.TimeOf(s.Now())
	return channel.Header{
		Network: s.Network, Channel: id, Actor: s.Identity.DID, Nonce: nonce, Created: now, NotAfter: now.Add(s.ValidFor), After: after,
	}, err
}

// Sign makes the entry of an operation.
func (s *Session) Sign(body did.Object) ([]byte, error) {
	ask, err := did.Authentication.Prepare(body, s.Identity.Public)
	if err != nil {
		return nil, err
	}
	signature, err := s.Identity.Sign(ask.HashData)
	if err != nil {
		return nil, err
	}
	return did.Authentication.Attach(body, map[string][]byte{s.Identity.Public: signature})
}

// Submit signs an operation and waits until it is final.
func (s *Session) Submit(ctx context.Context, body did.Object) (client.Operated, error) {
	entry, err := s.Sign(body)
	if err != nil {
		return client.Operated{}, err
	}
	return s.Send(ctx, entry, operationTimeout)
}

// Send publishes a signed operation.
func (s *Session) Send(ctx context.Context, entry []byte, wait time.Duration) (done client.Operated, err error) {
	err = s.ask(ctx, func(node *client.Client) (err error) {
		done, err = node.SubmitOperation(ctx, entry, client.OperationOptions{Final: wait})
		return err
	})
	return done, err
}
