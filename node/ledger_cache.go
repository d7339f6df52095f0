package node

import (
	"sync"

	"weft/tangle"
)

// ledgerCache keeps what readers ask for again and again right after it happened: messages, which are expensive to parse,
// and certified checkpoints, whose signatures are expensive to check. Checkpoints never change, and of messages only bodies go. Each cache has two generations
// and forgets the older one when the newer is full. It is safe for concurrent use.
type ledgerCache struct {
	mu          sync.Mutex
	messages    generations[tangle.ID, *tangle.Message]
	checkpoints generations[uint64, CheckpointRecord] // by commit
}

// Bounds of one generation.
const (
	maxCachedMessageBytes = 4 << 20
	maxCachedCheckpoints  = 128
)

func (c *ledgerCache) message(id tangle.ID) *tangle.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, _ := c.messages.get(id)
	return m
}

func (c *ledgerCache) addMessage(m *tangle.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages.put(m.ID, m, m.Size(), maxCachedMessageBytes)
}

// replaceMessage is addMessage for one of which less is left.
func (c *ledgerCache) replaceMessage(m *tangle.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages.forget(m.ID)
	c.messages.put(m.ID, m, m.Size(), maxCachedMessageBytes)
}

func (c *ledgerCache) checkpoint(commit uint64) (CheckpointRecord, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checkpoints.get(commit)
}

func (c *ledgerCache) addCheckpoint(r CheckpointRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkpoints.put(r.Commit, r, 1, maxCachedCheckpoints)
}

// generations is a map that forgets: cheap, bounded, and good enough where the newest is asked for most.
type generations[K comparable, V any] struct {
	young, old map[K]V
	weight     int // of young
}

func (g *generations[K, V]) get(k K) (V, bool) {
	v, ok := g.young[k]
	if !ok {
		v, ok = g.old[k]
	}
	return v, ok
}

func (g *generations[K, V]) forget(k K) {
	delete(g.young, k)
	delete(g.old, k)
}

func (g *generations[K, V]) put(k K, v V, weight, limit int) {
	if _, known := g.young[k]; known {
		return
	}
	if g.young == nil || g.weight+weight > limit {
		g.old, g.young, g.weight = g.young, map[K]V{}, 0
	}
	g.young[k] = v
	g.weight += weight
}
