package wire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"
	mss "github.com/multiformats/go-multistream"

	"weft/tangle"
)

// link is what outlives connections to one member: its addresses, its counters, its back-off, and the one session.
type link struct {
	host    *Host
	member  tangle.Member
	id      peer.ID
	changed chan struct{} // capacity 1: the dialler should look again
	lanes   [laneCount]laneCounters

	mu       sync.Mutex
	addrs    []ma.Multiaddr // given by the operator or the ledger
	found    []ma.Multiaddr // by local discovery, last announcement
	dialler  bool
	session  *session // being set up or ready
	ready    bool     // the session has its four streams
	next     time.Time
	backoff  time.Duration
	until    time.Time // refused until then
	reason   string
	failures uint64
	setupErr error // why streams could not be set up, until a failed dial reports it
	lastErr  error
}

// laneCounters counts what went over one lane, over all connections.
type laneCounters struct {
	framesIn, framesOut, bytesIn, bytesOut, dropped atomic.Uint64
}

func newLink(h *Host, m tangle.Member) (*link, error) {
	id, err := PeerIDOf(m)
	if err != nil {
		return nil, err
	}
	return &link{host: h, member: m, id: id, changed: make(chan struct{}, 1), backoff: h.pace.minBackoff}, nil
}

func (l *link) send(lane Lane, frame []byte) bool {
	l.mu.Lock()
	s := l.session
	if !l.ready {
		s = nil
	}
	l.mu.Unlock()
	if s == nil {
		return false
	}
	if !s.queues[lane].push(frame) {
		l.lanes[lane].dropped.Add(1)
		return false
	}
	return true
}

// addAddrs puts new addresses first and forgets the oldest above the bound.
func (l *link) addAddrs(addrs []ma.Multiaddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, addr := range l.addrs {
		if !slices.ContainsFunc(addrs, addr.Equal) {
			addrs = append(addrs, addr)
		}
	}
	l.addrs = addrs[:min(len(addrs), MaxAddrs)]
}

// setFound replaces what local discovery said before; it never displaces given addresses.
func (l *link) setFound(addrs []ma.Multiaddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found = addrs[:min(len(addrs), MaxAddrs)]
}

// lead takes a new connection of a pair that this host leads: it becomes the session, unless a live one exists.
func (l *link) lead(conn network.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && !l.session.stale(time.Now()) {
		l.host.spawn(func() { conn.Close() })
		return
	}
	l.startLocked(conn)
}

// accept gives an arrived stream to the session of its connection. The follower starts that session here: the leader's
// first stream says which connection it chose.
func (l *link) accept(stream network.Stream, lane Lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session
	if s == nil || s.conn != stream.Conn() {
		if l.host.leads(l.member) {
			return false
		}
		s = l.startLocked(stream.Conn())
	}
	return s != nil && s.deliver(lane, stream)
}

func (l *link) startLocked(conn network.Conn) *session {
	s := newSession(l, conn, l.session)
	if !l.host.spawn(s.run) {
		return nil
	}
	if l.session != nil {
		l.session.close(errReplaced)
	}
	l.session, l.ready = s, false
	return s
}

// reap closes a connection the leader did not choose and did not close.
func (l *link) reap(conn network.Conn) {
	l.mu.Lock()
	used := l.session != nil && l.session.conn == conn
	l.mu.Unlock()
	if !used {
		conn.Close()
	}
}

// opened reports whether s may start to carry frames: it is still the link's session.
func (l *link) opened(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = l.session == s
	s.opened.Store(l.ready)
	l.setupErr = nil
	l.wake()
	return l.ready
}

// ended takes the session off the link and sets the time of the next dial.
func (l *link) ended(s *session, carried time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastErr = err
	if !s.opened.Load() {
		l.setupErr = err
	}
	if errors.Is(err, errFault) {
		l.until, l.reason = time.Now().Add(l.host.pace.penalty), err.Error()
	}
	if l.session == s {
		l.session, l.ready = nil, false
		l.delayLocked(carried >= l.host.pace.steady)
	}
	l.wake()
}

// delayLocked draws the next dial from the back-off and doubles it, after starting over if all was well until now.
func (l *link) delayLocked(fresh bool) {
	if fresh {
		l.backoff = l.host.pace.minBackoff
	}
	l.next = time.Now().Add(l.backoff/2 + rand.N(l.backoff/2+1))
	l.backoff = min(2*l.backoff, l.host.pace.maxBackoff)
}

func (l *link) shut(until time.Time, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until, l.reason = until, reason
	l.expelLocked(fmt.Errorf("%w: %s", errDropped, reason))
}

