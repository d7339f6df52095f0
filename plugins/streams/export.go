package streams

import (
	"archive/zip"
	"cmp"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

const typeZIP = "application/zip"

// maxActors bounds the DIDs whose operations go into a bundle.
const maxActors = 20_000

// export is GET /api/v1/channels/{id}/export: the evidence bundle from event 0 on, streamed. A bundle always begins at the
// start: what a state machine does is checked from there.
func (s *streams) export(w http.ResponseWriter, r *http.Request) error {
	x, err := s.open(r)
	if err == nil {
		err = x.reads()
	}
	if err != nil {
		return err
	}
	from, err := number(r, "from", 0)
	if err != nil || from != 0 {
		return plugins.Reject("bad_parameter", "from: a bundle begins at event 0")
	}
	to, err := number(r, "to", 1<<53)
	if err != nil {
		return err
	}
	end, err := s.exportEnd(x, to)
	if err != nil {
		return err
	}
	source, err := s.bundle(x, end)
	if err != nil {
		return err
	}
	return sendBundle(w, x.ID, source)
}

// exportEnd is how many events a bundle has: those that are final and served to the caller.
func (s *streams) exportEnd(x *reader, to uint64) (uint64, error) {
	end, err := s.finalEvents(x)
	if err != nil {
		return 0, err
	}
	end = min(end, to+1)
	hidden := false
	err = channel.Events(s.state(), x.ID, 0, func(e channel.Event) bool {
		if e.Number >= end {
			return false
		}
		hidden = !x.sees(e)
		return !hidden
	})
	switch {
	case err != nil:
		s.damaged(err)
		return 0, err
	case hidden:
		return 0, plugins.Reject("history_policy", "a bundle begins at event 0, and history does not let this reader see all of it")
	case end == 0:
		return 0, plugins.Reject("not_final", "no checkpoint covers the channel yet")
	case end > channel.MaxBundleEvents:
		return 0, plugins.Reject("too_large", "%d events, at most %d in a bundle: say to", end, channel.MaxBundleEvents)
	}
	return end, nil
}

func sendBundle(w http.ResponseWriter, id channel.ID, source channel.BundleSource) error {
	h := w.Header()
	h.Set("Content-Type", typeZIP)
	h.Set("Content-Disposition", `attachment; filename="channel-`+id.String()[:16]+`.zip"`)
	h.Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	out := zip.NewWriter(slow{w, control})
	_, err := channel.WriteBundle(func(name string) (io.Writer, error) {
		return out.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Unix(0, 0).UTC()})
	}, source)
	if err != nil {
		return err // the ZIP has no directory then, so that nobody takes it for whole
	}
	_ = out.Close() // nobody is left to tell
	return nil
}

// slow lets an answer take as long as its consumer reads on.
type slow struct {
	io.Writer
	control *http.ResponseController
}

func (s slow) Write(b []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(time.Minute)) // recorders in tests have none
	return s.Writer.Write(b)
}

// bundle is what an export is made of: events before end.
func (s *streams) bundle(x *reader, end uint64) (channel.BundleSource, error) {
	source := channel.BundleSource{Network: s.host.Network, Channel: x.ID}
	newest, ok := s.host.Checkpoint(s.host.Head().Final) // its time says which records are past retention
	if !ok {
		return source, plugins.Reject("not_final", "no checkpoint covers the channel yet")
	}
	actors, erased := map[string]bool{}, map[uint64]bool{}
	covered := map[tangle.Position]plugins.Checkpoint{newest.Size: newest}
	var fault error
	err := channel.Events(s.state(), x.ID, 0, func(e channel.Event) bool {
		if e.Number >= end {
			return false
		}
		var actor string
		if actor, fault = channel.ActorOf(s.state(), x.ID, e); fault != nil {
			return false
		}
		if actors[actor] = true; e.Cleared && e.ErasedBy >= end {
			erased[e.ErasedBy] = true
		}
		for _, size := range []tangle.Position{e.Position, e.Position + 1} { // the nearest before and behind
			if c, ok := s.host.Checkpoint(size); ok {
				covered[c.Size] = c
			}
		}
		return len(actors) <= maxActors
	})
	if err = errors.Join(err, fault); err != nil {
		s.damaged(err)
		return source, err
	}
	ascending := sorted(covered)
	for _, c := range ascending {
		source.Checkpoints = append(source.Checkpoints, c.Note)
	}
	newest = ascending[len(ascending)-1]
	source.Newest.Size, source.Newest.Root, source.Newest.Time = uint64(newest.Size), newest.Root, newest.Time
	source.Events = s.exportEvents(&x.Channel, end, newest.Time)
	if source.Later, err = s.exportLater(x, end, erased, newest.Size); err != nil {
		return source, err
	}
	source.DIDs, err = s.exportDIDs(actors)
	return source, err
}

