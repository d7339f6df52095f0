// Package wire carries opaque frames between members: a libp2p host, an admission gate and long-lived streams.
//
// It knows who may connect (the member set, asked after the security handshake and before any stream), keeps one
// connection to each peer alive, and bounds everything a peer can make it hold. It does not know what is in a frame,
// does not choose whom to send to, does not repair what it drops and stores nothing: package gossip does the first
// three, the node the last.
//
// Between two members one connection carries four streams: each side opens one stream per lane and only writes to it.
// The member with the smaller key leads the pair: it picks the connection by opening its streams there first, the
// other follows. So two dials that cross end in one connection without either side closing what the other uses.
package wire

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"

	"weft/tangle"
)

// Lane is one of the two streams each side opens to a peer.
type Lane uint8

// The lanes. Witnesses travel on a stream of their own, so that they wait for no queue of bulk frames.
const (
	LaneWitness Lane = 0
	LaneBulk    Lane = 1

	laneCount = 2
)

func (l Lane) String() string {
	if l == LaneWitness {
		return "witness"
	}
	return "bulk"
}

// The bounds of this package. Those per peer hold whatever the peer does.
const (
	MaxFrame        = 1<<20 + 4<<10 // bytes of one frame: 1 MiB of content and its framing in package gossip
	MaxQueuedFrames = 4096          // frames waiting, per peer and lane
	MaxQueuedBytes  = 8 << 20       // bytes waiting, per peer and lane
	MaxPeers        = 256           // members this host keeps a link to
	MaxAddrs        = 16            // addresses of one peer
	MaxRefusals     = 32            // refused dials remembered for display
)

// Peer is a member and where to dial it. An address is a multiaddr or host:port, which means TCP; host may be a name.
type Peer struct {
	Member tangle.Member
	Addrs  []string
}

// Config is what Open needs. Zero fields mean: no peers to dial, no listener, no private-network key, no discovery.
type Config struct {
	Key     ed25519.PrivateKey // the member's node key; the libp2p peer ID derives from it
	Network tangle.ID          // names the streams, so that members of two networks never exchange frames
	Listen  []string           // addresses as in Peer; port 0 picks one
	Peers   []Peer             // dialled for ever, with back-off
	PSK     []byte             // 32 bytes, or nil: a second door in front of the handshake, TCP only
	MDNS    bool               // find members on the local network; only Allowed ones are dialled

	// Allowed is the member set. It is called often and from many goroutines; it must be quick and must not call the Host.
	Allowed func(tangle.Member) bool
	// OnFrame takes over a frame. Each peer and lane has one reader that calls it, in order. While it blocks, that lane of
	// that peer is not read: this is the back-pressure. It must return once the node is closing.
	OnFrame func(from tangle.Member, lane Lane, frame []byte)
	// OnPeer says that Send can reach the peer, or no longer can. Calls for one peer alternate, and all OnFrame calls of a
	// connection lie between its two. Nil means no.
	OnPeer func(peer tangle.Member, connected bool)
	Log    *slog.Logger // nil means no log
}

// The errors a caller or a test branches on; they end up in PeerInfo.LastError as text.
var (
	errFault        = errors.New("peer broke the framing")
	errSilent       = errors.New("peer went silent")
	errReplaced     = errors.New("peer opened a newer connection")
	errDropped      = errors.New("dropped")
	errNotMember    = errors.New("not in the member set")
	errSetup        = errors.New("streams were not opened in time")
	errRefused      = errors.New("peer closed the connection after the handshake: does its member set hold this key?")
	errTooMany      = errors.New("too many peers")
	errSelf         = errors.New("own key")
	errNoAnswer     = errors.New("no answer on any address")
	errOtherNetwork = errors.New("peer serves another network")
	errOtherKey     = errors.New("another key answers at this address")
	errNotEd25519   = errors.New("peer ID is not an Ed25519 key")
)

// pace holds every duration of the package; tests shorten them.
type pace struct {
	beat       time.Duration // a ping to each peer this often, unless frames go out anyway
	stale      time.Duration // silent this long: a new connection replaces the old one
	idle       time.Duration // silent this long: the connection is closed
	setup      time.Duration // from connection to four streams
	write      time.Duration // one write may wait this long for the peer's window
	dial       time.Duration // one attempt over all addresses
	follow     time.Duration // the follower of a pair leaves the first dial to the leader
	minBackoff time.Duration
	maxBackoff time.Duration
	steady     time.Duration // a connection that lasted this long resets the back-off
	penalty    time.Duration // a peer that broke the framing stays out this long
}

func defaultPace() pace {
	return pace{
		beat: 2500 * time.Millisecond, stale: 4 * time.Second, idle: 10 * time.Second,
		setup: 5 * time.Second, write: 20 * time.Second, dial: 10 * time.Second, follow: 150 * time.Millisecond,
		minBackoff: 250 * time.Millisecond, maxBackoff: 10 * time.Second,
		steady: 5 * time.Second, penalty: 5 * time.Second,
	}
}

// check reports all faults of a config at once.
func (c *Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Key) != ed25519.PrivateKeySize {
		fault("node key: %d bytes, want %d", len(c.Key), ed25519.PrivateKeySize)
	}
	if c.Allowed == nil || c.OnFrame == nil {
		fault("Allowed and OnFrame must be set")
	}
	if len(c.PSK) != 0 && len(c.PSK) != 32 {
		fault("private-network key: %d bytes, want 32", len(c.PSK))
	}
	if len(c.Peers) > MaxPeers {
		fault("%d peers, at most %d", len(c.Peers), MaxPeers)
	}
	for _, listen := range c.Listen {
		if addr, err := parseAddr(listen); err != nil {
			fault("listen: %w", err)
		} else if len(c.PSK) != 0 && isQUIC(addr) {
			fault("listen %s: QUIC cannot run behind a private-network key; use a TCP address or leave the key out", listen)
		}
	}
	for _, p := range c.Peers {
		addrs, err := parseAddrs(p)
		if err != nil {
			fault("peer %s: %w", p.Member.Short(), err)
		}
		for _, addr := range addrs {
			if len(c.PSK) != 0 && isQUIC(addr) {
				fault("peer %s, %s: QUIC cannot run behind a private-network key; use a TCP address or leave the key out", p.Member.Short(), addr)
			}
		}
	}
	return errors.Join(faults...)
}

// protocols names the streams: /weft/<first 16 hex digits of the network ID>/1/<lane>.
func protocols(network tangle.ID) [laneCount]protocol.ID {
	prefix := "/weft/" + hex.EncodeToString(network[:8]) + "/1/"
	return [laneCount]protocol.ID{
		LaneWitness: protocol.ID(prefix + LaneWitness.String()),
		LaneBulk:    protocol.ID(prefix + LaneBulk.String()),
	}
}
