package wire

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"weft/tangle"
)

// gate admits members only. A refused peer's own dial may still look connected for a moment, because the handshake it
// sees is complete; it gets no stream.
type gate struct{ host *Host }

var _ connmgr.ConnectionGater = gate{}

// InterceptPeerDial keeps this host from dialling who is no member.
func (g gate) InterceptPeerDial(id peer.ID) bool {
	member, err := MemberOf(id)
	return err == nil && g.host.admit(member) == nil
}

// InterceptSecured is the door: the peer has proved its key, and no stream exists yet.
func (g gate) InterceptSecured(_ network.Direction, id peer.ID, addrs network.ConnMultiaddrs) bool {
	member, err := MemberOf(id)
	if err == nil {
		err = g.host.admit(member)
	}
	if err != nil {
		g.host.refuse(member, addrs.RemoteMultiaddr().String(), err.Error())
	}
	return err == nil
}

// The other three questions come before the peer is known or after it was admitted.

func (g gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool                    { return true }
func (g gate) InterceptAccept(network.ConnMultiaddrs) bool                     { return true }
func (g gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// Refusal is a connection that the gate closed. Member is zero if the peer's key is not Ed25519.
type Refusal struct {
	Member  tangle.Member
	Address string
	Reason  string
	Time    time.Time
}

// refuse remembers a refusal for display. It logs at most once a second: strangers must not fill the log.
func (h *Host) refuse(m tangle.Member, address, reason string) {
	now := time.Now()
	h.mu.Lock()
	h.refused++
	h.refusals = append(h.refusals, Refusal{Member: m, Address: address, Reason: reason, Time: now})
	if len(h.refusals) > MaxRefusals {
		h.refusals = h.refusals[1:]
	}
	total, l := h.refused, h.links[m]
	warn := now.Sub(h.lastWarn) >= time.Second
	if warn {
		h.lastWarn = now
	}
	h.mu.Unlock()
	if l != nil {
		l.note(errors.New(reason))
	}
	if warn {
		h.log.Warn("peer refused", "peer", m.Short(), "address", address, "reason", reason, "total", total)
	}
}

// Refused counts the connections the gate closed since Open.
func (h *Host) Refused() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}

// Refusals returns the last ones, at most MaxRefusals, oldest first.
func (h *Host) Refusals() []Refusal {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Refusal(nil), h.refusals...)
}
