package wire

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"weft/tangle"
)

// No goroutine of libp2p is exempted: closing a Host ends all of them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; quick machines never wait.
const patience = 10 * time.Second

type received struct {
	from  tangle.Member
	lane  Lane
	frame []byte
}

type change struct {
	peer      tangle.Member
	connected bool
}

// node is a Host under test; what it reports arrives on channels.
type node struct {
	*Host
	config  Config
	pace    pace
	frames  chan received
	changes chan change
	logs    chan string
	stop    func()
}

// quick is a pace for tests: nothing waits long, but a loaded machine is not taken for a dead one.
func quick() pace {
	p := defaultPace()
	p.minBackoff, p.maxBackoff, p.follow = 20*time.Millisecond, 200*time.Millisecond, 0
	return p
}

func testKey(i byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{i}, ed25519.SeedSize))
}

func memberOf(key ed25519.PrivateKey) tangle.Member {
	return tangle.Member(key.Public().(ed25519.PublicKey))
}

// newNode prepares a host that allows everybody and listens on loopback over TCP.
func newNode(i byte) *node {
	n := &node{pace: quick(), frames: make(chan received, 1<<14), changes: make(chan change, 1<<10), logs: make(chan string, 1<<10)}
	n.config = Config{
		Key:     testKey(i),
		Network: tangle.ID{1, 2, 3},
		Listen:  []string{"127.0.0.1:0"},
		Allowed: func(tangle.Member) bool { return true },
		OnFrame: func(from tangle.Member, lane Lane, frame []byte) { n.frames <- received{from, lane, frame} },
		OnPeer:  func(peer tangle.Member, connected bool) { n.changes <- change{peer, connected} },
		Log:     slog.New(slog.NewTextHandler(lines(n.logs), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return n
}

type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

// start opens and runs the host until stop or the test's end.
func (n *node) start(t testing.TB) *node {
	t.Helper()
	n.open(t)
	n.run(t)
	return n
}

func (n *node) open(t testing.TB) {
	t.Helper()
	host, err := open(n.config, n.pace)
	if err != nil {
		t.Fatal(err)
	}
	n.Host = host
}

func (n *node) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(n.stop)
}

func (n *node) peer() Peer { return Peer{Member: n.self, Addrs: n.Addrs()} }

func next[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case v := <-from:
		return v
	case <-ctx.Done():
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}

func (n *node) wantChange(t testing.TB, peer tangle.Member, connected bool) {
	t.Helper()
	if got := next(t, n.changes, "OnPeer"); got != (change{peer, connected}) {
		t.Fatalf("OnPeer(%s, %v), want (%s, %v)", got.peer.Short(), got.connected, peer.Short(), connected)
	}
}

// wantLog reads the log until a line holds all parts.
func (n *node) wantLog(t testing.TB, parts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var seen []string
	for {
		select {
		case line := <-n.logs:
			seen = append(seen, line)
			lacks := func(part string) bool { return !strings.Contains(line, part) }
			if !slices.ContainsFunc(parts, lacks) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("no log line holds %q; the last of %d are\n%s", parts, len(seen), strings.Join(seen[max(0, len(seen)-10):], ""))
		}
	}
}

func (n *node) wantNothing(t testing.TB) {
	t.Helper()
	select {
	case got := <-n.changes:
		t.Errorf("OnPeer(%s, %v), want no call", got.peer.Short(), got.connected)
	case got := <-n.frames:
		t.Errorf("OnFrame from %s, want no call", got.from.Short())
	default:
	}
}

// pair starts two connected nodes; the first one dials.
func pair(t testing.TB, prepare func(a, b *node)) (a, b *node) {
	t.Helper()
	a, b = newNode(1), newNode(2)
	if prepare != nil {
		prepare(a, b)
	}
	b.start(t)
	a.config.Peers = []Peer{b.peer()}
	a.start(t)
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
	return a, b
}

func numbered(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }

// wantInOrder reads count frames per lane from one sender.
func (n *node) wantInOrder(t testing.TB, from tangle.Member, count int) {
	t.Helper()
	want := [laneCount]int{}
	for range count * laneCount {
		got := next(t, n.frames, "a frame")
		if got.from != from || !bytes.Equal(got.frame, numbered(want[got.lane])) {
			t.Fatalf("lane %s: frame %x from %s, want %d from %s", got.lane, got.frame, got.from.Short(), want[got.lane], from.Short())
		}
		want[got.lane]++
	}
}

func (n *node) sendNumbered(t testing.TB, to tangle.Member, count int) {
	t.Helper()
	for i := range count {
		for lane := range Lane(laneCount) {
			if !n.Send(to, lane, numbered(i)) {
				t.Fatalf("frame %d on lane %s was dropped", i, lane)
			}
		}
	}
}

func TestTwoHostsExchangeFramesInOrder(t *testing.T) {
	psk := bytes.Repeat([]byte{7}, 32)
	cases := map[string]func(a, b *node){
		"tcp":                     nil,
		"tcp behind a shared key": func(a, b *node) { a.config.PSK, b.config.PSK = psk, psk },
		"quic": func(a, b *node) {
			a.config.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
			b.config.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
		},
		"larger key dials": func(a, b *node) { a.config.Key, b.config.Key = b.config.Key, a.config.Key },
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, prepare)
			a.sendNumbered(t, b.self, 500)
			b.sendNumbered(t, a.self, 500)
			a.wantInOrder(t, b.self, 500)
			b.wantInOrder(t, a.self, 500)
			large := bytes.Repeat([]byte{9}, MaxFrame)
			if !a.Send(b.self, LaneBulk, large) || !bytes.Equal(next(t, b.frames, "a large frame").frame, large) {
				t.Error("the largest frame did not arrive as it was")
			}
			info := a.Peers()[0]
			if !info.Connected || info.Direction != "outbound" || info.Lanes[LaneWitness].FramesOut != 500 || info.Lanes[LaneBulk].FramesIn != 500 {
				t.Errorf("info %+v", info)
			}
		})
	}
}

