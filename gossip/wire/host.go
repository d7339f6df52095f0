package wire

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	mss "github.com/multiformats/go-multistream"

	"weft/tangle"
)

// Host is one member's end of the network. All methods may be called from any goroutine.
type Host struct {
	config    Config
	pace      pace
	self      tangle.Member
	protocols [laneCount]protocol.ID
	net       *transports
	log       *slog.Logger

	running chan struct{} // closed by Run: sessions wait for it
	life    context.Context
	end     context.CancelFunc
	work    sync.WaitGroup // every goroutine this host started

	mu       sync.Mutex // taken after a link's, never before it
	started  bool
	closing  bool // no more work may be added
	links    map[tangle.Member]*link
	refused  uint64
	refusals []Refusal
	lastWarn time.Time
}

// Open checks the config and listens. Nothing is dialled and no callback is called before Run. A Host that was opened
// must be run, if only with a context that has ended: Run is what closes it.
func Open(c Config) (*Host, error) { return open(c, defaultPace()) }

func open(c Config, p pace) (*Host, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("wire config: %w", err)
	}
	h := &Host{
		config: c, pace: p, protocols: protocols(c.Network), log: c.Log,
		self:    tangle.Member(c.Key.Public().(ed25519.PublicKey)),
		running: make(chan struct{}), links: make(map[tangle.Member]*link),
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	takeLibraryLog(h.log)
	h.life, h.end = context.WithCancel(context.Background())
	var err error
	if h.net, err = openTransports(&c, gate{h}, p); err != nil {
		h.end()
		return nil, err
	}
	for _, p := range c.Peers {
		if err := h.AddPeer(p); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	h.net.SetStreamHandler(h.arrived)
	h.net.Notify(&network.NotifyBundle{ConnectedF: h.connected, DisconnectedF: h.disconnected})
	return h, nil
}

// Run dials, redials and serves until ctx ends, then closes everything and waits for the last callback. The error is
// that of closing, or of discovery that could not start; losing peers is not an error.
func (h *Host) Run(ctx context.Context) error {
	h.mu.Lock()
	if h.started {
		h.mu.Unlock()
		return errors.New("host was run before")
	}
	h.started = true
	h.mu.Unlock()
	close(h.running)
	for _, l := range h.allLinks() {
		h.startDialler(l)
	}
	if !h.config.MDNS {
		<-ctx.Done()
		return h.close()
	}
	stop, err := h.discover()
	if err != nil {
		return errors.Join(err, h.close())
	}
	<-ctx.Done()
	return errors.Join(stop(), h.close())
}

func (h *Host) close() error {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	h.end()
	err := h.net.close()
	h.work.Wait()
	return err
}

// AddPeer adds addresses for a member and dials it from now on, as if Config.Peers had named it: members join without
// a restart. A member that is not Allowed yet is dialled as soon as it is.
func (h *Host) AddPeer(p Peer) error {
	if p.Member == h.self {
		return nil // one list of peers may serve all members
	}
	addrs, err := parseAddrs(p)
	if err != nil {
		return err
	}
	l, err := h.link(p.Member)
	if err != nil {
		return err
	}
	l.addAddrs(addrs)
	l.retry()
	h.mu.Lock()
	started := h.started
	h.mu.Unlock()
	if started { // else Run does it
		h.startDialler(l)
	}
	return nil
}

// Send queues a frame and never blocks. False means it was dropped: the peer is not connected, the queue is full, or
// the frame is empty or above MaxFrame. The frame is shared and must not change afterwards.
func (h *Host) Send(to tangle.Member, lane Lane, frame []byte) bool {
	if lane >= laneCount || len(frame) == 0 || len(frame) > MaxFrame {
		return false
	}
	h.mu.Lock()
	l := h.links[to]
	h.mu.Unlock()
	return l != nil && l.send(lane, frame)
}

// Drop closes the connection to a member at fault and refuses it, both ways, until then.
func (h *Host) Drop(m tangle.Member, until time.Time, reason string) {
	l, err := h.link(m)
	if err != nil {
		return
	}
	l.shut(until, reason)
	h.log.Warn("peer dropped", "peer", m.Short(), "reason", reason, "until", until)
	h.closePeer(l)
}

// Recheck asks Allowed again about every connected peer and closes those that are no longer members; peers that became
// members are dialled at once. To be called whenever the member set changed.
func (h *Host) Recheck() {
	for _, conn := range h.net.Conns() {
		member, err := MemberOf(conn.RemotePeer())
		if err == nil && h.config.Allowed(member) {
			continue
		}
		h.refuse(member, conn.RemoteMultiaddr().String(), errNotMember.Error())
		h.spawn(func() { h.net.ClosePeer(conn.RemotePeer()) })
	}
	for _, l := range h.allLinks() {
		switch {
		case h.config.Allowed(l.member):
			l.retry()
		case l.idle():
			h.forget(l)
		default:
			l.expel(errNotMember)
		}
	}
}

// Addrs returns the addresses this host listens on, as multiaddrs with the real ports.
func (h *Host) Addrs() []string {
	var addrs []string
	for _, addr := range h.net.ListenAddresses() {
		addrs = append(addrs, addr.String())
	}
	return addrs
}

// admit is the member set and the drops in one question; nil means the peer may connect.
func (h *Host) admit(m tangle.Member) error {
	if m == h.self {
		return errSelf
	}
	if !h.config.Allowed(m) {
		return errNotMember
	}
	h.mu.Lock()
	l := h.links[m]
	h.mu.Unlock()
	if l == nil {
		return nil
	}
	return l.dropped(time.Now())
}

// leads tells which end of a pair picks the connection.
func (h *Host) leads(peer tangle.Member) bool { return bytes.Compare(h.self[:], peer[:]) < 0 }

// link returns the record of a member, making room for it if need be.
func (h *Host) link(m tangle.Member) (*link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[m]; l != nil {
		return l, nil
	}
	if len(h.links) >= MaxPeers {
		return nil, errTooMany
	}
	l, err := newLink(h, m)
	if err != nil {
		return nil, err
	}
	h.links[m] = l
	return l, nil
}

func (h *Host) forget(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, l.member)
}

