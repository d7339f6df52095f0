package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	mss "github.com/multiformats/go-multistream"
)

// bufferBytes is the size of each stream's read and write buffer.
const bufferBytes = 16 << 10

// session is one connection of a link: its four streams, a reader and a writer per lane. It lives until one of them
// fails; then all end, and the link dials again.
type session struct {
	link  *link
	host  *Host
	conn  network.Conn
	prev  *session // its last callback comes before our first
	done  chan struct{}
	since time.Time

	life  context.Context // its cause is why the session ended
	abort context.CancelCauseFunc

	arrived [laneCount]chan network.Stream // opened by the peer
	in, out [laneCount]network.Stream
	queues  [laneCount]*queue

	opened   atomic.Bool  // all four streams were there
	heard    atomic.Int64 // when the peer was last heard, Unix nanoseconds
	pinged   atomic.Int64 // when the ping that has no pong yet was sent, or 0
	rtt      atomic.Int64 // smoothed, nanoseconds
	pongsDue atomic.Int32
}

func newSession(l *link, conn network.Conn, prev *session) *session {
	s := &session{link: l, host: l.host, conn: conn, prev: prev, done: make(chan struct{}), since: time.Now()}
	s.life, s.abort = context.WithCancelCause(l.host.life)
	for lane := range s.arrived {
		s.arrived[lane] = make(chan network.Stream, 1)
		s.queues[lane] = newQueue()
	}
	s.heard.Store(s.since.UnixNano())
	return s
}

// close ends the session for a reason; the first one counts.
func (s *session) close(why error) { s.abort(why) }

// stale says that the peer was silent so long that a new connection is better evidence than this one.
func (s *session) stale(now time.Time) bool {
	return s.life.Err() != nil || s.conn.IsClosed() || now.UnixNano()-s.heard.Load() > int64(s.host.pace.stale)
}

// deliver hands over a stream the peer opened; a second one for a lane is refused.
func (s *session) deliver(lane Lane, stream network.Stream) bool {
	select {
	case s.arrived[lane] <- stream:
		return true
	default:
		return false
	}
}

// run is the session's goroutine.
func (s *session) run() {
	defer close(s.done)
	unwatch := context.AfterFunc(s.life, func() { s.conn.Close() }) // ends every read and write
	defer unwatch()
	err := s.setUp()
	var carried time.Duration
	if err == nil && s.link.opened(s) {
		carried, err = s.serve()
	}
	s.close(err)
	err = context.Cause(s.life)
	s.conn.Close()
	s.link.ended(s, carried, err)
	s.prev = nil
}

