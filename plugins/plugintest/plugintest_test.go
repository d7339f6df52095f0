package plugintest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"weft/plugins"
	"weft/tangle"
)

const counterKind tangle.Kind = 2000

// counter is a small right plugin: named counters that only grow. Each broken plugin below is this one with one thing
// wrong.
func counter() plugins.Plugin {
	return plugins.Plugin{
		Kinds: []tangle.Kind{counterKind},
		Check: func(_ tangle.Kind, data []byte) (plugins.Op, error) {
			if len(data) != 2 || data[0] >= 'h' {
				return nil, plugins.Reject("bad_value", "want a name from a to g and a number")
			}
			return add{name: data[:1], by: data[1]}, nil
		},
		Admit: func(v plugins.Reader, op plugins.Op) error { return op.(add).refuse(v) },
		Apply: func(s plugins.State, e plugins.Ordered) error {
			op := e.Op.(add)
			if err := op.refuse(s); err != nil {
				return err
			}
			s.Set(op.name, binary.BigEndian.AppendUint64(nil, sum(s, op.name)+uint64(op.by)))
			return nil
		},
	}
}

type add struct {
	name []byte
	by   byte
}

func (a add) refuse(v plugins.View) error {
	if a.by == 0 {
		return plugins.Reject("no_change", "")
	}
	if sum(v, a.name) > 5000 {
		return plugins.Reject("limit_reached", "")
	}
	return nil
}

