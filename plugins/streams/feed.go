package streams

import (
	"sync"

	"weft/plugins/streams/channel"
)

// feed wakes live streams. It holds nothing but who waits for which channel: what there is to send, streams read from the
// ledger. It is safe for concurrent use.
type feed struct {
	mu      sync.Mutex // guards all below
	waiting map[channel.ID]chan struct{}
	closed  chan struct{} // closed when the node stops
}

func newFeed() *feed {
	return &feed{waiting: map[channel.ID]chan struct{}{}, closed: make(chan struct{})}
}

// changed is closed when the channel has something new that is final; ask again for the next change.
func (f *feed) changed(id channel.ID) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch, ok := f.waiting[id]
	if !ok {
		ch = make(chan struct{})
		f.waiting[id] = ch
	}
	return ch
}

// wake wakes all streams of a channel.
func (f *feed) wake(id channel.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ch, ok := f.waiting[id]; ok {
		close(ch)
		delete(f.waiting, id)
	}
}

func (f *feed) close() { close(f.closed) }
