package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"weft/config/genesis"
	"weft/plugins"
	"weft/receipt"
	"weft/tangle"
)

// nodeView is what the node says of itself.
type nodeView struct {
	Version         string          `json:"version"`
	Network         string          `json:"network"`
	NetworkID       tangle.ID       `json:"networkId"`
	Member          tangle.Member   `json:"member"`
	Name            string          `json:"name"`
	Roles           []string        `json:"roles"`
	Plugins         []string        `json:"plugins"`
	Managed         bool            `json:"managed"`
	Epoch           tangle.Epoch    `json:"epoch"`
	Round           tangle.Round    `json:"round"`
	Commit          uint64          `json:"commit"`
	Position        tangle.Position `json:"position"`
	Final           tangle.Position `json:"final"`
	FinalTime       *string         `json:"finalTime"` // null before anything is final
	FinalAgeSeconds *float64        `json:"finalAgeSeconds"`
	Peers           int             `json:"peers"`
	Pending         int             `json:"pending"`
	Quorum          bool            `json:"quorum"`
}

// nodeInfo is GET /node.
func (c *apiCall) nodeInfo() error {
	head, vitals := c.Node.Head(), c.Node.Vitals()
	me := c.memberOf(c.Self)
	v := nodeView{
		Version: c.Config.Version, Network: c.Genesis.Network, NetworkID: c.Genesis.ID(), Member: c.Self, Name: me.Name,
		Roles: append([]string{}, me.Roles...), Plugins: []string{}, Epoch: head.Epoch, Round: head.Round, Commit: head.Commit,
		Position: head.Position, Final: head.Final, FinalTime: timeOrNull(head.FinalTime), Pending: vitals.Pending, Quorum: vitals.Quorum,
	}
	if head.FinalTime > 0 {
		seconds := age(head.FinalTime)
		v.FinalAgeSeconds = &seconds
	}
	for _, p := range c.Plugins {
		v.Plugins = append(v.Plugins, p.Name)
		v.Managed = v.Managed || p.Plugin.Managed
	}
	for _, p := range c.Node.Peers() {
		if p.Connected {
			v.Peers++
		}
	}
	return c.json(http.StatusOK, v)
}

// age is in seconds; what has no time yet has no age either.
func age(t tangle.Time) float64 {
	if t == 0 {
		return 0
	}
	return max(0, time.Since(t.Std()).Seconds())
}

// timeOrNull is a time as text; null if it has not come yet.
func timeOrNull(t tangle.Time) *string {
	if t == 0 {
		return nil
	}
	text := t.String()
	return &text
}

// memberOf is what genesis says of a key; just the key if it is no member's.
func (a *api) memberOf(key tangle.Member) genesis.Member {
	for _, m := range a.Genesis.Members {
		if m.Key == key {
			return m
		}
	}
	return genesis.Member{Key: key}
}

// genesisFile is GET /genesis: the very bytes whose SHA-256 is the network's ID.
func (c *apiCall) genesisFile() error {
	return c.bytes(http.StatusOK, jsonType, c.Genesis.Bytes())
}

// memberView is a member in JSON.
type memberView struct {
	ID    tangle.Member `json:"id"`
	Name  string        `json:"name"`
	Roles []string      `json:"roles"`
	Self  bool          `json:"self"`
}

func (c *apiCall) viewMember(m genesis.Member) memberView {
	return memberView{m.Key, m.Name, append([]string{}, m.Roles...), m.Key == c.Self}
}

// members is GET /members.
func (c *apiCall) members() error {
	views := []memberView{}
	for _, m := range c.Genesis.Members {
		views = append(views, c.viewMember(m))
	}
	return c.json(http.StatusOK, c.whole(views))
}

// member is GET /members/{id}.
func (c *apiCall) member() error {
	key, err := tangle.ParseMember(c.Param("id"))
	if err != nil {
		return refuse("bad_parameter", "member: %s", err)
	}
	for _, m := range c.Genesis.Members {
		if m.Key == key {
			return c.json(http.StatusOK, c.viewMember(m))
		}
	}
	return refuse("not_found", "no such member")
}

// parameters is GET /governance/parameters: the values in force, which are those of genesis.
func (c *apiCall) parameters() error {
	committee := len(c.Genesis.Committee())
	return c.json(http.StatusOK, map[string]any{
		"limits": c.Genesis.Limits, "consensus": c.Genesis.Consensus,
		"committee": committee, "faulty": (committee - 1) / 3, "quorum": genesis.Quorum(committee), "since": "genesis",
	})
}

// peerView is a peer in JSON.
type peerView struct {
	Member          tangle.Member `json:"member"`
	Name            string        `json:"name"`
	Roles           []string      `json:"roles"`
	Connected       bool          `json:"connected"`
	Since           string        `json:"since,omitempty"`
	Address         string        `json:"address,omitempty"`
	Transport       string        `json:"transport,omitempty"`
	Direction       string        `json:"direction,omitempty"`
	RoundTripMillis float64       `json:"roundTripMillis"`
	SentBytes       uint64        `json:"sentBytes"`
	ReceivedBytes   uint64        `json:"receivedBytes"`
	DroppedFrames   uint64        `json:"droppedFrames"`
	QueuedFrames    int           `json:"queuedFrames"`
	DialFailures    uint64        `json:"dialFailures"`
	LastError       string        `json:"lastError,omitempty"`
	RefusedUntil    string        `json:"refusedUntil,omitempty"`
}