func TestFourHosts(t *testing.T) {
	nodes := []*node{newNode(1), newNode(2), newNode(3), newNode(4)}
	var peers []Peer
	for _, n := range nodes {
		n.open(t)
		peers = append(peers, n.peer())
	}
	for _, n := range nodes {
		for _, p := range peers { // each lists all, itself too, and all dial at once
			if err := n.AddPeer(p); err != nil {
				t.Fatal(err)
			}
		}
		n.run(t)
	}
	for _, n := range nodes {
		for range len(nodes) - 1 {
			if got := next(t, n.changes, "OnPeer"); !got.connected {
				t.Fatalf("lost %s", got.peer.Short())
			}
		}
	}
	for _, n := range nodes {
		for _, p := range peers {
			if p.Member != n.self {
				n.sendNumbered(t, p.Member, 100)
			}
		}
	}
	for _, n := range nodes {
		n.wantMesh(t, 100*laneCount*(len(nodes)-1))
	}
}

func (n *node) wantMesh(t *testing.T, count int) {
	t.Helper()
	want := map[string]int{}
	for range count {
		got := next(t, n.frames, "a frame")
		key := got.from.Short() + got.lane.String()
		if !bytes.Equal(got.frame, numbered(want[key])) {
			t.Fatalf("%s: frame %x, want %d", key, got.frame, want[key])
		}
		want[key]++
	}
	n.wantNothing(t)
}

func TestStrangerIsRefused(t *testing.T) {
	for name, listen := range map[string]string{"tcp": "127.0.0.1:0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			member, stranger := newNode(1), newNode(2)
			member.config.Allowed = func(tangle.Member) bool { return false }
			member.config.Listen = []string{listen}
			member.start(t)
			stranger.config.Peers = []Peer{member.peer()}
			stranger.start(t)
			member.wantLog(t, "peer refused", stranger.self.Short(), "not in the member set")
			stranger.wantLog(t, "dial failed", member.self.Short(), "failures=2")
			if member.Refused() == 0 || member.Refusals()[0].Member != stranger.self {
				t.Errorf("refusals %+v", member.Refusals())
			}
			if stranger.Send(member.self, LaneBulk, []byte("hello")) {
				t.Error("a refused host could send")
			}
			if info := stranger.Peers()[0]; info.Connected || info.DialFailures < 2 || info.LastError == "" {
				t.Errorf("info %+v", info)
			}
			stranger.stop()
			member.stop()
			member.wantNothing(t)
			stranger.wantNothing(t)
		})
	}
}

