package wire

import (
	"encoding/hex"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// discover announces this host on the local network and looks for members of the same ledger. Announcements are not
// signed: one can make this host dial a wrong place on the local network, where the handshake then fails.
func (h *Host) discover() (stop func() error, err error) {
	name := "_weft-" + hex.EncodeToString(h.config.Network[:4]) + "._udp"
	service := mdns.NewMdnsService(announced{swarm: h.net.Swarm}, name, found{h})
	if err := service.Start(); err != nil {
		return nil, fmt.Errorf("local discovery: %w", err)
	}
	return service.Close, nil
}

// announced is the part of a libp2p host that discovery reads: its ID and its listen addresses.
type announced struct {
	host.Host
	swarm network.Network
}

func (a announced) ID() peer.ID              { return a.swarm.LocalPeer() }
func (a announced) Network() network.Network { return a.swarm }

type found struct{ host *Host }

// HandlePeerFound takes addresses of a member that are on the local network, and dials.
func (f found) HandlePeerFound(info peer.AddrInfo) {
	member, err := MemberOf(info.ID)
	if err != nil || f.host.admit(member) != nil {
		return
	}
	local := ma.FilterAddrs(info.Addrs, manet.IsPrivateAddr)
	l, err := f.host.link(member)
	if err != nil || len(local) == 0 {
		return
	}
	l.setFound(local)
	f.host.startDialler(l)
}
