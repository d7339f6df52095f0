package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/plugins"
	"weft/tangle"
)

// BenchmarkFourNodes is submission to finality over loopback with stores on disk, without HTTP: 64 callers keep a batch of
// 64 entries of 250 bytes in flight each. b.N counts entries.
func BenchmarkFourNodes(b *testing.B) {
	nodes := openNodes(b, 4)
	publish(b, nodes[0], "warm")
	data := Data{"bench", make([]byte, 240)}.Encode()
	const batch = 64
	var left, busy atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for caller := range 64 {
		n := nodes[caller%4]
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			for left.Add(-batch) > -batch {
				list := make([]plugins.Submission, batch)
				for i := range list {
					list[i] = plugins.Submission{Kind: tangle.KindData, Data: data}
				}
				_, hashes, err := n.Publish(ctx, list)
				if r := plugins.Rejected(err); r != nil && r.Code == "busy" || r != nil && r.Code == "no_quorum" {
					busy.Add(1)
					left.Add(batch)
					<-n.Changed()
					continue
				}
				if err := errors.Join(err, n.WaitFinal(ctx, hashes, tangle.ID{})); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	h := nodes[0].Head()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(h.Commit), "commits")
	b.ReportMetric(float64(h.Final), "messages")
	b.ReportMetric(float64(busy.Load()), "busy")
	c := &nodes[0].counters
	b.ReportMetric(float64(c.stepNanos.Load())/1e6/float64(c.steps.Load()), "ms/step")
	b.ReportMetric(float64(c.steps.Load()), "steps")
}
