package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft/internal/store"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/streams"
)

// reindexed: a node that has lost its state and its indexes, and has them made anew, answers as before.
func (x *channelTour) reindexed() {
	t := x.t
	const i = 2
	ask := func() (answers []string) {
		for _, args := range [][]string{
			{"read", "incidents", "--tag", "net"}, {"read", "incidents", "--type", "capture"}, {"read", "diary"}, {"show", "incidents"}, {"list"},
		} {
			out, _ := x.as(i, 0, "soc", "", append(args, "--json")...)
			answers = append(answers, out)
		}
		return answers
	}
	before := ask()
	dir := string(x.n.Nodes[i].Dir)
	_, errOut := reindexNode(t, 1, dir)
	wantText(t, errOut, "stop it first")
	if err := x.n.StopNode(i); err != nil {
		t.Fatal(err)
	}
	out, _ := reindexNode(t, 0, dir, "--check")
	wantText(t, out, "nothing differs", "entries rejected: as before")
	x.breakAndMend(dir)
	if err := x.n.StartNode(i); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := x.n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	for k, after := range ask() {
		if after != before[k] {
			t.Errorf("answer %d: got\n%s\nwant\n%s", k, after, before[k])
		}
	}
	x.as(i, 0, "owner", "", "create", "after the reindex")
}

// breakAndMend damages the store of a stopped node in all ways that reindex tells apart.
func (x *channelTour) breakAndMend(dir string) {
	t := x.t
	message, bytesOf := changeStore(t, dir, func(s store.Store, b *store.Batch) (key, value []byte) {
		keysBelow(t, s, store.PrefixIndex, func(k, _ []byte) { b.Delete(k) })
		keysBelow(t, s, store.PrefixState, func(k, v []byte) { b.Set(k, append(v, 0)) })
		keysBelow(t, s, store.PrefixPosition, func(_, id []byte) { key = store.Key(store.PrefixMessage, id) })
		value, err := s.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		return key, value
	})
	_, errOut := reindexNode(t, 1, dir, "--check")
	wantText(t, errOut, "keys differ, the first of state", "writes them anew")
	set := func(k, v []byte) {
		changeStore(t, dir, func(_ store.Store, b *store.Batch) (_, _ []byte) { b.Set(k, v); return nil, nil })
	}
	damaged := bytes.Clone(bytesOf)
	damaged[len(damaged)-1] ^= 1
	set(message, damaged)
	out, _ := reindexNode(t, 1, dir, "--json")
	var report reindexReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Good || report.Changed || report.Difference == nil || report.Difference.Code != "damaged_message" {
		t.Errorf("with a damaged message: %v, %s", err, out)
	}
	set(message, bytesOf)

	set(store.Key(store.PrefixNode, []byte("reindex")), nil) // as one that was interrupted leaves it
	_, errOut = runNode(t, 1, dir)
	wantText(t, errOut, "interrupted while it wrote: run it again")
	var o, e bytes.Buffer
	if code := run([]string{"doctor", "--dir", dir}, nil, &o, &e, nil); code != 1 {
		t.Errorf("doctor: exit code %d", code)
	}
	wantText(t, o.String(), "run it again", "weft reindex --dir")
	reindexNode(t, 1, dir, "--check", "--json")
	out, _ = reindexNode(t, 0, dir, "--temp", t.TempDir())
	wantText(t, out, "written anew")
	out, _ = reindexNode(t, 0, dir, "--json")
	wantText(t, out, `"good":true,"changed":false`)
}

// reindexNode runs reindex on a data folder.
func reindexNode(t *testing.T, want int, dir string, args ...string) (out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	makers := []plugins.Maker{identity.Maker(), streams.Maker()}
	if got := run(append([]string{"reindex", "--dir", dir}, args...), nil, &o, &e, makers); got != want {
		t.Fatalf("weft reindex %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, want, o.String(), e.String())
	}
	return o.String(), e.String()
}

// runNode runs a node that is to end by itself.
func runNode(t *testing.T, want int, dir string) (out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "weft", "run", "--dir", dir)
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != want {
		t.Fatalf("weft run: %v, want exit code %d\n%s", err, want, e.String())
	}
	return o.String(), e.String()
}

// changeStore opens the store of a stopped node and changes it.
func changeStore(t *testing.T, dir string, change func(store.Store, *store.Batch) (key, value []byte)) (key, value []byte) {
	t.Helper()
	s, err := store.OpenBadger(store.BadgerConfig{Dir: dir + "/store"})
	if err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	key, value = change(s, &b)
	if err := s.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return key, value
}

// keysBelow visits copies of what is below a prefix.
func keysBelow(t *testing.T, s store.Store, p store.Prefix, visit func(key, value []byte)) {
	t.Helper()
	from := store.Key(p)
	if err := s.Scan(from, store.PrefixEnd(from), func(k, v []byte) bool {
		visit(bytes.Clone(k), bytes.Clone(v))
		return true
	}); err != nil {
		t.Fatal(err)
	}
}