func TestStrangerIsNotDialled(t *testing.T) {
	a, b := newNode(1), newNode(2)
	var welcome atomic.Bool
	a.config.Allowed = func(tangle.Member) bool { return welcome.Load() }
	b.start(t)
	a.config.Peers = []Peer{b.peer()}
	a.pace.maxBackoff = time.Hour // so that only Recheck can start the dial
	a.start(t)
	if a.Send(b.self, LaneBulk, []byte("hello")) {
		t.Error("sent to a stranger")
	}
	welcome.Store(true)
	a.Recheck()
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
	welcome.Store(false)
	a.Recheck()
	a.wantChange(t, b.self, false)
	b.wantChange(t, a.self, false)
	a.wantLog(t, "peer gone", errNotMember.Error())
}

func TestOtherSharedKey(t *testing.T) {
	for name, psk := range map[string][]byte{"wrong": bytes.Repeat([]byte{8}, 32), "missing": nil} {
		t.Run(name, func(t *testing.T) {
			a, b := newNode(1), newNode(2)
			b.config.PSK = bytes.Repeat([]byte{7}, 32)
			a.config.PSK = psk
			a.pace.setup, b.pace.setup = 300*time.Millisecond, 300*time.Millisecond
			b.start(t)
			a.config.Peers = []Peer{b.peer()}
			a.start(t)
			a.wantLog(t, "dial failed", b.self.Short())
			a.stop()
			b.stop()
			a.wantNothing(t)
			b.wantNothing(t)
		})
	}
}

func TestOtherNetwork(t *testing.T) {
	a, b := newNode(1), newNode(2)
	b.config.Network = tangle.ID{9}
	b.start(t)
	a.config.Peers = []Peer{b.peer()}
	a.start(t)
	a.wantLog(t, "dial failed", errOtherNetwork.Error())
	a.stop()
	b.stop()
	a.wantNothing(t)
	b.wantNothing(t)
}

func TestAnotherKeyAtTheAddress(t *testing.T) {
	a, b := newNode(1), newNode(2)
	b.start(t)
	a.config.Peers = []Peer{{Member: memberOf(testKey(3)), Addrs: b.Addrs()}}
	a.start(t)
	a.wantLog(t, "dial failed", errOtherKey.Error())
	b.wantNothing(t)
}

func TestBrokenFramingIsReported(t *testing.T) {
	garbage := map[string][]byte{
		"length above the bound":   binary.BigEndian.AppendUint32(nil, MaxFrame+1),
		"length zero":              {0, 0, 0, 0},
		"control word on the bulk": {0xff, 0xff, 0xff, 0xff},
	}
	for name, prefix := range garbage {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, func(a, b *node) { b.pace.penalty = time.Hour })
			if _, err := a.links[b.self].session.out[LaneBulk].Write(prefix); err != nil {
				t.Fatal(err)
			}
			b.wantChange(t, a.self, false)
			a.wantChange(t, b.self, false)
			b.wantLog(t, "peer refused", errFault.Error())
			if info := b.Peers()[0]; !strings.Contains(info.LastError, errFault.Error()) || info.RefusedUntil.Before(time.Now()) {
				t.Errorf("info %+v", info)
			}
		})
	}
}

func TestFullQueueDropsAndDoesNotBlock(t *testing.T) {
	release := make(chan struct{})
	a, b := pair(t, func(a, b *node) {
		b.config.OnFrame = func(tangle.Member, Lane, []byte) { <-release }
	})
	frame := make([]byte, 64<<10)
	sent := 0
	for a.Send(b.self, LaneBulk, frame) {
		if sent++; sent*len(frame) > MaxQueuedBytes+2*maxWindow {
			t.Fatalf("%d frames were taken and none dropped", sent)
		}
	}
	if !a.Send(b.self, LaneWitness, frame) {
		t.Error("the bulk queue is full and the witness lane refuses")
	}
	if got := a.Peers()[0].Lanes[LaneBulk]; got.Dropped == 0 || got.Queued == 0 {
		t.Errorf("lane %+v", got)
	}
	close(release)
}

