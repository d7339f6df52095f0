package wire

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"weft/tangle"
)

// ParseAddr checks an address in one of the accepted forms and returns it as a multiaddr in text form.
func ParseAddr(s string) (string, error) {
	addr, err := parseAddr(s)
	if err != nil {
		return "", err
	}
	return addr.String(), nil
}

func parseAddr(s string) (ma.Multiaddr, error) {
	if !strings.HasPrefix(s, "/") {
		text, err := hostPort(s)
		if err != nil {
			return nil, err
		}
		s = text
	}
	addr, err := ma.NewMultiaddr(s)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", s, err)
	}
	return addr, nil
}

// hostPort turns host:port into the multiaddr of that TCP port.
func hostPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("address %q is neither a multiaddr nor host:port: %w", s, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("address %q: port %q is not a number up to 65535", s, port)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil && (host == "" || strings.ContainsAny(host, "/%")):
		return "", fmt.Errorf("address %q: no host", s)
	case err != nil:
		return "/dns4/" + host + "/tcp/" + port, nil
	case ip.Is4():
		return "/ip4/" + ip.String() + "/tcp/" + port, nil
	default:
		return "/ip6/" + ip.WithZone("").String() + "/tcp/" + port, nil
	}
}

// parseAddrs reads the addresses of a peer. A trailing /p2p/<peer ID> must be the peer's own.
func parseAddrs(p Peer) ([]ma.Multiaddr, error) {
	if len(p.Addrs) > MaxAddrs {
		return nil, fmt.Errorf("more than %d addresses", MaxAddrs)
	}
	var addrs []ma.Multiaddr
	for _, text := range p.Addrs {
		addr, err := parseAddr(text)
		if err != nil {
			return nil, err
		}
		transport, id := peer.SplitAddr(addr)
		if id != "" {
			if member, err := MemberOf(id); err != nil || member != p.Member {
				return nil, fmt.Errorf("address %s names another peer", addr)
			}
		}
		if len(transport) == 0 {
			return nil, fmt.Errorf("address %s names no place", addr)
		}
		addrs = append(addrs, transport)
	}
	return addrs, nil
}

func isQUIC(addr ma.Multiaddr) bool {
	_, err := addr.ValueForProtocol(ma.P_QUIC_V1)
	return err == nil
}

// ParsePeerID reads the member out of a libp2p peer ID in text form (12D3KooW...).
func ParsePeerID(s string) (tangle.Member, error) {
	id, err := peer.Decode(s)
	if err != nil {
		return tangle.Member{}, fmt.Errorf("peer ID %q: %w", s, err)
	}
	return MemberOf(id)
}

// MemberOf returns the Ed25519 key inside a peer ID; a peer with another type of key is no member.
func MemberOf(id peer.ID) (tangle.Member, error) {
	public, err := id.ExtractPublicKey()
	if err != nil {
		return tangle.Member{}, fmt.Errorf("%w: %w", errNotEd25519, err)
	}
	if public.Type() != pb.KeyType_Ed25519 {
		return tangle.Member{}, errNotEd25519
	}
	raw, err := public.Raw()
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return tangle.Member{}, errNotEd25519
	}
	return tangle.Member(raw), nil
}

// PeerIDOf is the libp2p name of a member.
func PeerIDOf(m tangle.Member) (peer.ID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(m[:])
	if err != nil {
		return "", fmt.Errorf("peer ID of member %s: %w", m.Short(), err)
	}
	return peer.IDFromPublicKey(public)
}
