package plugintest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"

	"weft/plugins"
	"weft/tangle"
)

// checkers is how many goroutines call Check at once.
const checkers = 4

// verdict is what Check said of an entry.
type verdict struct {
	op  plugins.Op
	err error
}

// checkAll runs Check on all entries, in several goroutines and orders at once, and compares.
func (x *examination) checkAll(p plugins.Plugin) []verdict {
	if p.Check == nil {
		return make([]verdict, len(x.entries))
	}
	var all [checkers][]verdict
	var broken [checkers]error
	var group sync.WaitGroup
	for i := range checkers {
		group.Go(func() { all[i], broken[i] = checkOnce(p, x.entries, i) })
	}
	group.Wait()
	for _, err := range broken {
		if err != nil {
			x.defect("%w", err)
			return nil
		}
	}
	for i := range x.entries {
		x.compareChecks(i, all)
	}
	x.checkTogether(p, all[0])
	return all[0]
}

// checkTogether holds CheckAll to what Check says: of each entry alone, and of all together.
func (x *examination) checkTogether(p plugins.Plugin, want []verdict) {
	if p.CheckAll == nil {
		return
	}
	list := make([]tangle.Entry, len(x.entries))
	for i, e := range x.entries {
		list[i] = tangle.Entry{Kind: e.Kind, Data: slices.Clone(e.Data)}
	}
	got := p.CheckAll(list)
	if len(got) != len(list) {
		x.defect("CheckAll has %d results for %d entries", len(got), len(list))
		return
	}
	for i := range list {
		alone := p.CheckAll(list[i : i+1])[0]
		for _, c := range []plugins.Checked{got[i], alone} {
			if code(c.Err) != code(want[i].err) || !reflect.DeepEqual(c.Op, want[i].op) {
				x.defect("CheckAll of entry %d: %+v %q, Check says %+v %q", i, c.Op, code(c.Err), want[i].op, code(want[i].err))
				return
			}
		}
	}
}

// checkOnce begins at another entry for each goroutine, so that they meet different ones.
func checkOnce(p plugins.Plugin, entries []plugins.Ordered, worker int) ([]verdict, error) {
	out := make([]verdict, len(entries))
	for n := range entries {
		i := (n + worker*len(entries)/checkers) % len(entries)
		data := slices.Clone(entries[i].Data)
		err := guard(func() { out[i].op, out[i].err = p.Check(entries[i].Kind, data) })
		if err != nil {
			return nil, fmt.Errorf("check of entry %d, data %x: %w", i, entries[i].Data, err)
		}
		if !bytes.Equal(data, entries[i].Data) {
			return nil, fmt.Errorf("check of entry %d changes the entry's data", i)
		}
	}
	return out, nil
}

func (x *examination) compareChecks(i int, all [checkers][]verdict) {
	first := all[0][i]
	x.checkError("Check", i, first.err)
	for _, other := range all[1:] {
		v := other[i]
		if code(v.err) != code(first.err) || !reflect.DeepEqual(v.op, first.op) {
			x.defect("Check of entry %d is not deterministic: %+v %q, then %+v %q", i, first.op, code(first.err), v.op, code(v.err))
			return
		}
	}
}

// way is one of the ways in which nodes come to apply the same entries.
type way struct {
	name    string
	again   bool // Check once more instead of taking the pool's result
	restart int  // open the plugin anew after this many entries; 0: never
	admit   bool // ask Admit before Apply
	erased  bool // without the bodies of those accepted entries that have a lasting part
}

func ways() []way {
	return []way{
		{name: "at first"},
		{name: "a second time"},
		{name: "with Check made again", again: true},
		{name: "with Admit asked before", admit: true},
		{name: "with restarts in between", restart: 7, again: true},
		{name: "with bodies erased", erased: true},
	}
}

// outcome is what one entry left.
type outcome struct {
	code   string
	writes tangle.Hash // to the state
	notes  tangle.Hash // to the index
}

// replayAll applies all entries in each way, and compares outcomes, writes and state.
func (x *examination) replayAll() {
	var first []outcome
	for _, w := range ways() {
		got := x.replay(w)
		if len(x.defects) > 0 {
			return
		}
		if first == nil {
			first = got
			for i := range got {
				x.codes = append(x.codes, got[i].code)
			}
			x.wantAccepted(got)
			continue
		}
		for i := range got {
			if got[i].code != first[i].code {
				x.defect("Apply of entry %d is not deterministic: outcome %q at first, %q %s", i, first[i].code, got[i].code, w.name)
				return
			}
			if got[i].writes != first[i].writes {
				x.defect("Apply of entry %d is not deterministic: it writes other things %s than at first", i, w.name)
				return
			}
			if got[i].notes != first[i].notes && !w.erased {
				x.defect("Index of entry %d is not deterministic: it writes other things %s than at first", i, w.name)
				return
			}
		}
	}
}

