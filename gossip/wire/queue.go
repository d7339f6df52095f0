package wire

import "sync"

// queue holds the frames that wait for one stream's writer. What the writer has taken still counts until it is written,
// so the bounds cover all that a slow peer can make this host hold.
type queue struct {
	ready chan struct{} // capacity 1: there may be work

	mu     sync.Mutex
	frames [][]byte
	count  int // waiting and taken
	bytes  int
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// push never blocks; false means full.
func (q *queue) push(frame []byte) bool {
	q.mu.Lock()
	if q.count >= MaxQueuedFrames || q.bytes+len(frame) > MaxQueuedBytes {
		q.mu.Unlock()
		return false
	}
	q.frames = append(q.frames, frame)
	q.count++
	q.bytes += len(frame)
	first := len(q.frames) == 1
	q.mu.Unlock()
	if first {
		q.wake()
	}
	return true
}

// wake makes the writer look, also when there is no frame but a control word to send.
func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take swaps the waiting frames against an empty slice of an earlier batch.
func (q *queue) take(empty [][]byte) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.frames
	q.frames = empty[:0]
	return batch
}

// written frees the room of one taken frame.
func (q *queue) written(size int) {
	q.mu.Lock()
	q.count--
	q.bytes -= size
	q.mu.Unlock()
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}
