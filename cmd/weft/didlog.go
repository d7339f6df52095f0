package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"weft/client"
	"weft/config/genesis"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/receipt"
	"weft/tangle"
)

// MaxLogFile bounds a file of log lines, and MaxControllerLogs how many logs are read to judge one.
const (
	MaxLogFile        = 64 << 20
	MaxControllerLogs = 64
)

// didLog is the log of a DID, judged again on this machine: every operation by the rules of the method. The node's word
// is taken for what came when, unless receipts are checked.
type didLog struct {
	network  tangle.ID
	id       did.DID
	lines    []client.LogLine
	accepted []*did.Operation
	head     did.Head
}

// current is the operation that the DID's present parameters and document come from.
func (l *didLog) current() *did.Operation {
	for _, op := range slices.Backward(l.accepted) {
		if op.Op != did.OpDeactivate {
			return op
		}
	}
	return nil
}

// readLog reads lines that 'weft did log --json' wrote.
func (s *shell) readLog(path string) ([]client.LogLine, error) {
	raw, err := s.readInput(path, MaxLogFile)
	if err != nil {
		return nil, err
	}
	var lines []client.LogLine
	for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
		var line client.LogLine
		if err := d.Decode(&line); err != nil {
			return nil, fmt.Errorf("%s is not what 'weft did log --json' writes: %w", path, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// fetchLog reads the log of a DID off the node, and those of its controllers.
func (s *shell) fetchLog(ctx context.Context, id string, receipts bool) ([]client.LogLine, error) {
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return nil, err
	}
	var all []client.LogLine
	asked := map[string]bool{}
	for todo := []string{id}; len(todo) > 0; todo = todo[1:] {
		if asked[todo[0]] {
			continue
		}
		if len(asked) == MaxControllerLogs {
			return nil, fmt.Errorf("more than %d DIDs stand behind %s", MaxControllerLogs, id)
		}
		asked[todo[0]] = true
		lines, err := node.IdentityLog(ctx, todo[0], receipts)
		if err != nil {
			return nil, remote(node, err)
		}
		for _, line := range lines {
			todo = append(todo, controllersIn(line.Operation)...)
		}
		all = append(all, lines...)
	}
	return all, nil
}

func controllersIn(operation json.RawMessage) []string {
	var o struct {
		Params struct{ Controllers []string }
	}
	_ = json.Unmarshal(operation, &o) // whether it is an operation is for replay
	return o.Params.Controllers
}

// replay judges the operations in the order of their places. Lines that the rules refuse count as what they are: not in
// the log; that the node said otherwise of one is an error.
func replay(network tangle.ID, limits did.Limits, id string, lines []client.LogLine) (*didLog, error) {
	self, err := did.Parse(id)
	if err != nil {
		return nil, err
	}
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(a, b client.LogLine) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.Index, b.Index))
	})
	log := &didLog{network: network, id: self}
	state := &memoryState{values: map[string][]byte{}}
	for _, line := range lines {
		op, err := decodeLine(network, limits, line)
		if err == nil {
			err = state.apply(limits, op, line)
		}
		if said := line.VersionID != ""; said != (err == nil) {
			return nil, fmt.Errorf("the log breaks the rules of the method at %s: the node says accepted: %t, the rules say: %w", line.OpHash, said, orAccepted(err))
		}
		if err != nil || op.DID != self {
			continue
		}
		log.lines, log.accepted = append(log.lines, line), append(log.accepted, op)
	}
	if log.head, _, err = did.ReadHead(state, self); err == nil && len(log.accepted) == 0 {
		err = fmt.Errorf("the log has no operation of %s", id)
	}
	return log, err
}

func orAccepted(err error) error {
	if err == nil {
		return errors.New("accepted")
	}
	return err
}

// decodeLine takes an operation out of its line, where it may have lost its canonical form, and checks its signatures.
func decodeLine(network tangle.ID, limits did.Limits, line client.LogLine) (*did.Operation, error) {
	object, err := did.DecodeObject(line.Operation, did.JSONLimits{MaxBytes: MaxOperationFile})
	if err != nil {
		return nil, err
	}
	entry, err := did.Canonical(object)
	if err != nil {
		return nil, err
	}
	return did.Decode(network, limits, entry)
}

// memoryState is the state of the plugin for the DIDs of one log.
type memoryState struct{ values map[string][]byte }

func (m *memoryState) apply(limits did.Limits, op *did.Operation, line client.LogLine) error {
	limits.MaxCreatesPerMinute = 1 << 30 // a quota of the carrying member, who also carried what is not in this log
	at := did.Place{Time: tangle.TimeOf(line.Time), Position: line.Position, Index: line.Index}
	writes, err := did.Next(m, limits, op, at)
	if err != nil {
		return err
	}
	for _, w := range writes {
		if w.Value == nil {
			delete(m.values, string(w.Key))
		} else {
			m.values[string(w.Key)] = w.Value
		}
	}
	return nil
}

// Get and Scan make it a plugins.View.
func (m *memoryState) Get(key []byte) []byte { return m.values[string(key)] }

// Scan visits keys in order.
func (m *memoryState) Scan(from, to []byte, visit func(key, value []byte) bool) {
	for _, key := range sortedKeys(m.values) {
		if key < string(from) || to != nil && key >= string(to) {
			continue
		}
		if !visit([]byte(key), m.values[key]) {
			return
		}
	}
}

var _ plugins.View = (*memoryState)(nil)

// limitsOf are those of the network's genesis; without one the usual ones, raised: they only have to let through what the
// network let through.
func limitsOf(g *genesis.Genesis) did.Limits {
	limits := did.DefaultLimits()
	if g == nil {
		for _, n := range []*int{&limits.MaxOperation, &limits.MaxDocument, &limits.MaxMethods, &limits.MaxServices, &limits.MaxEndpoint, &limits.MaxProofs,
			&limits.MaxUpdateKeys, &limits.MaxNextKeys, &limits.MaxRecoveryKeys, &limits.MaxControllers, &limits.MaxUpdatesPerDay} {
			*n *= 4
		}
		return limits
	}
	for _, p := range g.Plugins {
		var section struct {
			Limits did.Limits `json:"limits"`
		}
		section.Limits = limits
		if p.Name == "identity" && json.Unmarshal(p.Config, &section) == nil {
			limits = section.Limits
		}
	}
	return limits
}

// checkReceipts proves each accepted operation of the log by its receipt: that it stands at the place the log says, with
// the outcome the log says. It returns the time of the newest checkpoint.
func (l *didLog) checkReceipts(g *genesis.Genesis) (newest string, err error) {
	for i, line := range l.lines {
		raw, err := base64.RawURLEncoding.DecodeString(line.Receipt)
		if err != nil || len(raw) == 0 {
			return "", fmt.Errorf("version %d has no receipt", i+1)
		}
		report, err := receipt.Verify(g, raw)
		if err != nil {
			return "", fmt.Errorf("version %d: %w", i+1, err)
		}
		f := report.Facts
		if !report.Verified || f == nil {
			return "", fmt.Errorf("version %d: the receipt is refused: %s", i+1, refusals(report))
		}
		if !f.Accepted || f.Position != line.Position || f.Index != line.Index || !bytes.Equal(f.Data, l.accepted[i].Raw) {
			return "", fmt.Errorf("version %d: the receipt is of another entry or place", i+1)
		}
		newest = max(newest, f.CheckpointTime)
	}
	return newest, nil
}

func refusals(r receipt.Report) string {
	for _, c := range r.Checks {
		if !c.OK {
			return c.Name + " (" + c.Code + ")"
		}
	}
	return "no reason"
}
