package node

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"weft/gossip"
)

// inbox is what waits for the Core: changes of peers, frames by lane, submissions. Each has a bound of its own, so that
// bulk frames never keep witnesses or callers waiting. Readers of peers wait for room, and so do their connections;
// callers are told that the node is busy.
type inbox struct {
	peers   chan PeerChange
	lanes   [2]chan queuedFrame    // by gossip.Lane
	room    [2]*semaphore.Weighted // bytes of frames in verification and in the lane
	submits chan *ticket
	open    map[uint64]*ticket // given to the Core and not answered yet; owned by the Core's goroutine
	last    uint64             // number of the last one

	closed context.Context // ends when the node does
	close  context.CancelFunc
}

// queuedFrame is a verified frame; size is that of its bytes.
type queuedFrame struct {
	*PeerFrame
	size int
}

// Bounds of the queues before the Core, and of one Step's input.
const (
	MaxQueuedFrames  = 1024    // per lane
	MaxQueuedBytes   = 8 << 20 // per lane, of frames
	MaxQueuedSubmits = 4096
	MaxStepInputs    = 512
	MaxStepBytes     = 4 << 20
	maxStepWitnesses = MaxStepInputs * 3 / 4 // of the inputs, and below of the bytes: whoever floods the lane stops no other
	maxWitnessBytes  = MaxStepBytes * 3 / 4
)

func newInbox() *inbox {
	b := &inbox{peers: make(chan PeerChange, 256), submits: make(chan *ticket, MaxQueuedSubmits), open: map[uint64]*ticket{}}
	for i := range b.lanes {
		b.lanes[i] = make(chan queuedFrame, MaxQueuedFrames)
		b.room[i] = semaphore.NewWeighted(MaxQueuedBytes)
	}
	b.closed, b.close = context.WithCancel(context.Background())
	return b
}

// enter waits for room for a frame; false means that the node ends.
func (b *inbox) enter(lane gossip.Lane, size int) bool {
	return b.room[lane].Acquire(b.closed, int64(size)) == nil
}

// leave gives the room back.
func (b *inbox) leave(lane gossip.Lane, size int) { b.room[lane].Release(int64(size)) }

// put queues a frame that has entered.
func (b *inbox) put(lane gossip.Lane, f queuedFrame) {
	select {
	case b.lanes[lane] <- f:
	case <-b.closed.Done():
	}
}

func (b *inbox) putPeer(p PeerChange) {
	select {
	case b.peers <- p:
	case <-b.closed.Done():
	}
}

// gathering is the input of one Step.
type gathering struct {
	peers  []Input // they go first: a peer's frames mean nothing before it is connected
	inputs []Input
	bytes  int
	held   [2]int // bytes of room to give back, by lane
}

func (g *gathering) reset() {
	clear(g.peers)
	clear(g.inputs)
	*g = gathering{peers: g.peers[:0], inputs: g.inputs[:0]}
}

func (g *gathering) peer(p PeerChange) { g.peers = append(g.peers, Input{Peer: &p}) }

func (g *gathering) frame(lane gossip.Lane, f queuedFrame) {
	g.inputs = append(g.inputs, Input{Frame: f.PeerFrame})
	g.bytes += f.size
	g.held[lane] += f.size
}

// submit gives a ticket its number.
func (b *inbox) submit(g *gathering, t *ticket) {
	b.last++
	b.open[b.last] = t
	g.inputs = append(g.inputs, Input{Submit: &Submission{Ticket: b.last, Entries: t.entries, Ops: t.checks}})
	for i := range t.entries {
		g.bytes += len(t.entries[i].Data)
	}
}

// answered takes back the ticket of a number.
func (b *inbox) answered(number uint64) *ticket {
	t := b.open[number]
	delete(b.open, number)
	return t
}

// all is what the Step gets.
func (g *gathering) all() []Input {
	if len(g.peers) == 0 {
		return g.inputs
	}
	return slices.Concat(g.peers, g.inputs)
}

func (g *gathering) full(inputs, bytes int) bool { return len(g.inputs) >= inputs || g.bytes >= bytes }

// wait takes the first thing that comes, unless the timer or ctx does.
func (b *inbox) wait(ctx context.Context, g *gathering, tick <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-tick:
	case p := <-b.peers:
		g.peer(p)
	case f := <-b.lanes[gossip.LaneWitness]:
		g.frame(gossip.LaneWitness, f)
	case f := <-b.lanes[gossip.LaneBulk]:
		g.frame(gossip.LaneBulk, f)
	case t := <-b.submits:
		b.submit(g, t)
	}
}

// gather adds what else waits: peers, then witnesses, then the rest, up to the bounds of a Step.
func (b *inbox) gather(g *gathering) {
	b.gatherPeers(g)
	b.gatherWitnesses(g)
	for !g.full(MaxStepInputs, MaxStepBytes) {
		select {
		case f := <-b.lanes[gossip.LaneBulk]:
			g.frame(gossip.LaneBulk, f)
		case t := <-b.submits:
			b.submit(g, t)
		default:
			return
		}
	}
}

func (b *inbox) gatherPeers(g *gathering) {
	for len(g.peers) < cap(b.peers) {
		select {
		case p := <-b.peers:
			g.peer(p)
		default:
			return
		}
	}
}

func (b *inbox) gatherWitnesses(g *gathering) {
	for !g.full(maxStepWitnesses, maxWitnessBytes) {
		select {
		case f := <-b.lanes[gossip.LaneWitness]:
			g.frame(gossip.LaneWitness, f)
		default:
			return
		}
	}
}

// done gives back the room of what a Step has taken.
func (b *inbox) done(g *gathering) {
	for lane, size := range g.held {
		b.leave(gossip.Lane(lane), size)
	}
}
