// Package audittrail is the story of an audit trail of security tools, told with package client/audit against a network that
// runs: a security operations centre (SOC) owns a channel, two tools may write into it and read nothing, an auditor reads
// everything until a date, a contractor reads until it is removed. Real log lines go in, and are followed live; a copy that
// was tampered with is found out; the removed contractor cannot open what comes after; the evidence is checked without any
// node.
//
// It is an example, compiled and tested with everything else, and what 'weft testnet demo' shows. Keys are made here and stay
// here, and so does every plaintext: nodes store and serve ciphertext.
package audittrail

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// Marker begins every plaintext of the story: it must not be found anywhere but with its readers.
const Marker = "audittrail-plaintext-marker"

// MaxLines is how many lines are written.
const MaxLines = 400

const (
	wait  = 20 * time.Second // for an operation, or a live feed, to arrive
	visit = 4 * time.Second  // how long the visitor may look
)

// Tour is one run of the story.
type Tour struct {
	Nodes   []*client.Client // of different members where there are several
	Lines   [][]byte         // of a real log
	Genesis []byte           // the file: the only thing that an offline check trusts
	Say     func(format string, args ...any)

	Bundle []byte // the evidence, when Run has ended

	story
}

// story is what the steps leave for the ones after them.
type story struct {
	files                          []*keyfile.File
	soc, ids, firewall             *audit.Session
	auditor, contractor, visitor   *audit.Session
	trail                          *audit.Channel // as its owner sees it
	asAuditor, asContractor, asIDS *audit.Channel
	seen                           int // records that the live feed brought
}

