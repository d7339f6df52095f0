package node

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

func opens(p plugins.Plugin) func(plugins.Host) (plugins.Plugin, error) {
	return func(plugins.Host) (plugins.Plugin, error) { return p, nil }
}

func ledgerPluginOf(kinds ...tangle.Kind) plugins.Plugin {
	return plugins.Plugin{Kinds: kinds, Apply: func(plugins.State, plugins.Ordered) error { return nil }}
}

func TestPluginsThatStopTheStart(t *testing.T) {
	refuses := func(plugins.Host) (plugins.Plugin, error) { return plugins.Plugin{}, errors.New("no disk") }
	for _, c := range []struct {
		name    string
		genesis []string
		makers  []plugins.Maker
		want    string
	}{
		{"missing", []string{"a"}, nil, "does not have"},
		{"twice", nil, []plugins.Maker{{Name: "m", Open: opens(plugins.Plugin{})}, {Name: "m", Open: opens(plugins.Plugin{})}}, "twice"},
		{"local in genesis", []string{"m"}, []plugins.Maker{{Name: "m", Open: opens(plugins.Plugin{})}}, "owns no entry kinds"},
		{"name of the core", []string{"data"}, []plugins.Maker{{Name: "data", Open: opens(ledgerPluginOf(1024))}}, "core's own"},
		{"does not open", nil, []plugins.Maker{{Name: "m", Open: refuses}}, "no disk"},
		{"kind of the core", []string{"a"}, []plugins.Maker{{Name: "a", Open: opens(ledgerPluginOf(tangle.KindData))}}, "both own kind 1"},
		{
			"two owners", []string{"a", "b"},
			[]plugins.Maker{{Name: "a", Open: opens(ledgerPluginOf(1024))}, {Name: "b", Open: opens(ledgerPluginOf(1025, 1024))}},
			"both own kind 1024",
		},
	} {
		g, key := oneMember()
		for _, name := range c.genesis {
			g.Plugins = append(g.Plugins, genesis.Plugin{Name: name})
		}
		_, err := Open(Config{
			Genesis: g, Key: key, Store: store.NewMemory(), Tuning: DefaultTuning(), Makers: c.makers,
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestLedgerPluginsFollowGenesis(t *testing.T) {
	g, _ := oneMember()
	g.Plugins = []genesis.Plugin{{Name: "b", Config: []byte(`{"limit":5}`)}, {Name: "a"}}
	var sections []string
	host := func(name string) plugins.Host { sections = append(sections, name); return plugins.Host{} }
	all, ledger, err := openPlugins([]plugins.Maker{
		{Name: "a", Open: opens(ledgerPluginOf(1024))}, {Name: "unnamed", Open: opens(ledgerPluginOf(1026))}, {Name: "local", Open: opens(plugins.Plugin{})}, {Name: "b", Open: opens(ledgerPluginOf(1025))},
	}, g, host)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || len(ledger) != 2 || ledger[0].Name != "b" || ledger[1].Name != "a" || len(sections) != 4 {
		t.Errorf("all %v, ledger %v: want the order of genesis", all, ledger)
	}
}

func TestSkewIsTheMedian(t *testing.T) {
	s := newSkews()
	if s.median() != 0 {
		t.Error("nobody heard: want 0")
	}
	w := newNetwork(t, 4)
	now := testStart.Add(time.Minute)
	note := func(author, from int, round tangle.Round, behind time.Duration) {
		f := &PeerFrame{From: core2member(w, from)}
		h := tangle.Header{Author: core2member(w, author), Time: now.Add(-behind), Witness: &tangle.Witness{Round: round}}
		f.Frame = frameWith(&tangle.Message{Header: h})
		s.note(f, now)
	}
	note(1, 1, 5, 10*time.Millisecond)
	note(2, 2, 5, 20*time.Millisecond)
	note(3, 3, 5, time.Hour) // a liar, or a wrong clock
	note(1, 1, 4, time.Hour) // an old one
	note(2, 1, 6, time.Hour) // passed on by another
	if got := s.median(); got != 20*time.Millisecond {
		t.Errorf("median %s, want 20ms", got)
	}
}