func (x *examination) wantAccepted(list []outcome) {
	if !slices.ContainsFunc(list, func(o outcome) bool { return o.code == "" }) {
		x.defect("no entry was accepted: Generate must make some that are valid")
	}
}

func (x *examination) replay(w way) []outcome {
	state, index := NewState(x.script.Peers), NewState(nil)
	index.agreed = state
	p := x.open(state.view)
	list := make([]outcome, len(x.entries))
	for i := range x.entries {
		if w.restart > 0 && i%w.restart == w.restart-1 {
			p = x.open(state.view)
		}
		checked := x.checks[i]
		if w.again && p.Check != nil {
			checked.op, checked.err = p.Check(x.entries[i].Kind, slices.Clone(x.entries[i].Data))
		}
		if checked.err != nil {
			list[i].code = code(checked.err)
			list[i].notes = x.index(p, index, i, nil, checked.err)
			continue
		}
		if w.admit && p.Admit != nil {
			x.checkAdmit(p, state, i, checked.op)
		}
		if w.erased {
			checked.op = x.erase(p, i, checked.op)
		}
		var err error
		list[i], err = x.apply(p, state, i, checked.op)
		list[i].notes = x.index(p, index, i, checked.op, err)
		if len(x.defects) > 0 {
			return list
		}
	}
	return list
}

// erase makes the Op that is left of an entry without its body, if it has a lasting part and was accepted at first.
func (x *examination) erase(p plugins.Plugin, i int, op plugins.Op) plugins.Op {
	if p.Lasting == nil || x.codes[i] != "" {
		return op
	}
	var lasting []byte
	var left plugins.Op
	var err error
	broken := guard(func() {
		if lasting = p.Lasting(x.entries[i].Kind, op); len(lasting) > 0 {
			left, err = p.Restore(x.entries[i].Kind, slices.Clone(lasting))
		}
	})
	switch {
	case broken != nil || err != nil:
		x.defect("Lasting or Restore of entry %d, data %x: %w", i, x.entries[i].Data, errors.Join(broken, err))
	case len(lasting) > tangle.MaxLastingBytes:
		x.defect("Lasting of entry %d has %d bytes, limit %d", i, len(lasting), tangle.MaxLastingBytes)
	case left == nil:
		return op
	}
	return left
}

func (x *examination) checkAdmit(p plugins.Plugin, state *State, i int, op plugins.Op) {
	if err := guard(func() { x.checkError("Admit", i, p.Admit(state.reader(), op)) }); err != nil {
		x.defect("Admit of entry %d: %w", i, err)
	}
}

// apply runs one entry as the node does: its writes are kept or rolled back.
func (x *examination) apply(p plugins.Plugin, state *State, i int, op plugins.Op) (o outcome, err error) {
	entry := x.entries[i]
	entry.Op, entry.Data = op, slices.Clone(entry.Data)
	state.Begin()
	if broken := guard(func() { err = p.Apply(state, entry) }); broken != nil {
		x.defect("Apply of entry %d, data %x: %w", i, x.entries[i].Data, broken)
	}
	x.checkError("Apply", i, err)
	o = outcome{code: code(err), writes: state.pending()}
	if err == nil {
		state.Commit()
	} else if n := state.Rollback(); n > 0 && !x.script.WritesBeforeReject {
		x.defect("Apply of entry %d writes %d keys and then rejects with %q: decide first, then write", i, n, o.code)
	}
	if !bytes.Equal(entry.Data, x.entries[i].Data) {
		x.defect("Apply of entry %d changes the entry's data", i)
	}
	for _, d := range state.Defects() {
		x.defect("Apply of entry %d %s", i, d)
	}
	return o, err
}

// index lets the plugin note what became of an entry, and returns the hash of what it wrote.
func (x *examination) index(p plugins.Plugin, index *State, i int, op plugins.Op, err error) tangle.Hash {
	if p.Index == nil {
		return tangle.Hash{}
	}
	entry := x.entries[i]
	entry.Op, entry.Data = op, slices.Clone(entry.Data)
	index.Begin()
	if broken := guard(func() { p.Index(index, entry, plugins.Rejected(err)) }); broken != nil {
		x.defect("Index of entry %d, data %x: %w", i, x.entries[i].Data, broken)
	}
	notes := index.pending()
	index.Commit()
	for _, d := range index.Defects() {
		x.defect("Index of entry %d %s", i, d)
	}
	return notes
}

// guard turns a panic into an error, so that the report can name the entry.
func guard(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panics: %v\n%s", r, debug.Stack())
		}
	}()
	f()
	return nil
}
