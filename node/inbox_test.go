package node

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"weft/gossip"
	"weft/plugins"
	"weft/tangle"
)

const mebibyte = 1 << 20

// enterAll lets a reader bring n frames of a size into a lane, and returns how many it could by now.
func enterAll(b *inbox, lane gossip.Lane, n, size int) (entered func() int) {
	count := make(chan int, n)
	go func() {
		for range n {
			if !b.enter(lane, size) {
				return
			}
			b.put(lane, queuedFrame{&PeerFrame{}, size})
			count <- 1
		}
	}()
	return func() int { return len(count) }
}

func TestFullLaneBlocksItsReadersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInbox()
		most := MaxQueuedBytes / mebibyte
		bulk := enterAll(b, gossip.LaneBulk, most+5, mebibyte)
		synctest.Wait()
		if n := bulk(); n != most {
			t.Fatalf("%d MiB of bulk entered, want %d", n, most)
		}
		witnesses := enterAll(b, gossip.LaneWitness, most, mebibyte)
		synctest.Wait()
		if n := witnesses(); n != most {
			t.Fatalf("%d MiB of witnesses entered beside a full bulk lane, want %d", n, most)
		}
		var g gathering
		for range 3 { // the first Steps take witnesses, then bulk
			b.gather(&g)
			b.done(&g)
			g.reset()
		}
		synctest.Wait()
		if n := bulk(); n <= most {
			t.Errorf("nothing entered after a Step made room")
		}
		b.close() // or the reader would wait for ever
	})
}

func TestManySmallFramesAreBoundedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInbox()
		bulk := enterAll(b, gossip.LaneBulk, 2*MaxQueuedFrames, 1)
		synctest.Wait()
		if n := bulk(); n != MaxQueuedFrames {
			t.Errorf("%d frames entered, want %d", n, MaxQueuedFrames)
		}
		b.close()
	})
}

func TestWitnessesGoFirstButNotAlone(t *testing.T) {
	b := newInbox()
	for range 600 {
		for _, lane := range []gossip.Lane{gossip.LaneBulk, gossip.LaneWitness} {
			b.enter(lane, 10+int(lane))
			b.put(lane, queuedFrame{&PeerFrame{}, 10 + int(lane)})
		}
	}
	var g gathering
	b.gather(&g)
	if w, bulk := g.held[gossip.LaneWitness]/10, g.held[gossip.LaneBulk]/11; w != maxStepWitnesses || w+bulk != MaxStepInputs {
		t.Errorf("a Step takes %d witnesses and %d bulk frames, want %d and %d", w, bulk, maxStepWitnesses, MaxStepInputs-maxStepWitnesses)
	}
}

func TestStepIsBoundedInBytes(t *testing.T) {
	b := newInbox()
	for range MaxQueuedBytes / mebibyte {
		b.enter(gossip.LaneBulk, mebibyte)
		b.put(gossip.LaneBulk, queuedFrame{&PeerFrame{}, mebibyte})
	}
	var g gathering
	b.gather(&g)
	if n := len(g.inputs); n != MaxStepBytes/mebibyte {
		t.Errorf("a Step takes %d MiB, want %d", n, MaxStepBytes/mebibyte)
	}
}

func TestPeersComeBeforeTheirFrames(t *testing.T) {
	b := newInbox()
	b.enter(gossip.LaneWitness, 1)
	b.put(gossip.LaneWitness, queuedFrame{&PeerFrame{}, 1})
	b.putPeer(PeerChange{tangle.Member{1}, true})
	var g gathering
	b.wait(t.Context(), &g, nil) // takes either
	b.gather(&g)
	if all := g.all(); len(all) != 2 || all[0].Peer == nil || all[1].Frame == nil {
		t.Errorf("inputs %+v, want the peer and then its frame", all)
	}
}