// peers is GET /peers.
func (c *apiCall) peers() error {
	views := []peerView{}
	for _, p := range c.Node.Peers() {
		m := c.memberOf(p.Member)
		v := peerView{
			Member: p.Member, Name: m.Name, Roles: append([]string{}, m.Roles...), Connected: p.Connected, Address: p.Address,
			Transport: p.Transport, Direction: p.Direction, RoundTripMillis: float64(p.RTT.Microseconds()) / 1000,
			DialFailures: p.DialFailures, LastError: p.LastError,
		}
		for _, lane := range p.Lanes {
			v.SentBytes += lane.BytesOut
			v.ReceivedBytes += lane.BytesIn
			v.DroppedFrames += lane.Dropped
			v.QueuedFrames += lane.Queued
		}
		if p.Connected {
			v.Since = timeText(p.Since)
		}
		if !p.RefusedUntil.IsZero() {
			v.RefusedUntil = timeText(p.RefusedUntil)
		}
		views = append(views, v)
	}
	return c.json(http.StatusOK, c.whole(views))
}

// healthView is a report of named checks.
type healthView struct {
	Status string          `json:"status"`
	Checks []receipt.Check `json:"checks"`
}

// The bounds of a healthy node.
const (
	MaxStepAge  = 10 * time.Second // since the core stepped
	MaxFinalAge = 30 * time.Second // of the newest checkpoint while entries wait
	MaxSkew     = 500 * time.Millisecond
)

// health is GET /health: alive or not.
func (c *apiCall) health() error {
	v := c.Node.Vitals()
	return c.report("alive", []receipt.Check{
		checked("core", v.StepAge <= MaxStepAge, "the core has not stepped for "+v.StepAge.Round(time.Second).String()),
	})
}

// ready is GET /ready: fit to serve or not, and why.
func (c *apiCall) ready() error {
	v, head := c.Node.Vitals(), c.Node.Head()
	return c.report("ready", []receipt.Check{
		checked("core", v.StepAge <= MaxStepAge, "the core has not stepped for "+v.StepAge.Round(time.Second).String()),
		checked("synced", v.Synced, "this node is still catching up"),
		checked("quorum", v.Quorum, "too few validators are connected to make anything final"),
		c.checkFinality(head, v.Idle),
		checked("disk", !v.DiskLow, "the disk is nearly full"),
		checked("clock", v.Skew.Abs() <= MaxSkew, "this clock is off by "+v.Skew.String()),
	})
}

// checkFinality is about the newest checkpoint while entries wait; before the first one, about how long this node runs.
func (c *apiCall) checkFinality(head Head, idle bool) receipt.Check {
	what, old := "the newest certified checkpoint is %.0f s old", age(head.FinalTime)
	if head.FinalTime == 0 {
		what, old = "entries wait, and nothing is final yet after %.0f s", time.Since(c.opened).Seconds()
	}
	return checked("checkpoint", idle || old <= MaxFinalAge.Seconds(), fmt.Sprintf(what, old))
}

func checked(name string, ok bool, otherwise string) receipt.Check {
	if ok {
		return receipt.Check{Name: name, OK: true}
	}
	return receipt.Check{Name: name, Code: "not_ready", Detail: otherwise}
}

func (c *apiCall) report(good string, checks []receipt.Check) error {
	c.Response().Header()["Cache-Control"] = []string{"no-store"}
	for _, check := range checks {
		if !check.OK {
			p := refuse("not_ready", "%s: %s", check.Name, check.Detail).with("Retry-After", "1")
			p.Checks = checks
			return p
		}
	}
	return c.json(http.StatusOK, healthView{good, checks})
}

// logLevel is PUT /operator/log-level: {"level": "debug"}.
func (c *apiCall) logLevel() error {
	s := jsonScanner{text: c.body}
	var level []byte
	_, p := s.object([]string{"level"}, func(int) (p *problem) {
		level, p = s.str("debug, info, warn or error")
		return p
	})
	if p == nil {
		p = s.end()
	}
	if p != nil {
		return p
	}
	switch string(level) {
	case "debug", "info", "warn", "error":
	default:
		return refuse("bad_value", "level: want debug, info, warn or error")
	}
	if c.Config.Level == nil {
		return refuse("wrong_state", "the log's level of this node is fixed")
	}
	if err := c.Config.Level.UnmarshalText(level); err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]string{"level": string(level)})
}

// purgeView says which erased bodies may still be in the store's files.
type purgeView struct {
	Erased  uint64  `json:"erased"` // bodies since this data folder began
	Purged  uint64  `json:"purged"` // of them, those that no file of the store holds any more
	At      *string `json:"at"`     // null: the files have never been written anew
	Running bool    `json:"running"`
	Error   string  `json:"error,omitempty"` // of the last try
}

// purgeState is GET /operator/purge.
func (c *apiCall) purgeState() error { return c.showPurge(http.StatusOK) }

// purge is POST /operator/purge: the store's files are written anew, which may take as long as copying them.
func (c *apiCall) purge() error {
	if err := c.Node.AskPurge(); err != nil {
		return refuse("wrong_state", "the store of this node has no files")
	}
	return c.showPurge(http.StatusAccepted)
}

func (c *apiCall) showPurge(status int) error {
	s, err := c.Node.PurgeState()
	if err != nil {
		return err
	}
	v := purgeView{Erased: s.Erased, Purged: s.Purged, Running: s.Running}
	if !s.At.IsZero() {
		at := tangle.TimeOf(s.At).String()
		v.At = &at
	}
	if s.Failed != nil {
		v.Error = s.Failed.Error()
	}
	return c.json(status, v)
}

// factView is a figure about the node.
type factView struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Label string  `json:"label,omitempty"`
}

func viewFacts(facts []plugins.Fact) []factView {
	views := []factView{}
	for _, f := range facts {
		if _, err := json.Marshal(f.Value); err == nil { // not NaN
			views = append(views, factView{f.Name, f.Value, f.Label})
		}
	}
	return views
}