// allLinks is ordered by member, so that what is shown does not jump.
func (h *Host) allLinks() []*link {
	h.mu.Lock()
	defer h.mu.Unlock()
	links := make([]*link, 0, len(h.links))
	for _, l := range h.links {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b *link) int { return bytes.Compare(a.member[:], b.member[:]) })
	return links
}

// spawn starts a goroutine that close waits for; false means the host is closing and nothing was started.
func (h *Host) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.work.Go(f)
	return true
}

// startDialler starts the dialler of a link that has addresses, once.
func (h *Host) startDialler(l *link) {
	if l.claimDialler() {
		h.spawn(l.dialForEver)
	}
}

// closePeer may wait for a dead socket, so it does so in a goroutine of its own.
func (h *Host) closePeer(l *link) { h.spawn(func() { h.net.ClosePeer(l.id) }) }

// connected is called by the swarm for every connection that passed the gate, in both directions.
func (h *Host) connected(_ network.Network, conn network.Conn) {
	member, err := MemberOf(conn.RemotePeer())
	if err == nil {
		err = h.admit(member) // the member set may have changed since the gate asked
	}
	var l *link
	if err == nil {
		l, err = h.link(member)
	}
	if err != nil {
		h.refuse(member, conn.RemoteMultiaddr().String(), err.Error())
		h.spawn(func() { conn.Close() })
		return
	}
	if h.leads(member) {
		l.lead(conn)
		return
	}
	time.AfterFunc(2*h.pace.setup, func() { l.reap(conn) })
}

func (h *Host) disconnected(_ network.Network, conn network.Conn) {
	member, err := MemberOf(conn.RemotePeer())
	if err != nil {
		return
	}
	h.mu.Lock()
	l := h.links[member]
	h.mu.Unlock()
	if l != nil {
		l.wake()
	}
}

// arrived names the lane of a stream the peer opened and hands it to the peer's session.
func (h *Host) arrived(stream network.Stream) {
	member, err := MemberOf(stream.Conn().RemotePeer())
	if err == nil {
		err = h.admit(member)
	}
	if err != nil {
		stream.Reset()
		return
	}
	l, err := h.link(member)
	if err != nil {
		stream.Reset()
		return
	}
	lane, err := h.negotiate(stream)
	if err != nil {
		l.failSetup(err)
	}
	if err != nil || !l.accept(stream, lane) {
		stream.Reset()
	}
}

// negotiate reads which lane the peer asks for.
func (h *Host) negotiate(stream network.Stream) (Lane, error) {
	offered := mss.NewMultistreamMuxer[protocol.ID]()
	for _, id := range h.protocols {
		offered.AddHandler(id, nil)
	}
	other := false // the last one is asked for what no other matched
	offered.AddHandlerWithFunc("", func(protocol.ID) bool { other = true; return false }, nil)
	stream.SetDeadline(time.Now().Add(h.pace.setup))
	chosen, _, err := offered.Negotiate(stream)
	if err != nil && other {
		return 0, errOtherNetwork
	}
	if err != nil {
		return 0, err
	}
	return Lane(slices.Index(h.protocols[:], chosen)), stream.SetDeadline(time.Time{})
}
