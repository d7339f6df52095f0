package consensus

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/tangle"
)

// A drawing is a DAG of witnesses as text, with what the commit rule makes of it below a line of dashes:
//
//	committee 4
//	round 1: A B C D        one witness each, on all first variants of the round before
//	round 2: A B C D<-ABC   D lists the witnesses of A, B and C only
//	round 2: B'             a second variant of B: an equivocation; others list it as B'
//	tip x                   a message with entries, on the root
//	round 3: A+x            A's witness sweeps the tip x
//	----
//	1 commit B1: ...
//
// In drawings the leader of round r is validator r mod n, so B leads round 1 of four.
type drawing struct {
	t      *testing.T
	n      int
	graph  *tangle.Graph
	engine *Engine
	byName map[string]*tangle.Vertex
	names  map[tangle.ID]string
	added  []*tangle.Vertex // in the order of the text
	seqs   []tangle.Seq
	out    strings.Builder
}

var errRewrite = flag.Bool("rewrite", false, "write what the drawings decide into their files")

func TestDrawings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no drawings: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(b), "----\n")
			d := draw(t, text)
			got := d.decisions()
			if *errRewrite {
				if err := os.WriteFile(file, []byte(text+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
			for seed := range uint64(20) {
				if again := d.shuffled(seed); !strings.HasPrefix(got, again) && !strings.HasPrefix(again, got) {
					t.Errorf("other order of arrival (seed %d):\n%swant:\n%s", seed, again, got)
				}
			}
		})
	}
}

func draw(t *testing.T, text string) *drawing {
	d := &drawing{t: t}
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "committee":
			var n int
			fmt.Sscan(words[1], &n)
			d.reset(n)
		case words[0] == "tip":
			d.tip(words[1])
		case words[0] == "round":
			var r int
			fmt.Sscan(strings.TrimSuffix(words[1], ":"), &r)
			for _, w := range words[2:] {
				d.witness(tangle.Round(r), w)
			}
		default:
			t.Fatalf("drawing: cannot read %q", line)
		}
	}
	return d
}

const drawingStart tangle.Time = 1_000_000

func (d *drawing) reset(n int) {
	c := Config{Network: tangle.ID{1}, Self: -1, GCRounds: 60, Horizon: time.Minute}
	for i := range n {
		c.Committee = append(c.Committee, tangle.Member{byte('A' + i)})
	}
	d.n, d.byName, d.names, d.seqs = n, map[string]*tangle.Vertex{}, map[tangle.ID]string{}, make([]tangle.Seq, n)
	d.engine = newDrawn(c)
	d.graph = tangle.NewGraph(tangle.GraphConfig{
		Root: c.Network, RootTime: drawingStart, Check: d.engine.CheckAncestors,
		Settled: func(tangle.ID) (tangle.Facts, bool) { return tangle.Facts{}, false },
	})
}

func newDrawn(c Config) *Engine {
	e := New(c, State{Time: drawingStart})
	for i := range e.leaders {
		e.leaders[i] = i
	}
	return e
}

func (d *drawing) tip(name string) {
	entry := tangle.NewEntry(tangle.KindData, tangle.Salt{}, []byte(name))
	d.add(name, tangle.Header{Author: tangle.Member{'A'}, Parents: []tangle.ID{{1}}, Time: drawingStart}, []tangle.Entry{entry})
}

// witness reads NAME[<-ANCESTORS][+tip...].
func (d *drawing) witness(r tangle.Round, spec string) {
	spec, tips, _ := strings.Cut(spec, "+")
	name, list, explicit := strings.Cut(spec, "<-")
	if !explicit {
		for i := range d.n {
			if d.byName[fmt.Sprintf("%c%d", 'A'+i, r-1)] != nil {
				list += string(rune('A' + i))
			}
		}
	}
	var ancestors, parents []tangle.ID
	for _, a := range splitNames(list) {
		v := d.byName[at(a, r-1)]
		if v == nil {
			d.t.Fatalf("drawing: %s has no ancestor %s", spec, at(a, r-1))
		}
		ancestors = append(ancestors, v.ID)
	}
	parents = append(parents, ancestors...)
	for _, tip := range strings.Fields(strings.ReplaceAll(tips, "+", " ")) {
		parents = append(parents, d.byName[tip].ID)
	}
	if len(parents) == 0 {
		parents = []tangle.ID{{1}}
	}
	slices.SortFunc(parents, func(a, b tangle.ID) int { return slices.Compare(a[:], b[:]) })
	w := &tangle.Witness{Round: r}
	for i, p := range parents {
		if slices.Contains(ancestors, p) {
			w.Ancestors = append(w.Ancestors, uint16(i))
		}
	}
	d.add(at(name, r), tangle.Header{
		Author: tangle.Member{name[0]}, Parents: parents, Witness: w, Time: drawingStart + tangle.Time(10*uint32(r)),
	}, nil)
}

