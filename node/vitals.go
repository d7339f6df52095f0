package node

import (
	"time"

	"weft/internal/store"
	"weft/plugins"
)

// Bounds of readiness.
const (
	maxBehind   = 100       // commits behind the farthest peer
	diskReserve = 256 << 20 // bytes free
)

// Vitals says how the node is doing. It is safe for concurrent use.
func (n *Node) Vitals() Vitals {
	st := n.status.Load()
	return Vitals{
		StepAge: time.Since(time.UnixMilli(n.stepped.Load())),
		Synced:  st.Behind < maxBehind && !st.CatchingUp,
		Quorum:  st.Quorum,
		Idle:    st.Idle,
		DiskLow: diskLow(n.config.Dir),
		Skew:    n.skews.median(),
		Pending: st.Pending,
		Tips:    st.Tips,
		Parked:  st.Parked,
		Facts:   n.facts(),
	}
}

// facts are the figures that metrics and dashboards show.
func (n *Node) facts() []plugins.Fact {
	st, head, c := n.status.Load(), n.Ledger.Head(), &n.counters
	gauge := func(name, help string, v float64) plugins.Fact { return plugins.Fact{Name: name, Help: help, Value: v} }
	counter := func(name, help string, v uint64) plugins.Fact {
		return plugins.Fact{Name: name, Help: help, Value: float64(v), Counter: true}
	}
	list := []plugins.Fact{
		gauge("weft_position", "Positions applied here.", float64(head.Position)),
		gauge("weft_final_size", "Size of the newest certified checkpoint, in messages.", float64(head.Final)),
		gauge("weft_final_age_seconds", "Age of the newest certified checkpoint, by commit time.", age(head.FinalTime)),
		gauge("weft_commit", "Last commit executed.", float64(head.Commit)),
		gauge("weft_round", "Highest round of any attached witness.", float64(st.Round)),
		gauge("weft_own_round", "Round of the last own witness.", float64(st.Own)),
		gauge("weft_tips", "Attached messages without attached children.", float64(st.Tips)),
		gauge("weft_graph_messages", "Attached messages that the order has not reached.", float64(st.Attached)),
		gauge("weft_parked_messages", "Messages that wait for parents.", float64(st.Parked)),
		gauge("weft_held_messages", "Messages from the future that wait.", float64(st.Held)),
		gauge("weft_pending_entries", "Own entries without a place.", float64(st.Pending)),
		gauge("weft_behind_commits", "Commits behind the farthest peer.", float64(st.Behind)),
		gauge("weft_clock_skew_seconds", "This clock minus the median of the other validators', message delay included.", n.skews.median().Seconds()),
		gauge("weft_quorum", "1 if a quorum of validators is here and commits come.", flag(st.Quorum)),
		counter("weft_steps_total", "Steps of the core.", c.steps.Load()),
		counter("weft_inputs_total", "Inputs of the core.", c.inputs.Load()),
		counter("weft_submitted_entries_total", "Entries taken from callers.", c.submitted.Load()),
		counter("weft_refused_submissions_total", "Submissions not taken.", c.refused.Load()),
		counter("weft_ordered_entries_total", "Entries of all members that got a place.", c.ordered.Load()),
		counter("weft_commits_total", "Commits executed since start.", c.commits.Load()),
		counter("weft_checkpoints_total", "Checkpoints certified since start.", c.finals.Load()),
		counter("weft_peer_faults_total", "Faults of peers.", c.faults.Load()),
		counter("weft_unsent_frames_total", "Frames a full queue or a missing peer cost.", c.unsent.Load()),
		counter("weft_dropped_events_total", "Events that slow observers missed.", n.observers.dropped.Load()),
	}
	if s, err := n.PurgeState(); err == nil {
		list = append(list,
			plugins.Fact{Name: "weft_erased_bodies_total", Help: "Bodies of entries dropped from the store.", Value: float64(s.Erased), Counter: true},
			gauge("weft_purge_pending", "1 if the store's files may still hold erased bodies.", flag(s.Erased > s.Purged)))
	}
	list = append(list, plugins.Fact{
		Name: "weft_step_seconds_total", Help: "Time spent in steps.", Value: float64(c.stepNanos.Load()) / 1e9, Counter: true,
	})
	for _, p := range n.Peers() {
		list = append(list, plugins.Fact{
			Name: "weft_peer_connected", Help: "1 if the peer is connected.", Value: flag(p.Connected), Label: "peer=" + p.Member.Short(),
		})
	}
	for _, p := range n.plugins {
		if p.Plugin.Facts != nil {
			list = append(list, p.Plugin.Facts()...)
		}
	}
	return list
}

func diskLow(dir string) bool {
	free, known := store.FreeBytes(dir)
	return dir != "" && known && free < diskReserve
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
