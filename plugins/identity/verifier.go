package identity

import (
	"context"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
	"weft/tangle"
)

// verifier is what this node knows when it judges a credential: the ledger's state, and what it may fetch.
func (x *identity) verifier(ctx context.Context) vc.Config {
	v := &verifying{identity: x, ctx: ctx, now: x.now()}
	return vc.Config{
		Now: v.now, Contexts: x.contexts, Resolve: v.resolve, Status: v.status, Trust: v.trust, Challenge: v.challenge, Schema: x.schema,
		Compromised: v.compromised, Deactivated: v.deactivated, Anchored: v.anchored,
	}
}

// verifying is one verification. It is for one goroutine.
type verifying struct {
	*identity
	ctx      context.Context
	now      time.Time
	caughtUp bool
	webs     map[string]did.Object // documents of did:web, once each
}

// resolve finds a verification method. What this node has not heard of may be known to others already: it waits for that
// once.
func (v *verifying) resolve(url string, rel did.Relationship, claimed time.Time) (did.Method, error) {
	if strings.HasPrefix(url, webPrefix) {
		return v.resolveWeb(url, rel)
	}
	at := tangle.Time(0) // the newest
	if claimed.Before(v.now) {
		at = tangle.TimeOf(claimed)
	}
	m, err := did.Lookup(v.host.View(), url, rel, at)
	if r := plugins.Rejected(err); r != nil && r.Code == "unknown_did" && v.catchUp() {
		m, err = did.Lookup(v.host.View(), url, rel, at)
	}
	return m, err
}

// catchUp waits for what others know already, the first time only.
func (v *verifying) catchUp() bool {
	if v.caughtUp {
		return false
	}
	v.caughtUp = true
	v.host.CatchUp(v.ctx)
	return true
}

// compromised looks for the key among those that its DID has named as stolen.
func (v *verifying) compromised(m did.Method) (since time.Time, named bool) {
	d, err := did.Parse(didOf(m.ID))
	if err != nil {
		return since, false
	}
	c, named, err := did.FindCompromise(v.host.View(), d, m.Key.Multikey())
	return c.Time.Std(), named || err != nil
}

func didOf(url string) string {
	who, _, _ := strings.Cut(url, "#")
	return who
}

func (v *verifying) deactivated(who string) (since time.Time, gone bool) {
	d, err := did.Parse(who)
	if err != nil {
		return since, false
	}
	head, found, err := did.ReadHead(v.host.View(), d)
	return head.Time.Std(), err != nil || found && head.Deactivated
}

func (v *verifying) anchored(commitment [32]byte) (time.Time, bool) {
	t, found := status.Anchor(v.host.View(), "z"+did.Base58(append([]byte{0x12, 0x20}, commitment[:]...)))
	return t.Std(), found
}

// challenge uses up a challenge of ours. That of a caller who made it elsewhere is the caller's to count.
func (v *verifying) challenge(text string) error {
	if !v.challenges.made(text, presentPurpose) {
		return nil
	}
	return v.challenges.consume(text, presentPurpose, v.now)
}

// made says whether a challenge is ours, be it over or not.
func (c *challenger) made(text, purpose string) bool {
	_, err := c.check(text, purpose, time.Time{})
	return err == nil
}

// presentPurpose is what challenges of the VC API are for.
const presentPurpose = "present"

// trust asks a federation. Its reasons are codes of the check, but one.
func (v *verifying) trust(q vc.TrustQuestion) vc.TrustAnswer {
	now := tangle.TimeOf(v.now)
	a, err := trust.Evaluate(v.host.View(), trust.Question{
		Federation: q.Federation, Attester: q.Attester, Property: q.Property, Value: q.Value, At: min(endOfSecond(q.At), now), AsOf: tangle.TimeOf(q.AsOf), Now: now,
	})
	if err != nil {
		return vc.TrustAnswer{Detail: err.Error()}
	}
	answer := vc.TrustAnswer{Trusted: a.Trusted, Reason: string(a.Reason)}
	if a.Reason == trust.UnknownFederation {
		answer.Reason, answer.Detail = string(trust.NotAccredited), "no federation "+q.Federation+" is known"
	}
	for _, step := range a.Path {
		answer.Path = append(answer.Path, step.DID)
	}
	return answer
}

// endOfSecond is the last moment that a signer can mean who says a time in whole seconds: what was granted within that second
// counts, as it does for the version of a DID document.
func endOfSecond(t time.Time) tangle.Time {
	return tangle.TimeOf(t.Truncate(time.Second).Add(time.Second - time.Millisecond))
}

// status reads a list of the ledger from its state, without a word to anybody; others are fetched, and judged by package vc.
func (v *verifying) status(ref vc.StatusRef) (vc.StatusAnswer, error) {
	l, err := v.list(ref.List)
	if err != nil {
		return vc.StatusAnswer{}, err
	}
	if l != nil {
		return v.ledgerStatus(ref, l)
	}
	raw, err := v.fetcher.get(v.ctx, ref.List, listTypes()...)
	if err != nil {
		return vc.StatusAnswer{}, err
	}
	return vc.StatusAnswer{Credential: raw, AsOf: v.now}, nil
}

// listTypes are the media types under which others serve status lists.
func listTypes() []string {
	return []string{"application/vc", rest.TypeJSON, "application/ld+json", "application/vc+ld+json", "application/vc+jwt"}
}

// list finds the ledger's list that a URL ends with; nil if there is none.
func (v *verifying) list(url string) (*status.List, error) {
	id := listID(url)
	if id == "" {
		return nil, nil
	}
	l, err := status.ReadList(v.host.View(), id)
	if plugins.Rejected(err) != nil && v.catchUp() {
		l, err = status.ReadList(v.host.View(), id)
	}
	if plugins.Rejected(err) != nil {
		return nil, nil
	}
	return l, err
}

// listID is the id of a ledger's list that a URL may name: its last segment, if that looks like one.
func listID(url string) string {
	url, _, _ = strings.Cut(url, "?")
	id := url[strings.LastIndexByte(url, '/')+1:]
	if len(id) < 40 || len(id) > 60 || !strings.HasPrefix(id, "zQm") {
		return ""
	}
	return id
}

func (v *verifying) ledgerStatus(ref vc.StatusRef, l *status.List) (vc.StatusAnswer, error) {
	a := vc.StatusAnswer{
		Source: "ledger", List: l.ID, Issuer: l.Issuer, Purposes: []string{string(l.Purpose)}, Entries: uint64(l.Size),
		Position: uint64(l.Position), AsOf: v.host.Head().Time.Std(),
	}
	if ref.Index >= a.Entries {
		return a, nil // what that means is for the verifier to say
	}
	var err error
	a.Set, err = status.Bit(v.host.View(), l.ID, int(ref.Index))
	return a, err
}