// setUp waits its turn, opens this side's streams and awaits the peer's.
func (s *session) setUp() error {
	if s.prev != nil {
		<-s.prev.done
	}
	select {
	case <-s.host.running:
	case <-s.life.Done():
		return context.Cause(s.life)
	}
	ctx, cancel := context.WithTimeoutCause(s.life, s.host.pace.setup, errSetup)
	defer cancel()
	for lane := range s.out {
		stream, err := s.openStream(ctx, Lane(lane))
		if err != nil {
			return fmt.Errorf("open the %s stream: %w", Lane(lane), err)
		}
		s.out[lane] = stream
	}
	for lane := range s.in {
		select {
		case s.in[lane] = <-s.arrived[lane]:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *session) openStream(ctx context.Context, lane Lane) (network.Stream, error) {
	stream, err := s.conn.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	stream.SetDeadline(time.Now().Add(s.host.pace.setup))
	if err := mss.SelectProtoOrFail(s.host.protocols[lane], stream); err != nil {
		stream.Reset()
		return nil, err
	}
	return stream, stream.SetDeadline(time.Time{})
}

// serve carries frames until a stream fails or the session is closed, and returns how long it did.
func (s *session) serve() (time.Duration, error) {
	start := time.Now()
	s.heard.Store(start.UnixNano())
	s.host.log.Info("peer connected", "peer", s.link.member.Short(), "address", s.conn.RemoteMultiaddr().String(), "direction", s.conn.Stat().Direction.String())
	s.announce(true)
	defer s.announce(false)
	var group sync.WaitGroup
	for lane := range laneCount {
		group.Go(func() { s.close(s.read(Lane(lane))) })
		group.Go(func() { s.close(s.write(Lane(lane))) })
	}
	group.Wait()
	err := context.Cause(s.life)
	s.host.log.Info("peer gone", "peer", s.link.member.Short(), "reason", err)
	return time.Since(start), err
}

func (s *session) announce(connected bool) {
	if s.host.config.OnPeer != nil {
		s.host.config.OnPeer(s.link.member, connected)
	}
}

// read passes frames on. Only the witness lane has a deadline: the peer pings there, bulk may be quiet for days.
func (s *session) read(lane Lane) error {
	stream, count := s.in[lane], &s.link.lanes[lane]
	buffer := bufio.NewReaderSize(stream, bufferBytes)
	for {
		if lane == LaneWitness && buffer.Buffered() == 0 {
			stream.SetReadDeadline(time.Now().Add(s.host.pace.idle))
		}
		frame, control, err := readFrame(buffer)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return errSilent
		}
		if err != nil {
			return fmt.Errorf("%s lane: %w", lane, err)
		}
		s.heard.Store(time.Now().UnixNano())
		if frame == nil {
			if err := s.control(lane, control); err != nil {
				return err
			}
			continue
		}
		count.framesIn.Add(1)
		count.bytesIn.Add(prefixBytes + uint64(len(frame)))
		s.host.config.OnFrame(s.link.member, lane, frame)
		if s.life.Err() != nil {
			return context.Cause(s.life)
		}
	}
}

// control answers a ping and takes the time of a pong.
func (s *session) control(lane Lane, word uint32) error {
	if lane != LaneWitness {
		return fmt.Errorf("%w: control word on the %s lane", errFault, lane)
	}
	if word == ping {
		s.pongsDue.Store(1)
		s.queues[LaneWitness].wake()
		return nil
	}
	if sent := s.pinged.Swap(0); sent != 0 {
		took := max(time.Now().UnixNano()-sent, 1)
		if old := s.rtt.Load(); old != 0 {
			took = (7*old + took) / 8
		}
		s.rtt.Store(took)
	}
	return nil
}

// write sends what is queued: all that waits goes out in as few writes as it fits, and nothing waits for more.
func (s *session) write(lane Lane) error {
	queue, out := s.queues[lane], bufio.NewWriterSize(deadlineWriter{s.out[lane], s.host.pace.write}, bufferBytes)
	beat, stop := s.beat(lane)
	defer stop()
	var batch [][]byte
	quiet, beats := true, 0 // nothing was sent since the last beat; beats without a ping
	for {
		pingDue := false
		select {
		case <-s.life.Done():
			return context.Cause(s.life)
		case <-beat:
			beats++
			pingDue = quiet || beats >= beatsPerPing // frames tell the peer as much; the round trip is measured now and then
			quiet = true
		case <-queue.ready:
		}
		if pingDue {
			beats = 0
		}
		if err := s.writeControl(out, pingDue); err != nil {
			return fmt.Errorf("%s lane: %w", lane, err)
		}
		batch = queue.take(batch)
		quiet = quiet && len(batch) == 0
		if err := s.writeBatch(out, lane, batch); err != nil {
			return fmt.Errorf("%s lane: %w", lane, err)
		}
		clear(batch)
	}
}

// beatsPerPing is how many beats a lane that is in use goes without a ping.
const beatsPerPing = 4

// beat ticks on the witness lane only.
func (s *session) beat(lane Lane) (<-chan time.Time, func()) {
	if lane != LaneWitness {
		return nil, func() {}
	}
	ticker := time.NewTicker(s.host.pace.beat)
	return ticker.C, ticker.Stop
}

func (s *session) writeControl(out *bufio.Writer, pingDue bool) error {
	if s.pongsDue.Swap(0) != 0 {
		if err := writeWord(out, pong); err != nil {
			return err
		}
	}
	if !pingDue {
		return nil
	}
	s.pinged.CompareAndSwap(0, time.Now().UnixNano())
	return writeWord(out, ping)
}

func (s *session) writeBatch(out *bufio.Writer, lane Lane, batch [][]byte) error {
	count := &s.link.lanes[lane]
	for _, frame := range batch {
		if err := writeFrame(out, frame); err != nil {
			return err
		}
		s.queues[lane].written(len(frame))
		count.framesOut.Add(1)
		count.bytesOut.Add(prefixBytes + uint64(len(frame)))
	}
	return out.Flush()
}

// deadlineWriter bounds each write, so that a peer that stopped reading does not pin memory for ever.
type deadlineWriter struct {
	stream network.Stream
	limit  time.Duration
}

func (w deadlineWriter) Write(b []byte) (int, error) {
	if err := w.stream.SetWriteDeadline(time.Now().Add(w.limit)); err != nil {
		return 0, err
	}
	return w.stream.Write(b)
}