func TestReconnectsAfterRestart(t *testing.T) {
	a, b := pair(t, nil)
	addrs := b.Addrs()
	b.stop()
	a.wantChange(t, b.self, false)
	b.wantChange(t, a.self, false)
	if a.Send(b.self, LaneBulk, []byte("lost")) {
		t.Error("sent to a closed host")
	}
	b.config.Listen = addrs
	b.start(t)
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
	a.sendNumbered(t, b.self, 10)
	b.wantInOrder(t, a.self, 10)
}

// The host that was closed dials when it is back; the other one's back-off is an hour.
func TestInboundConnectionEndsBackoff(t *testing.T) {
	a, b := pair(t, func(a, b *node) { a.pace.minBackoff, a.pace.maxBackoff = time.Hour, time.Hour })
	b.stop()
	a.wantChange(t, b.self, false)
	b.wantChange(t, a.self, false)
	b.config.Peers = []Peer{a.peer()}
	b.start(t)
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
}

func TestDropRefusesUntil(t *testing.T) {
	a, b := pair(t, nil)
	b.Drop(a.self, time.Now().Add(300*time.Millisecond), "sent nonsense")
	a.wantChange(t, b.self, false)
	b.wantChange(t, a.self, false)
	b.wantLog(t, "peer refused", "sent nonsense")
	a.wantLog(t, "dial failed")
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
	a.sendNumbered(t, b.self, 10)
	b.wantInOrder(t, a.self, 10)
}

func TestCrossingDialsEndInOneConnection(t *testing.T) {
	for range 10 {
		a, b := newNode(1), newNode(2)
		a.open(t)
		b.open(t)
		a.AddPeer(b.peer())
		b.AddPeer(a.peer())
		a.run(t)
		b.run(t)
		a.wantChange(t, b.self, true)
		b.wantChange(t, a.self, true)
		a.sendNumbered(t, b.self, 100)
		b.sendNumbered(t, a.self, 100)
		a.wantInOrder(t, b.self, 100)
		b.wantInOrder(t, a.self, 100)
		a.wantOneConnection(t, b.self)
		b.wantOneConnection(t, a.self)
		a.wantNothing(t)
		b.wantNothing(t)
		a.stop()
		b.stop()
	}
}

func (n *node) wantOneConnection(t *testing.T, peer tangle.Member) {
	t.Helper()
	closed := make(chan struct{}, 8)
	n.net.Notify(&network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) { closed <- struct{}{} }})
	for len(n.net.ConnsToPeer(n.links[peer].id)) > 1 {
		next(t, closed, "the second connection's end")
	}
}

// relay is a network path that can be cut without either end being told.
type relay struct {
	net.Listener
	frozen atomic.Bool
	group  sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: listener}
	r.group.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, near, far)
			r.mu.Unlock()
			r.group.Go(func() { r.pump(near, far) })
			r.group.Go(func() { r.pump(far, near) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.group.Wait()
	})
	return r
}

// pump swallows bytes while the relay is frozen and hides the end of the other side.
func (r *relay) pump(from, to net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if !r.frozen.Load() {
			to.Write(buffer[:n])
		}
		if err != nil {
			if !r.frozen.Load() {
				to.Close()
			}
			return
		}
	}
}

func TestSilentPeerIsNoticed(t *testing.T) {
	a, b := newNode(1), newNode(2)
	for _, n := range []*node{a, b} {
		n.pace.beat, n.pace.stale, n.pace.idle = 100*time.Millisecond, 300*time.Millisecond, time.Second
		n.pace.setup = time.Second
	}
	b.start(t)
	target := strings.Split(b.Addrs()[0], "/")
	path := newRelay(t, net.JoinHostPort(target[2], target[4]))
	a.config.Peers = []Peer{{Member: memberOf(b.config.Key), Addrs: []string{path.Addr().String()}}}
	a.start(t)
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
	path.frozen.Store(true)
	a.wantChange(t, b.self, false)
	b.wantChange(t, a.self, false)
	a.wantLog(t, "peer gone", errSilent.Error())
	path.frozen.Store(false)
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
}