// Run tells the story. An error means that something was not as it should be.
func (t *Tour) Run(ctx context.Context) error {
	defer func() {
		for _, f := range t.files {
			f.Close()
		}
	}()
	steps := []func(context.Context) error{t.found, t.open, t.write, t.onlyWrite, t.validate, t.remove, t.visit, t.evidence}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// found makes the DIDs, each through another member's node.
func (t *Tour) found(ctx context.Context) (err error) {
	for i, who := range []**audit.Session{&t.soc, &t.ids, &t.firewall, &t.auditor, &t.contractor, &t.visitor} {
		if *who, err = t.newActor(ctx, t.Nodes[i%len(t.Nodes)]); err != nil {
			return err
		}
	}
	t.Say("SOC %s", t.soc.Identity.DID)
	return nil
}

// open makes the channel and gives the rights.
func (t *Tour) open(ctx context.Context) error {
	name, about := "incidents", "alerts of the security tools"
	change, id, err := t.soc.Create(ctx, audit.Creation{CreateTerms: channel.CreateTerms{
		Access: channel.Private, Profile: channel.AuditProfile, Settings: channel.Settings{Name: &name, Description: &about},
	}})
	if err != nil {
		return err
	}
	if _, err := t.soc.Submit(ctx, change.Body); err != nil {
		return err
	}
	if t.trail, err = t.soc.Open(ctx, id); err != nil {
		return err
	}
	end := tangle.TimeOf(time.Now().AddDate(0, 6, 0).Truncate(time.Second))
	err = t.authorize(ctx,
		channel.Grant{Participant: t.ids.Identity.DID, Rights: channel.Order},
		channel.Grant{Participant: t.firewall.Identity.DID, Rights: channel.Order},
		channel.Grant{Participant: t.auditor.Identity.DID, Rights: channel.Audit, ValidUntil: end},
		channel.Grant{Participant: t.contractor.Identity.DID, Rights: channel.Read},
	)
	t.Say("channel %.16s…: two tools may write and nothing else, an auditor reads until %s, a contractor reads", id, end.Std().Format(time.DateOnly))
	return err
}

func (t *Tour) authorize(ctx context.Context, grants ...channel.Grant) error {
	_, err := t.trail.Do(ctx, func() (*audit.Change, error) { return t.trail.Authorize(ctx, grants) })
	return err
}

// write sends log lines from both tools at once, while the auditor follows at another member's node.
func (t *Tour) write(ctx context.Context) (err error) {
	if t.asAuditor, err = t.auditor.Open(ctx, t.trail.ID); err != nil {
		return err
	}
	if t.asContractor, err = t.contractor.Open(ctx, t.trail.ID); err != nil {
		return err
	}
	lines := t.Lines[:min(len(t.Lines), MaxLines)]
	half := len(lines) / 2
	began := time.Now()
	followed := make(chan error, 1)
	after := t.asAuditor.Info.LastEvent
	ctx, cancel := context.WithTimeout(ctx, 2*wait)
	defer cancel()
	go func() { followed <- t.follow(ctx, after, len(lines)) }()
	written := make(chan error, 2)
	for who, part := range map[*audit.Session][][]byte{t.ids: lines[:half], t.firewall: lines[half:]} {
		go func() { written <- t.pipe(ctx, who, part) }()
	}
	if err := errors.Join(<-written, <-written); err != nil {
		return err
	}
	took := time.Since(began)
	if err := <-followed; err != nil {
		return fmt.Errorf("live feed: %w", err)
	}
	t.Say("%d log lines from both tools are final after %.1f s; the auditor read each of them live, at another member's node", len(lines), took.Seconds())
	return nil
}

// pipe writes lines as one tool does: sealed to the epoch, signed, in batches.
func (t *Tour) pipe(ctx context.Context, who *audit.Session, lines [][]byte) error {
	c, err := who.Open(ctx, t.trail.ID)
	if err != nil {
		return err
	}
	var entries [][]byte
	for _, line := range lines {
		entry, err := c.Seal(audit.Record{Terms: channel.RecordTerms{RecordType: "log.line"}, Body: true, Payload: marked(line)})
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	results, err := who.SendAll(ctx, c.ID, entries, wait)
	if err != nil {
		return err
	}
	for _, r := range results {
		if err := r.Err(); err != nil {
			return err
		}
	}
	return nil
}

func marked(line []byte) []byte { return fmt.Appendf(nil, "%s %s", Marker, line) }

var errEnough = errors.New("enough")

// follow reads records live until all are there.
func (t *Tour) follow(ctx context.Context, after uint64, count int) error {
	err := t.asAuditor.Follow(ctx, &after, func(h client.ChannelHappening) error {
		if h.Event.Op != channel.Write {
			return nil
		}
		e := t.asAuditor.OpenRecord(ctx, h.Event)
		if e.Content == nil || !bytes.HasPrefix(e.Content.Payload, []byte(Marker)) {
			return fmt.Errorf("record %d does not open: %s", e.Seq, e.Code)
		}
		if t.seen++; t.seen == count {
			return errEnough
		}
		return nil
	}, nil)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// onlyWrite has a tool try what it may not.
func (t *Tour) onlyWrite(ctx context.Context) (err error) {
	if t.asIDS, err = t.ids.Open(ctx, t.trail.ID); err != nil {
		return err
	}
	other, err := t.recordOf(ctx, t.firewall.Identity.DID)
	if err != nil {
		return err
	}
	_, err = t.asIDS.Record(ctx, other.Seq)
	refused := client.ProblemCode(err)
	if refused == "" {
		return errors.New("a tool that may only write has read what another one wrote")
	}
	// The node's refusal is courtesy; the lock is that nobody sealed a key to the tool. Whatever way it gets at the ciphertext:
	if e := t.asIDS.OpenRecord(ctx, other.ChannelRecord); e.Content != nil || e.Code != "no_key" {
		return fmt.Errorf("a tool that may only write opens a record: %s", e.Code)
	}
	t.Say("a tool that asks for what the other one wrote is refused (%s), and could not open it", refused)
	_, err = t.asContractor.Write(ctx, audit.Record{Terms: channel.RecordTerms{RecordType: "log.line"}, Body: true, Payload: marked(nil)}, wait)
	if refused = client.ProblemCode(err); refused == "" {
		return errors.New("a reader has written")
	}
	t.Say("a reader that writes is refused by every node (%s)", refused)
	return nil
}

// recordOf is the first record of an author, as the SOC reads it.
func (t *Tour) recordOf(ctx context.Context, author string) (found audit.Entry, err error) {
	err = t.trail.Records(ctx, client.RecordFilter{}, client.Page{Order: "asc"}, func(e audit.Entry) error {
		if e.Actor != author {
			return nil
		}
		found = e
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		return found, errors.Join(fmt.Errorf("no record of %s", author), err)
	}
	return found, nil
}

// validate compares a reader's copy with the ledger, before and after somebody has tampered with it.
func (t *Tour) validate(ctx context.Context) error {
	var claims []client.Claim
	const tampered = 2 // seq
	err := t.asAuditor.Records(ctx, client.RecordFilter{}, client.Page{Order: "asc"}, func(e audit.Entry) error {
		if e.Content == nil {
			return fmt.Errorf("record %d does not open: %s", e.Seq, e.Code)
		}
		c := *e.Content
		if e.Seq == tampered {
			c.Payload = bytes.Replace(c.Payload, []byte(Marker), []byte("all is well"), 1)
		}
		claims = append(claims, client.Claim{Seq: e.Seq, ContentHash: channel.ContentHash(c.Salt, c.Meta, c.Payload)})
		return nil
	})
	if err != nil {
		return err
	}
	verdicts, err := t.asAuditor.Validate(ctx, claims)
	if err != nil {
		return err
	}
	wrong := slices.DeleteFunc(verdicts, func(v client.Validated) bool { return v.Valid })
	if len(wrong) != 1 || wrong[0].Seq != tampered {
		return fmt.Errorf("of a copy with record %d tampered with, validate finds %v", tampered, wrong)
	}
	t.Say("a copy of %d records, one of them tampered with: validate names record %d (%s)", len(claims), wrong[0].Seq, wrong[0].Code)
	return nil
}

// remove takes the contractor's right; the same operation begins an epoch whose key it does not get.
func (t *Tour) remove(ctx context.Context) error {
	gone := []string{t.contractor.Identity.DID}
	if _, err := t.trail.Do(ctx, func() (*audit.Change, error) { return t.trail.Revoke(ctx, gone, "contract ended") }); err != nil {
		return err
	}
	before, err := t.trail.Record(ctx, 1)
	if err != nil {
		return err
	}
	later, err := t.writeOne(ctx, "written after the contractor has gone")
	if err != nil {
		return err
	}
	_ = t.asContractor.Refresh(ctx) // whatever the node still gives
	if e := t.asContractor.OpenRecord(ctx, before.ChannelRecord); e.Content == nil {
		return fmt.Errorf("the contractor lost what it could read: %s", e.Code)
	}
	if e := t.asContractor.OpenRecord(ctx, later.ChannelRecord); e.Content != nil || e.Code != "no_key" {
		return fmt.Errorf("the contractor opens what comes after: %s", e.Code)
	}
	t.Say("the contractor is removed: what it could read it keeps, what comes after does not open (no_key)")
	return nil
}

// writeOne has a tool write a line, and reads it as the SOC does.
func (t *Tour) writeOne(ctx context.Context, line string) (audit.Entry, error) {
	if err := t.pipe(ctx, t.ids, [][]byte{[]byte(line)}); err != nil {
		return audit.Entry{}, err
	}
	if err := t.trail.Refresh(ctx); err != nil {
		return audit.Entry{}, err
	}
	e, err := t.trail.Record(ctx, t.trail.Info.LastSeq)
	if err == nil && e.Content == nil {
		err = fmt.Errorf("the SOC does not open record %d: %s", e.Seq, e.Code)
	}
	return e, err
}

// visit gives a right that ends in a moment: nobody has to take it away.
func (t *Tour) visit(ctx context.Context) error {
	end := tangle.TimeOf(time.Now().Add(visit).Truncate(time.Second))
	if err := t.authorize(ctx, channel.Grant{Participant: t.visitor.Identity.DID, Rights: channel.Audit, ValidUntil: end}); err != nil {
		return err
	}
	visitor, err := t.visitor.Open(ctx, t.trail.ID)
	if err != nil {
		return err
	}
	if e, err := visitor.Record(ctx, 1); err != nil || e.Content == nil {
		return fmt.Errorf("the visitor does not read record 1: %s %w", e.Code, err)
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	later, err := t.writeOne(ctx, "written after the visit has ended")
	if err != nil {
		return err
	}
	_, err = visitor.Record(ctx, later.Seq)
	refused := client.ProblemCode(err)
	if refused == "" {
		return errors.New("the visitor is served what comes after its right has ended")
	}
	_ = visitor.Refresh(ctx) // whatever the node still gives
	if e := visitor.OpenRecord(ctx, later.ChannelRecord); e.Content != nil || e.Code != "no_key" {
		return fmt.Errorf("the visitor opens what comes after: %s", e.Code)
	}
	t.Say("a visiting auditor's right ended at %s by itself: what comes after is refused (%s), and does not open", end.Std().Format(time.TimeOnly), refused)
	return nil
}

// settle does what any admin's client does when a reader's right has ended: it begins an epoch without that reader.
func (t *Tour) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ticker := time.NewTicker(visit / 10)
	defer ticker.Stop()
	for {
		done, err := t.trail.Settle(ctx)
		if err != nil || done.Rekeys > 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("no epoch is due though a reader's right has ended")
		case <-ticker.C:
		}
	}
}

// evidence exports the channel and checks it with nothing but the genesis file; then with one byte changed.
func (t *Tour) evidence(ctx context.Context) error {
	report, err := t.export(ctx)
	if err != nil {
		return err
	}
	t.Say("evidence of %d events and %d records, %d bytes, verifies offline", report.Events, report.Records, len(t.Bundle))
	forged := bytes.Clone(t.Bundle)
	forged[len(forged)/2] ^= 1
	if report, err = t.Verify(forged); err == nil && report.Verified {
		return errors.New("evidence with a changed byte was taken for true")
	}
	return nil
}

// export saves the evidence as soon as checkpoints at the auditor's node cover all that the SOC knows of.
func (t *Tour) export(ctx context.Context) (report channel.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ticker := time.NewTicker(visit / 10)
	defer ticker.Stop()
	for {
		var file bytes.Buffer
		if _, err := t.asAuditor.Export(ctx, 0, &file); err != nil {
			return report, err
		}
		t.Bundle = file.Bytes()
		if report, err = t.Verify(t.Bundle); err != nil || !report.Verified {
			return report, fmt.Errorf("the evidence is refused: %w %+v", err, report.Checks)
		}
		if report.Events > t.trail.Info.LastEvent {
			return report, nil
		}
		select {
		case <-ctx.Done():
			return report, fmt.Errorf("the evidence ends at event %d, not %d", report.Events-1, t.trail.Info.LastEvent)
		case <-ticker.C:
		}
	}
}

// Verify checks a bundle; it asks no node.
func (t *Tour) Verify(bundle []byte) (channel.Report, error) {
	r, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		return channel.Report{}, err
	}
	return channel.VerifyBundle(t.Genesis, r), nil
}

// Channel is the channel of the story.
func (t *Tour) Channel() string { return t.trail.ID.String() }