// bare is a Node without a Core, a wire and an API.
func bare(t *testing.T) *Node {
	t.Helper()
	w := newNetwork(t, 4)
	return &Node{
		Ledger: w.cores[0].Ledger(), config: Config{Genesis: w.genesis}, inbox: newInbox(), verifier: newVerifier(w.genesis, 2, nil),
		skews: newSkews(), clock: newClock(nil),
	}
}

func dataSubmission(text string) plugins.Submission {
	return plugins.Submission{Kind: tangle.KindData, Data: Data{"test", []byte(text)}.Encode()}
}

func codeOf(err error) string {
	if r := plugins.Rejected(err); r != nil {
		return r.Code
	}
	return fmt.Sprint(err)
}

func TestPublishSaysWhyNot(t *testing.T) {
	n := bare(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := n.Publish(ended, []plugins.Submission{dataSubmission("x")}); err != context.Canceled {
		t.Errorf("a caller who left: %v", err)
	}
	if _, _, err := n.Publish(t.Context(), []plugins.Submission{{Kind: 4711}}); codeOf(err) != "unknown_kind" {
		t.Errorf("foreign kind: %v", err)
	}
	if _, _, err := n.Publish(t.Context(), []plugins.Submission{{Kind: tangle.KindData}}); codeOf(err) != "bad_value" {
		t.Errorf("entry that Check refuses: %v", err)
	}
	if _, _, err := n.Publish(t.Context(), make([]plugins.Submission, n.config.Genesis.Limits.MaxEntries+1)); codeOf(err) != "too_large" {
		t.Errorf("too many entries: %v", err)
	}
	for len(n.inbox.submits) < MaxQueuedSubmits {
		n.inbox.submits <- &ticket{}
	}
	if _, _, err := n.Publish(t.Context(), []plugins.Submission{dataSubmission("x")}); codeOf(err) != "busy" {
		t.Errorf("full queue: %v", err)
	}
	<-n.inbox.submits
	n.inbox.close()
	if _, _, err := n.Publish(t.Context(), []plugins.Submission{dataSubmission("x")}); codeOf(err) != "shutting_down" {
		t.Errorf("closing node: %v", err)
	}
}

// TestVerificationKeepsOrder has four peers send messages of very different size at once.
func TestVerificationKeepsOrder(t *testing.T) {
	n := bare(t)
	w := newNetwork(t, 4)
	const count = 60
	frames := make([][]byte, count)
	for i := range frames {
		frames[i] = frameOf(sealTest(t, w, tangle.Seq(i+1), 1+(count-i)*5).Bytes())
	}
	done := make(chan bool, 4)
	for peer := range 4 {
		go func() {
			for _, f := range frames {
				n.onFrame(core2member(w, peer), 1, f)
			}
			done <- true
		}()
	}
	next := map[tangle.Member]tangle.Seq{}
	for range 4 * count {
		f := <-n.inbox.lanes[gossip.LaneBulk]
		next[f.From]++
		if seq := f.Frame.Messages.List[0].Header.Seq; seq != next[f.From] {
			t.Fatalf("peer %s: message %d, want %d", f.From.Short(), seq, next[f.From])
		}
		n.inbox.leave(gossip.LaneBulk, f.size)
	}
	for range 4 {
		<-done
	}
}

// sealTest makes a message of member 1.
func sealTest(t *testing.T, w *network, seq tangle.Seq, entries int) *tangle.Message {
	t.Helper()
	codec := tangle.Codec{Network: w.genesis.ID(), Limits: w.genesis.Limits}
	var list []tangle.Entry
	for i := range entries {
		list = append(list, tangle.NewEntry(tangle.KindData, tangle.Salt{byte(i)}, Data{"test", []byte("x")}.Encode()))
	}
	s := &step{Core: w.cores[1]}
	m, err := codec.Seal(tangle.Header{Author: core2member(w, 1), Seq: seq, Time: w.now, Parents: []tangle.ID{codec.Network}}, list, s.sign)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