func TestOpenThatIsNeverServed(t *testing.T) {
	n := newNode(1)
	n.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := n.Run(ctx); err == nil {
		t.Error("a host ran twice")
	}
}

// What discovery reports is dialled for members only, and only inside the local network.
func TestFoundPeerIsDialled(t *testing.T) {
	a, b := newNode(1), newNode(2)
	a.config.Allowed = func(m tangle.Member) bool { return m == memberOf(b.config.Key) }
	a.start(t)
	b.start(t)
	handle := found{a.Host}.HandlePeerFound
	handle(peer.AddrInfo{ID: b.net.LocalPeer(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/8.8.8.8/tcp/1")}})
	stranger, _ := PeerIDOf(memberOf(testKey(3)))
	handle(peer.AddrInfo{ID: stranger, Addrs: b.net.ListenAddresses()})
	for _, l := range a.allLinks() {
		if l.dialler {
			t.Errorf("dials %s", l.member.Short())
		}
	}
	handle(peer.AddrInfo{ID: b.net.LocalPeer(), Addrs: b.net.ListenAddresses()})
	a.wantChange(t, b.self, true)
	b.wantChange(t, a.self, true)
}

func TestBusyPortIsAnError(t *testing.T) {
	a := newNode(1).start(t)
	b := newNode(2)
	b.config.Listen = []string{"127.0.0.1:0", a.Addrs()[0]}
	if _, err := Open(b.config); err == nil {
		t.Error("listened on a port in use")
	}
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	c := newNode(1).config
	c.PSK = make([]byte, 32)
	c.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "nowhere"}
	c.Peers = []Peer{{Member: memberOf(testKey(2)), Addrs: []string{"a:b"}}}
	c.OnFrame = nil
	_, err := Open(c)
	for _, want := range []string{"QUIC cannot run behind a private-network key", `"nowhere"`, `port "b"`, "OnFrame"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:15600":                  "/ip4/127.0.0.1/tcp/15600",
		"[::1]:15600":                      "/ip6/::1/tcp/15600",
		"node-2:15600":                     "/dns4/node-2/tcp/15600",
		"/ip4/127.0.0.1/udp/15600/quic-v1": "/ip4/127.0.0.1/udp/15600/quic-v1",
		"/dns4/weft.example.org/tcp/15600": "/dns4/weft.example.org/tcp/15600",
		"":                                 "",
		":15600":                           "",
		"127.0.0.1":                        "",
		"127.0.0.1:70000":                  "",
		"/ip4/127.0.0.300/tcp/1":           "",
		"https://weft.example.org/":        "",
	} {
		got, err := ParseAddr(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseAddr(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestPeerIDs(t *testing.T) {
	want := memberOf(testKey(1))
	id, err := PeerIDOf(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParsePeerID(id.String()); err != nil || got != want {
		t.Errorf("ParsePeerID(%s) = %s, %v", id, got.Short(), err)
	}
	if _, err := parseAddrs(Peer{Member: want, Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/" + id.String()}}); err != nil {
		t.Error(err)
	}
	other := Peer{Member: memberOf(testKey(2)), Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/" + id.String()}}
	if _, err := parseAddrs(other); err == nil {
		t.Error("an address that names another peer was taken")
	}
	if _, err := ParsePeerID("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"); !errors.Is(err, errNotEd25519) {
		t.Errorf("a hashed key: %v", err)
	}
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{300, 20 << 10} {
		b.Run(fmt.Sprint(size, "B"), func(b *testing.B) {
			arrived := make(chan struct{}, 1<<16)
			x, y := pair(b, func(_, y *node) {
				y.config.OnFrame = func(tangle.Member, Lane, []byte) { arrived <- struct{}{} }
			})
			frame := make([]byte, size)
			const ahead = 256 // frames under way, well below the bounds of the queue
			b.SetBytes(int64(size))
			b.ReportAllocs()
			sent := 0
			for got := 0; got < b.N; {
				for sent < b.N && sent-got < ahead {
					if !x.Send(y.self, LaneBulk, frame) {
						b.Fatal("dropped")
					}
					sent++
				}
				<-arrived
				got++
			}
		})
	}
}
