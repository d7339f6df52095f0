package node

import (
	"context"
	"slices"
	"sync"

	"weft/gossip"
	"weft/plugins"
	"weft/tangle"
)

// asks lets a plugin ask the same plugin of another member, and answers for those who ask. It is apart from the Core:
// nothing that is agreed on comes this way. It is safe for concurrent use.
type asks struct {
	send    func(tangle.Member, gossip.Lane, []byte)
	answers map[string]func(context.Context, tangle.Member, []byte) ([]byte, error) // by plugin; set before Run
	work    chan askedBy

	mu   sync.Mutex // guards all below
	next uint64
	open map[uint64]openAsk
}

type openAsk struct {
	of     tangle.Member
	answer chan gossip.Reply // buffered
}

type askedBy struct {
	from tangle.Member
	ask  gossip.Ask
}

// The bounds of asking. What comes while all answerers are busy and the queue is full is answered with busy.
const (
	MaxAskBytes   = 512 << 10
	MaxOpenAsks   = 1024
	MaxAsksQueued = 64
	answerers     = 4
)

func newAsks(send func(tangle.Member, gossip.Lane, []byte)) *asks {
	return &asks{
		send: send, answers: map[string]func(context.Context, tangle.Member, []byte) ([]byte, error){},
		work: make(chan askedBy, MaxAsksQueued), open: map[uint64]openAsk{},
	}
}

// answer says who answers.
func (a *asks) answer(list []NamedPlugin) {
	for _, p := range list {
		if p.Plugin.Answer != nil {
			a.answers[p.Name] = p.Plugin.Answer
		}
	}
}

// run answers until ctx ends.
func (a *asks) run(ctx context.Context) error {
	var group sync.WaitGroup
	for range answerers {
		group.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case asked := <-a.work:
					a.reply(asked.from, a.serve(ctx, asked))
				}
			}
		})
	}
	group.Wait()
	return nil
}

func (a *asks) serve(ctx context.Context, asked askedBy) gossip.Reply {
	r := gossip.Reply{ID: asked.ask.ID}
	answer := a.answers[asked.ask.Plugin]
	if answer == nil {
		r.Code = "not_found"
		return r
	}
	body, err := answer(ctx, asked.from, asked.ask.Body)
	switch rejected := plugins.Rejected(err); {
	case rejected != nil:
		r.Code = rejected.Code[:min(len(rejected.Code), gossip.MaxName)]
	case err != nil || len(body) > MaxAskBytes:
		r.Code = "internal"
	default:
		r.Body = body
	}
	return r
}

func (a *asks) reply(to tangle.Member, r gossip.Reply) {
	a.send(to, gossip.LaneBulk, gossip.Frame{Reply: &r}.Bytes())
}

// take is called by the readers of peers and does not block.
func (a *asks) take(from tangle.Member, f gossip.Frame) {
	if f.Ask != nil {
		ask := *f.Ask
		ask.Body = slices.Clone(ask.Body)
		select {
		case a.work <- askedBy{from, ask}:
		default:
			a.reply(from, gossip.Reply{ID: ask.ID, Code: "busy"})
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if o, waits := a.open[f.Reply.ID]; waits && o.of == from {
		delete(a.open, f.Reply.ID)
		r := *f.Reply
		r.Body = slices.Clone(r.Body)
		o.answer <- r
	}
}

// ask asks a member's plugin and waits for the reply, or for ctx. An error made by Reject has the other side's code.
func (a *asks) ask(ctx context.Context, plugin string, of tangle.Member, body []byte) ([]byte, error) {
	if len(body) > MaxAskBytes {
		return nil, plugins.Reject("too_large", "%d bytes, at most %d can be asked", len(body), MaxAskBytes)
	}
	id, answer, err := a.register(of)
	if err != nil {
		return nil, err
	}
	a.send(of, gossip.LaneBulk, gossip.Frame{Ask: &gossip.Ask{ID: id, Plugin: plugin, Body: body}}.Bytes())
	select {
	case r := <-answer:
		if r.Code != "" {
			return nil, plugins.Reject(r.Code, "member %s says so", of.Short())
		}
		return r.Body, nil
	case <-ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.open, id)
		return nil, ctx.Err()
	}
}

func (a *asks) register(of tangle.Member) (uint64, chan gossip.Reply, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.open) >= MaxOpenAsks {
		return 0, nil, plugins.Reject("busy", "%d questions wait for members", MaxOpenAsks)
	}
	a.next++
	answer := make(chan gossip.Reply, 1)
	a.open[a.next] = openAsk{of, answer}
	return a.next, answer, nil
}