// exportLater are the operations from an event on that are why records before it are gone: those erasures, and what says how
// long records are kept. One that no checkpoint covers yet counts here, and cannot be shown.
func (s *streams) exportLater(x *reader, from uint64, erased map[uint64]bool, final tangle.Position) (iter.Seq2[channel.ExportedEntry, error], error) {
	var list []did.Place
	var early error
	err := channel.Events(s.state(), x.ID, from, func(e channel.Event) bool {
		switch {
		case !erased[e.Number] && (e.Op != channel.Configure || !s.setsRetention(e)):
		case e.Position >= final:
			early = plugins.Reject("not_final", "event %d makes records go, and no checkpoint covers it yet", e.Number)
			return false
		default:
			list = append(list, e.Place)
		}
		return true
	})
	if err = errors.Join(err, early); err != nil {
		s.damaged(err)
		return nil, err
	}
	return func(yield func(channel.ExportedEntry, error) bool) {
		for _, at := range list {
			proof, err := s.host.Receipt(at.Entry)
			if !yield(channel.ExportedEntry{Place: at, Operation: s.host.Data(at.Position, at.Index), Receipt: proof}, err) || err != nil {
				return
			}
		}
	}, nil
}

func (s *streams) setsRetention(e channel.Event) bool {
	op, err := channel.Decode(s.host.Network, s.host.Data(e.Position, e.Index))
	return err == nil && op.Settings.RetentionDays != nil
}

func sorted(covered map[tangle.Position]plugins.Checkpoint) []plugins.Checkpoint {
	var list []plugins.Checkpoint
	for _, c := range covered {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b plugins.Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	return list
}

// exportPage is how many events are read at once: no scan of the state stays open while somebody downloads.
const exportPage = 256

func (s *streams) exportEvents(c *channel.Channel, end uint64, newest tangle.Time) iter.Seq2[channel.Exported, error] {
	return func(yield func(channel.Exported, error) bool) {
		for from := uint64(0); from < end; {
			var events []channel.Event
			err := channel.Events(s.state(), c.ID, from, func(e channel.Event) bool {
				events = append(events, e)
				return len(events) < exportPage && e.Number+1 < end
			})
			if err != nil || len(events) == 0 {
				yield(channel.Exported{}, errors.Join(err, errors.New("events are missing")))
				return
			}
			for _, e := range events {
				one := channel.Exported{Event: e}
				if !e.Cleared && !c.PastRetention(e, newest) {
					one.Operation = s.host.Data(e.Position, e.Index)
				}
				if one.Operation != nil {
					one.Receipt, err = s.host.Receipt(e.Entry)
				} else {
					one.Left = s.host.Left(e.Position, e.Index)
					one.Receipt, err = s.host.BareReceipt(e.Entry)
				}
				if !yield(one, err) || err != nil {
					return
				}
			}
			from = events[len(events)-1].Number + 1
		}
	}
}

// exportDIDs are the operations of actors, of those whose keys they sign with, and of the controllers of all of them, now and
// before, in the order of their places.
func (s *streams) exportDIDs(actors map[string]bool) (iter.Seq2[channel.ExportedEntry, error], error) {
	identity := s.identity()
	var all []channel.ExportedEntry
	waiting := make([]string, 0, len(actors))
	for actor := range actors {
		waiting = append(waiting, actor)
	}
	for seen := map[string]bool{}; identity != nil && len(waiting) > 0; {
		name := waiting[0]
		waiting = waiting[1:]
		d, err := did.Parse(name)
		if err != nil || seen[name] || !strings.HasPrefix(name, "did:weft:") {
			continue
		}
		seen[name] = true
		if _, found, err := did.ReadHead(identity, d); err != nil || !found {
			s.damaged(err)
			continue // a reference to what is not there, or under another network's name
		}
		keys := did.Relationship("") // of those that act
		if actors[name] {
			keys = did.Authentication
		}
		var fault error
		err = did.Log(identity, d, 1, func(_ int, r did.Record) bool {
			all = append(all, channel.ExportedEntry{Place: r.Place, Operation: slices.Clone(r.Raw)})
			var relies []string
			relies, fault = did.Relies(r.Raw, keys)
			waiting = append(waiting, slices.DeleteFunc(relies, func(other string) bool { return seen[other] })...)
			return fault == nil
		})
		if err = errors.Join(err, fault); err != nil {
			s.damaged(err)
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b channel.ExportedEntry) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.Index, b.Index))
	})
	return func(yield func(channel.ExportedEntry, error) bool) {
		for _, one := range all {
			receipt, err := s.host.Receipt(one.Entry)
			if plugins.Rejected(err) == nil && err != nil {
				continue // not final yet, and so later than every event here
			}
			one.Receipt = receipt
			if !yield(one, nil) {
				return
			}
		}
	}, nil
}