// expel ends the session for a reason the peer is not told.
func (l *link) expel(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expelLocked(why)
}

func (l *link) expelLocked(why error) {
	l.lastErr = why
	if l.session != nil {
		l.session.close(why)
	}
}

func (l *link) dropped(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.until) {
		return fmt.Errorf("%w: %s", errDropped, l.reason)
	}
	return nil
}

// failSetup keeps why the peer's stream could not be taken, for the dialler that waits for it.
func (l *link) failSetup(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setupErr, l.lastErr = err, err
	l.wake()
}

func (l *link) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastErr = err
}

// idle says that nothing is lost if the link is forgotten.
func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session == nil && !l.dialler && time.Now().After(l.until)
}

func (l *link) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// retry dials at once instead of after the back-off.
func (l *link) retry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = time.Time{}
	l.wake()
}

// claimDialler is true once, for a link that has addresses. The follower of a pair starts a moment later, so that at
// start-up of a whole network most pairs are dialled once.
func (l *link) claimDialler() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialler || len(l.addrs)+len(l.found) == 0 {
		return false
	}
	l.dialler = true
	if !l.host.leads(l.member) {
		l.next = time.Now().Add(l.host.pace.follow)
	}
	return true
}

// dialForEver keeps the link connected until the host closes.
func (l *link) dialForEver() {
	for l.host.life.Err() == nil {
		if wait := l.untilDial(); wait > 0 {
			l.sleep(wait)
			continue
		}
		l.dialled(l.dial())
	}
}

// untilDial is how long the dialler has nothing to do, unless something changes; zero means dial.
func (l *link) untilDial() time.Duration {
	const forEver = time.Hour // a change ends the wait
	refused := l.host.admit(l.member)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.session != nil:
		return forEver
	case now.Before(l.until):
		return l.until.Sub(now)
	case refused != nil:
		return l.host.pace.maxBackoff
	}
	return l.next.Sub(now)
}

func (l *link) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.changed:
	case <-l.host.life.Done():
	}
}

// dial makes one attempt over all addresses and waits until the pair has its streams.
func (l *link) dial() error {
	l.mu.Lock()
	addrs := slices.Concat(l.addrs, l.found)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.host.life, l.host.pace.dial)
	defer cancel()
	l.host.net.Backoff().Clear(l.id) // the swarm's own back-off grows to minutes
	l.host.net.Peerstore().AddAddrs(l.id, addrs, peerstore.TempAddrTTL)
	conn, err := l.host.net.DialPeer(ctx, l.id)
	if err != nil {
		return dialError(err)
	}
	return l.await(conn)
}

// await tells a connection from an admission: a peer that refuses us may do so after our side of the handshake is done.
func (l *link) await(conn network.Conn) error {
	ctx, cancel := context.WithTimeout(l.host.life, l.host.pace.setup)
	defer cancel()
	for {
		l.mu.Lock()
		ready, trying, setupErr := l.ready, l.session != nil, l.setupErr
		l.mu.Unlock()
		switch {
		case ready:
			return nil
		case !trying && conn.IsClosed():
			return setupError(setupErr)
		case ctx.Err() != nil:
			conn.Close()
			return errSetup
		}
		select {
		case <-l.changed:
		case <-ctx.Done():
		}
	}
}

// setupError guesses at what a peer that says nothing meant.
func setupError(err error) error {
	var unknown mss.ErrNotSupported[protocol.ID]
	switch {
	case err == nil:
		return errRefused
	case errors.As(err, &unknown):
		return errOtherNetwork
	case errors.Is(err, errSetup), errors.Is(err, errOtherNetwork):
		return err
	}
	return fmt.Errorf("%w (%w)", errRefused, err)
}

func (l *link) dialled(err error) {
	if err == nil || l.host.life.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		return // the peer reached us meanwhile
	}
	l.failures++
	l.lastErr, l.setupErr = err, nil
	if now := time.Now(); l.next.Before(now) { // else the failed session has set it
		l.delayLocked(false)
	}
	l.host.log.Debug("dial failed", "peer", l.member.Short(), "error", err, "failures", l.failures)
}

// dialError puts the swarm's many lines into one.
func dialError(err error) error {
	var mismatch sec.ErrPeerIDMismatch
	if errors.As(err, &mismatch) {
		return errOtherKey
	}
	var detail interface{ Unwrap() []error }
	if errors.As(err, &detail) && len(detail.Unwrap()) > 0 {
		last := detail.Unwrap()[len(detail.Unwrap())-1]
		return fmt.Errorf("%w: %w", errNoAnswer, last)
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}
