package wire

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	quicgo "github.com/quic-go/quic-go"
)

// What strangers can hold of this host before and at the gate.
const (
	maxInboundConns = 4 * MaxPeers // of all members together, double dials included
	maxHandshakes   = 64           // inbound connections whose peer is not known yet
	maxConnsPerIP   = 2 * MaxPeers // one address may be a NAT or a container bridge in front of all members
	maxConnsPerPeer = 16
	maxStreams      = 32 // of one peer, open at a time
	maxWindow       = 4 << 20
	dialsPerSecond  = 20 // inbound, per IP address
	dialBurst       = 200
)

// transports is libp2p's swarm and what it stands on. There is no libp2p host above it on purpose: no identify (so no
// address, version or protocol is told to anybody), no relay, no hole punching, no NAT mapping, no ping service.
type transports struct {
	*swarm.Swarm
	key    crypto.PrivKey
	limits network.ResourceManager
	gate   connmgr.ConnectionGater
	pace   pace
	under  []io.Closer // what the swarm stands on, in the order opened
}

// openTransports listens on all addresses or fails. The caller closes what it returns.
func openTransports(c *Config, gate connmgr.ConnectionGater, p pace) (_ *transports, err error) {
	t := &transports{gate: gate, pace: p}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.key, err = crypto.UnmarshalEd25519PrivateKey(c.Key); err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	if t.limits, err = resourceLimits(); err != nil {
		return nil, fmt.Errorf("resource limits: %w", err)
	}
	t.under = append(t.under, t.limits)
	if err := t.openSwarm(); err != nil {
		return nil, fmt.Errorf("swarm: %w", err)
	}
	if err := t.addTCP(c.PSK); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	if len(c.PSK) == 0 {
		if err := t.addQUIC(); err != nil {
			return nil, fmt.Errorf("quic: %w", err)
		}
	}
	return t, t.listen(c.Listen)
}

func (t *transports) close() error {
	var faults []error
	if t.Swarm != nil {
		faults = append(faults, t.Swarm.Close())
	}
	for _, c := range slices.Backward(t.under) {
		faults = append(faults, c.Close())
	}
	return errors.Join(faults...)
}

func (t *transports) openSwarm() error {
	id, err := peer.IDFromPrivateKey(t.key)
	if err != nil {
		return err
	}
	book, err := pstoremem.NewPeerstore()
	if err != nil {
		return err
	}
	t.under = append(t.under, book)
	if err := errors.Join(book.AddPrivKey(id, t.key), book.AddPubKey(id, t.key.GetPublic())); err != nil {
		return err
	}
	t.Swarm, err = swarm.NewSwarm(id, book, eventbus.NewBus(),
		swarm.WithConnectionGater(t.gate),
		swarm.WithResourceManager(t.limits),
		swarm.WithDialTimeout(t.pace.setup),
		swarm.WithDialTimeoutLocal(t.pace.setup),
		// Black-hole detectors are for public networks: they would stop dialling a member that was down for a day.
		swarm.WithUDPBlackHoleSuccessCounter(nil),
		swarm.WithIPv6BlackHoleSuccessCounter(nil),
	)
	return err
}

func (t *transports) addTCP(psk []byte) error {
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: muxer()}}
	overTLS, err := tls.New(tls.ID, t.key, muxers)
	if err != nil {
		return err
	}
	overNoise, err := noise.New(noise.ID, t.key, muxers)
	if err != nil {
		return err
	}
	// TLS first: AES-GCM in hardware costs less than noise's ChaCha20.
	up, err := upgrader.New([]sec.SecureTransport{overTLS, overNoise}, muxers, psk, t.limits, t.gate, upgrader.WithAcceptTimeout(t.pace.setup))
	if err != nil {
		return err
	}
	// Without SO_REUSEPORT a second process on the same port is an error and not a silent rival.
	tr, err := tcp.NewTCPTransport(up, t.limits, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(t.pace.setup))
	if err != nil {
		return err
	}
	return t.AddTransport(tr)
}