// at names a variant of a round: A, 3 is A3; A', 3 is A3'.
func at(name string, r tangle.Round) string {
	return fmt.Sprintf("%c%d%s", name[0], r, name[1:])
}

func splitNames(list string) (names []string) {
	for _, c := range list {
		if c == '\'' {
			names[len(names)-1] += "'"
		} else {
			names = append(names, string(c))
		}
	}
	return names
}

func (d *drawing) add(name string, h tangle.Header, entries []tangle.Entry) {
	d.t.Helper()
	i := h.Author[0] - 'A'
	d.seqs[i]++
	h.Seq = d.seqs[i]
	codec := tangle.Codec{Network: tangle.ID{1}, Limits: tangle.DefaultLimits()}
	m, err := codec.Seal(h, entries, func(input []byte) (s tangle.Signature) {
		sum := sha256.Sum256(input)
		copy(s[:], sum[:])
		return s
	})
	if err != nil {
		d.t.Fatalf("drawing: %s: %v", name, err)
	}
	added := d.graph.Add(m)
	if len(added.Attached) != 1 {
		d.t.Fatalf("drawing: %s does not attach: %v", name, added.Invalid)
	}
	v := added.Attached[0]
	d.byName[name], d.names[v.ID] = v, name
	d.added = append(d.added, v)
	d.engine.Add(v)
}

// decisions renders all commits and the skipped slots between them.
func (d *drawing) decisions() string {
	d.out.Reset()
	next := tangle.Round(1)
	for {
		c, err := d.engine.Next()
		if err != nil {
			fmt.Fprintf(&d.out, "%v\n", firstWords(err))
			return d.out.String()
		}
		if c == nil {
			break
		}
		for ; next < c.Round; next++ {
			fmt.Fprintf(&d.out, "%d skip\n", next)
		}
		next = c.Round + 1
		fmt.Fprintf(&d.out, "%d commit %s at +%d:", c.Round, d.names[c.Leader.ID], c.Time-drawingStart)
		for _, v := range c.Messages {
			fmt.Fprintf(&d.out, " %s", d.names[v.ID])
			d.graph.Settle(v)
		}
		d.out.WriteString("\n")
	}
	for ; next <= d.engine.Decided(); next++ {
		fmt.Fprintf(&d.out, "%d skip\n", next)
	}
	return d.out.String()
}

func firstWords(err error) string {
	s, _, _ := strings.Cut(err.Error(), ":")
	return s
}

// shuffled feeds the same messages to a new engine in another order that keeps parents first, deciding after each.
func (d *drawing) shuffled(seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 1))
	o := &drawing{t: d.t, names: d.names}
	o.reset(d.n)
	o.names = d.names
	waiting := slices.Clone(d.added)
	random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	text := ""
	for _, v := range waiting {
		for _, a := range o.graph.Add(v.Message).Attached {
			o.engine.Add(a)
		}
		text += o.decisions2()
	}
	return text
}

// decisions2 is decisions without the trailing skips, which later rounds may still follow.
func (d *drawing) decisions2() string {
	var lines []string
	next := d.engine.State().Round + 1
	for {
		c, err := d.engine.Next()
		if err != nil {
			return firstWords(err) + "\n"
		}
		if c == nil {
			break
		}
		for ; next < c.Round; next++ {
			lines = append(lines, fmt.Sprintf("%d skip\n", next))
		}
		next = c.Round + 1
		line := fmt.Sprintf("%d commit %s at +%d:", c.Round, d.names[c.Leader.ID], c.Time-drawingStart)
		for _, v := range c.Messages {
			line += " " + d.names[v.ID]
			d.graph.Settle(v)
		}
		lines = append(lines, line+"\n")
	}
	return strings.Join(lines, "")
}