func sum(v plugins.View, name []byte) uint64 {
	if b := v.Get(name); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func script() Script {
	return Script{Generate: func(r *rand.Rand) plugins.Submission {
		return plugins.Submission{Kind: counterKind, Data: []byte{'a' + byte(r.IntN(8)), byte(r.IntN(256))}}
	}}
}

func maker(p func() plugins.Plugin) plugins.Maker {
	return plugins.Maker{Name: "counter", Open: func(plugins.Host) (plugins.Plugin, error) { return p(), nil }}
}

func TestRightPlugin(t *testing.T) { Run(t, maker(counter), script()) }

// broken wraps the right plugin's Apply and Check.
type broken struct {
	name  string
	want  string // part of the report
	check func(right plugins.Plugin) func(tangle.Kind, []byte) (plugins.Op, error)
	apply func(right plugins.Plugin) func(plugins.State, plugins.Ordered) error
}

func brokenInApply() []broken {
	type apply = func(plugins.State, plugins.Ordered) error
	return []broken{
		{name: "randomness", want: "not deterministic", apply: func(p plugins.Plugin) apply {
			return func(s plugins.State, e plugins.Ordered) error {
				if err := p.Apply(s, e); err != nil {
					return err
				}
				s.Set([]byte("dice"), []byte{byte(rand.Uint32())})
				return nil
			}
		}},
		{name: "map order", want: "not deterministic", apply: func(p plugins.Plugin) apply {
			return func(s plugins.State, e plugins.Ordered) error {
				if err := p.Apply(s, e); err != nil {
					return err
				}
				for name := range map[byte]bool{1: true, 2: true, 3: true, 4: true, 5: true} {
					s.Set([]byte("last"), []byte{name})
				}
				return nil
			}
		}},
		{name: "writes on reject", want: "decide first", apply: func(p plugins.Plugin) apply {
			return func(s plugins.State, e plugins.Ordered) error {
				s.Set([]byte("tried"), e.Data)
				return p.Apply(s, e)
			}
		}},
		{name: "memory outside the state", want: "with restarts in between", apply: func(p plugins.Plugin) apply {
			known := map[string]bool{}
			return func(s plugins.State, e plugins.Ordered) error {
				if known[string(e.Data)] {
					return plugins.Reject("known", "")
				}
				known[string(e.Data)] = true
				return p.Apply(s, e)
			}
		}},
		{name: "plain error", want: "every node would stop", apply: func(plugins.Plugin) apply {
			return func(plugins.State, plugins.Ordered) error { return errors.New("disk on fire") }
		}},
		{name: "code with spaces", want: "lower snake case", apply: func(plugins.Plugin) apply {
			return func(plugins.State, plugins.Ordered) error { return plugins.Reject("Not Now", "") }
		}},
		{name: "rejects all", want: "no entry was accepted", apply: func(plugins.Plugin) apply {
			return func(plugins.State, plugins.Ordered) error { return plugins.Reject("never", "") }
		}},
		{name: "changes what Get lent", want: "changes a value", apply: func(p plugins.Plugin) apply {
			return func(s plugins.State, e plugins.Ordered) error {
				if b := s.Get(e.Data[:1]); b != nil {
					b[0]++
				}
				return p.Apply(s, e)
			}
		}},
		{name: "keeps the State", want: "after Apply has returned", apply: func(p plugins.Plugin) apply {
			var kept plugins.State
			return func(s plugins.State, e plugins.Ordered) error {
				if kept != nil {
					kept.Get(nil)
				}
				kept = late{s}
				err := p.Apply(s, e)
				return err
			}
		}},
		{name: "panics", want: "panics: runtime error", apply: func(p plugins.Plugin) apply {
			return func(s plugins.State, e plugins.Ordered) error { _ = e.Data[7]; return p.Apply(s, e) }
		}},
	}
}

// late uses its State again after the entry, as a goroutine that Apply has left behind would.
type late struct{ plugins.State }

func (l late) Get([]byte) []byte {
	s := l.State.(*State)
	was := s.open
	s.open = false
	defer func() { s.open = was }()
	return s.Get(nil)
}

func brokenInCheck() []broken {
	type check = func(tangle.Kind, []byte) (plugins.Op, error)
	return []broken{
		{name: "check with a mood", want: "Check of entry", check: func(p plugins.Plugin) check {
			return func(k tangle.Kind, b []byte) (plugins.Op, error) {
				if rand.IntN(5) == 0 {
					return nil, plugins.Reject("not_now", "")
				}
				return p.Check(k, b)
			}
		}},
		{name: "check changes the data", want: "changes the entry's data", check: func(p plugins.Plugin) check {
			return func(k tangle.Kind, b []byte) (plugins.Op, error) {
				copy(b, bytes.ToUpper(b))
				return p.Check(k, b)
			}
		}},
		{name: "check trusts its input", want: "panics", check: func(p plugins.Plugin) check {
			return func(k tangle.Kind, b []byte) (plugins.Op, error) { return add{b[:1], b[1]}, nil }
		}},
		{name: "check fails with a plain error", want: "not made by plugins.Reject", check: func(p plugins.Plugin) check {
			return func(k tangle.Kind, b []byte) (plugins.Op, error) {
				op, err := p.Check(k, b)
				if err != nil {
					err = errors.New(err.Error())
				}
				return op, err
			}
		}},
	}
}

func TestBrokenPluginsAreCaught(t *testing.T) {
	for _, b := range append(brokenInApply(), brokenInCheck()...) {
		t.Run(b.name, func(t *testing.T) {
			err := Examine(maker(func() plugins.Plugin {
				p := counter()
				right := p
				if b.apply != nil {
					p.Apply = b.apply(right)
				}
				if b.check != nil {
					p.Check = b.check(right)
				}
				return p
			}), script(), 1)
			if err == nil || !strings.Contains(err.Error(), b.want) {
				t.Errorf("got %v, want a report with %q", err, b.want)
			}
		})
	}
}

// TestCheckAll: what checks many at once must say of each what Check says.
func TestCheckAll(t *testing.T) {
	right := func(p plugins.Plugin, list []tangle.Entry) (out []plugins.Checked) {
		for _, e := range list {
			op, err := p.Check(e.Kind, e.Data)
			out = append(out, plugins.Checked{Op: op, Err: err})
		}
		return out
	}
	spoils := func(p plugins.Plugin, list []tangle.Entry) []plugins.Checked {
		out := right(p, list)
		for i, c := range out {
			if c.Err != nil && i > 0 {
				out[i-1] = plugins.Checked{Err: c.Err} // one that is bad spoils its neighbour
			}
		}
		return out
	}
	short := func(p plugins.Plugin, list []tangle.Entry) []plugins.Checked { return right(p, list)[1:] }
	for _, c := range []struct {
		name string
		all  func(plugins.Plugin, []tangle.Entry) []plugins.Checked
		want string
	}{{"right", right, ""}, {"spoils", spoils, "CheckAll of entry"}, {"short", short, "CheckAll has"}} {
		err := Examine(maker(func() plugins.Plugin {
			p := counter()
			p.CheckAll = func(list []tangle.Entry) []plugins.Checked { return c.all(p, list) }
			return p
		}), script(), 1)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestRefusesWhatIsNoLedgerPlugin(t *testing.T) {
	for _, p := range []plugins.Plugin{{}, {Kinds: []tangle.Kind{tangle.KindData}, Apply: counter().Apply}} {
		if err := Examine(maker(func() plugins.Plugin { return p }), script(), 1); err == nil {
			t.Errorf("plugin with kinds %v passes", p.Kinds)
		}
	}
}

func TestWritesBeforeRejectCanBeAllowed(t *testing.T) {
	s := script()
	s.WritesBeforeReject = true
	p := func() plugins.Plugin {
		p, right := counter(), counter()
		p.Apply = func(s plugins.State, e plugins.Ordered) error {
			s.Set([]byte("tried"), e.Data)
			return right.Apply(s, e)
		}
		return p
	}
	Run(t, maker(p), s)
}

func TestStateScansInOrderWithTheEntrysWrites(t *testing.T) {
	s := NewState(nil)
	s.Begin()
	for _, k := range []string{"b", "a", "d"} {
		s.Set([]byte(k), []byte(k))
	}
	s.Commit()
	s.Begin()
	s.Set([]byte("c"), []byte("c"))
	s.Delete([]byte("b"))
	var got string
	s.Scan([]byte("a"), []byte("d"), func(k, _ []byte) bool { got += string(k); return true })
	if got != "ac" {
		t.Errorf("scan visits %q, want ac", got)
	}
	if n := s.Rollback(); n != 2 {
		t.Errorf("rolled back %d writes, want 2", n)
	}
}
