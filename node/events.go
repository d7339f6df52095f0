package node

import (
	"sync/atomic"

	"github.com/iotaledger/hive.go/runtime/event"
)

// observers hands events to whoever watches the node: live streams, dashboards, metrics. Hooks run inline on the goroutine
// that owns the Core and only put the event into a bounded channel; what a slow observer misses is counted.
type observers struct {
	events  *event.Event1[Event]
	dropped atomic.Uint64
}

func newObservers() *observers { return &observers{events: event.New1[Event]()} }

// watch delivers events until stop is called; a receiver that is size events behind loses some.
func (o *observers) watch(size int) (events <-chan Event, stop func()) {
	ch := make(chan Event, size)
	hook := o.events.Hook(func(e Event) {
		select {
		case ch <- e:
		default:
			o.dropped.Add(1)
		}
	})
	return ch, hook.Unhook
}

func (o *observers) publish(events []Event) {
	for i := range events {
		o.events.Trigger(events[i])
	}
}