// muxer bounds what an unread stream can hold, and cuts bulk writes small: frames of the witness lane wait behind what is
// in the muxer's queue of 64 messages.
func muxer() *yamux.Transport {
	config := *yamux.DefaultTransport.Config()
	config.MaxStreamWindowSize = maxWindow
	config.MaxMessageSize = 16<<10 - 64
	config.EnableKeepAlive = false // the witness lane has its own
	return (*yamux.Transport)(&config)
}

func (t *transports) addQUIC() error {
	var reset quicgo.StatelessResetKey
	var token quicgo.TokenGeneratorKey
	if err := errors.Join(derive(t.key, "weft quic stateless reset", reset[:]), derive(t.key, "weft quic token", token[:])); err != nil {
		return err
	}
	sockets, err := quicreuse.NewConnManager(reset, token,
		quicreuse.ConnContext(limitQUIC(t.limits)),
		quicreuse.VerifySourceAddress(func(addr net.Addr) bool { return t.limits.VerifySourceAddress(addr) }))
	if err != nil {
		return err
	}
	t.under = append(t.under, sockets)
	tr, err := quic.NewTransport(t.key, sockets, nil, t.gate, t.limits)
	if err != nil {
		return err
	}
	return t.AddTransport(tr)
}

// derive makes a secret of the node key that survives restarts, so that a restarted host can reset old connections.
func derive(key crypto.PrivKey, label string, out []byte) error {
	raw, err := key.Raw()
	if err != nil {
		return err
	}
	secret, err := hkdf.Key(sha256.New, raw, nil, label, len(out))
	copy(out, secret)
	return err
}

// limitQUIC counts a QUIC connection before its handshake, as the TCP listener does by itself.
func limitQUIC(limits network.ResourceManager) func(context.Context, *quicgo.ClientInfo) (context.Context, error) {
	return func(ctx context.Context, client *quicgo.ClientInfo) (context.Context, error) {
		addr, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quicgo.Version1)
		if err != nil {
			return ctx, err
		}
		scope, err := limits.OpenConnection(network.DirInbound, false, addr)
		if err != nil {
			return ctx, err
		}
		ctx = network.WithConnManagementScope(ctx, scope)
		context.AfterFunc(ctx, scope.Done)
		return ctx, nil
	}
}

func (t *transports) listen(addrs []string) error {
	for _, text := range addrs {
		addr, err := parseAddr(text)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if err := t.Listen(addr); err != nil {
			return fmt.Errorf("listen on %s: %w", addr, err)
		}
	}
	return nil
}

func resourceLimits() (network.ResourceManager, error) {
	config := rcmgr.PartialLimitConfig{
		System:      rcmgr.ResourceLimits{ConnsInbound: maxInboundConns},
		Transient:   rcmgr.ResourceLimits{ConnsInbound: maxHandshakes},
		PeerDefault: rcmgr.ResourceLimits{Conns: maxConnsPerPeer, StreamsInbound: maxStreams},
	}
	perIP := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxConnsPerIP}}
	perIP6 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: maxConnsPerIP}}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(config.Build(rcmgr.InfiniteLimits)),
		rcmgr.WithLimitPerSubnet(perIP, perIP6),
		rcmgr.WithConnRateLimiters(dialRate()),
		rcmgr.WithMetricsDisabled())
}

// dialRate slows a stranger who makes this host pay for handshakes. Loopback is free: a testnet runs there.
func dialRate() *rate.Limiter {
	limit := rate.Limit{RPS: dialsPerSecond, Burst: dialBurst}
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{
			{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)},
			{Prefix: netip.PrefixFrom(netip.IPv6Loopback(), 128)},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: limit}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 64, Limit: limit}},
			GracePeriod:      time.Minute,
		},
	}
}
