package wire

import (
	"strings"
	"time"

	"weft/tangle"
)

// PeerInfo is what a dashboard shows of a peer.
type PeerInfo struct {
	Member       tangle.Member
	Connected    bool
	Since        time.Time     // of the connection
	Address      string        // of its other end, a multiaddr
	Transport    string        // "tcp" or "quic"
	Direction    string        // "inbound" or "outbound": who dialled
	RTT          time.Duration // smoothed over pings; 0 until the first answer
	Lanes        [2]LaneInfo   // by Lane; counters run over all connections since Open
	DialFailures uint64        // since Open
	NextDial     time.Time     // while not connected; zero if the member is not dialled
	LastError    string        // why it was refused, could not be dialled, or was lost last
	RefusedUntil time.Time     // set by Drop or by broken framing; may be past
}

// LaneInfo counts one lane; bytes include the length prefixes.
type LaneInfo struct {
	FramesIn, FramesOut uint64
	BytesIn, BytesOut   uint64
	Dropped             uint64 // frames Send refused because the queue was full
	Queued              int    // frames waiting now
}

// Peers describes every member this host dials, is connected to or has dropped, ordered by key.
func (h *Host) Peers() []PeerInfo {
	var infos []PeerInfo
	for _, l := range h.allLinks() {
		infos = append(infos, l.info())
	}
	return infos
}

func (l *link) info() PeerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	info := PeerInfo{Member: l.member, DialFailures: l.failures, RefusedUntil: l.until}
	if l.lastErr != nil {
		info.LastError = l.lastErr.Error()
	}
	for lane := range info.Lanes {
		info.Lanes[lane] = l.lanes[lane].info()
	}
	if !l.ready {
		if l.dialler {
			info.NextDial = l.next
		}
		return info
	}
	s := l.session
	info.Connected, info.Since = true, s.since
	info.Address = s.conn.RemoteMultiaddr().String()
	info.Transport = "tcp"
	if isQUIC(s.conn.RemoteMultiaddr()) {
		info.Transport = "quic"
	}
	info.Direction = strings.ToLower(s.conn.Stat().Direction.String())
	info.RTT = time.Duration(s.rtt.Load())
	for lane := range info.Lanes {
		info.Lanes[lane].Queued = s.queues[lane].length()
	}
	return info
}

func (c *laneCounters) info() LaneInfo {
	return LaneInfo{
		FramesIn: c.framesIn.Load(), FramesOut: c.framesOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Dropped: c.dropped.Load(),
	}
}
