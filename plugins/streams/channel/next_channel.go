package channel

import (
	"maps"
	"slices"
	"strings"
	"time"

	"weft/tangle"
)

func (j *judge) create() error {
	op := j.op
	j.channel = Channel{
		ID: op.Channel, Owner: op.Actor, Creator: op.Actor, Created: j.at.Time, Access: op.Access, Profile: op.Profile,
		Status: "open", History: Full, GraceSeconds: 60, Custody: CustodyAny,
	}
	if op.Settings.Hidden != nil && *op.Settings.Hidden {
		j.channel.Status = ""
	}
	if err := j.apply(op.Settings); err != nil {
		return err
	}
	owner := Grant{Participant: op.Actor, Rights: All, Custody: CustodySelf}
	j.put(&Participant{DID: op.Actor, State: Active, Time: j.at.Time, Grant: &owner, Joined: j.firstEpoch()})
	j.head.Active = 1
	for _, g := range op.Grants {
		if err := j.grant(g); err != nil {
			return err
		}
	}
	if op.Epoch == nil {
		return nil
	}
	if err := j.checkWraps(op.Epoch.Wraps); err != nil {
		return err
	}
	j.open(op.Epoch)
	return j.load0(op.Keys)
}

func (j *judge) firstEpoch() uint32 {
	if j.channel.Access == Private {
		return 1
	}
	return 0
}

// load0 adds the wraps of epoch 0 in create and keyload.
func (j *judge) load0(list []Keys) error {
	for _, k := range list {
		if err := j.checkVisible(k.Wraps); err != nil {
			return err
		}
		j.addWraps(0, k.Wraps)
	}
	return nil
}

// apply replaces the settings that are given.
func (j *judge) apply(s Settings) error {
	c := &j.channel
	j.changed = true
	owner, name := c.Owner, c.Name
	replace(&c.Name, s.Name)
	replace(&c.Description, s.Description)
	replace(&c.Status, s.Status)
	replace(&c.Topics, s.Topics)
	replace(&c.Tags, s.Tags)
	replace(&c.Roles, s.Roles)
	replace(&c.History, s.History)
	replace(&c.GraceSeconds, s.GraceSeconds)
	replace(&c.RetentionDays, s.RetentionDays)
	replace(&c.Custody, s.Custody)
	replace(&c.Owner, s.Owner)
	replace(&c.Archived, s.Archived)
	replace(&c.Hidden, s.Hidden)
	if s.SealedProfile != nil {
		c.SealedProfile, c.ProfileEvent = *s.SealedProfile, j.event.Number
	}
	if !c.Hidden {
		c.SealedProfile, c.ProfileEvent = "", 0
	}
	return j.rename(owner, name)
}

func replace[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// rename keeps names unique among an owner's channels.
func (j *judge) rename(owner, name string) error {
	c := &j.channel
	if j.op.Op != Create && owner == c.Owner && name == c.Name {
		return nil
	}
	if name != "" && j.op.Op != Create {
		j.delete(nameKey(owner, name))
	}
	if c.Name == "" {
		return nil
	}
	k := nameKey(c.Owner, c.Name)
	if j.get(k) != nil {
		return reject("name_taken", "%s has a channel %q", c.Owner, c.Name)
	}
	j.set(k, c.ID[:])
	return nil
}

func (j *judge) configure() error {
	if err := j.need(Admin); err != nil {
		return err
	}
	s := j.op.Settings
	if s.Owner != nil || s.History != nil || s.Custody != nil || s.RetentionDays != nil {
		if err := j.needOwner("changing owner, history, custody and retention"); err != nil {
			return err
		}
	}
	if err := j.checkSettings(s); err != nil {
		return err
	}
	if s.Owner != nil {
		if err := j.transfer(*s.Owner); err != nil {
			return err
		}
	}
	return j.apply(s)
}

// checkSettings holds the rules about hidden channels and about the profile.
func (j *judge) checkSettings(s Settings) error {
	c := &j.channel
	plain := s.Name != nil || s.Description != nil || s.Topics != nil || s.Status != nil
	reveals := c.Hidden && s.Hidden != nil && !*s.Hidden
	switch {
	case s.Hidden != nil && *s.Hidden && !c.Hidden:
		return reject("bad_value", "what was visible cannot be hidden")
	case c.Hidden && !reveals && plain, (!c.Hidden || reveals) && s.SealedProfile != nil:
		return reject("bad_value", "a hidden channel has a sealedProfile in place of name, description, topics and status")
	case reveals && s.Name == nil:
		return reject("bad_value", "a channel that is not hidden has a name")
	}
	if c.Profile != AuditProfile {
		return nil
	}
	switch {
	case s.Name != nil, s.Description != nil, s.Topics != nil, s.SealedProfile != nil, reveals:
		return reject("profile_rule", "name, description and topics of an audit channel do not change")
	case s.RetentionDays != nil && !grows(c.RetentionDays, *s.RetentionDays):
		return reject("profile_rule", "the retention of an audit channel only grows")
	}
	return nil
}

// grows says whether days keep records at least as long as before; 0 is for ever.
func grows(before, days int) bool { return days == 0 || before != 0 && days >= before }

// transfer makes an admin the owner. The owner before stays an admin.
func (j *judge) transfer(to string) error {
	p, err := j.participant(to)
	if err != nil {
		return err
	}
	if to == j.channel.Owner || strings.HasPrefix(to, "did:key:") || j.channel.Effective(p, j.at.Time)&Admin == 0 {
		return reject("wrong_state", "%s is not another admin", to)
	}
	if checkActive(j.identity, to) != nil {
		return reject("wrong_state", "%s is not an active DID", to)
	}
	p.Grant = &Grant{Participant: to, Rights: All, Custody: p.Grant.Custody}
	p.Event, p.Time = j.event.Number, j.at.Time
	j.put(p)
	return nil
}

func (j *judge) lock() error {
	if err := j.need(Admin); err != nil {
		return err
	}
	if j.op.Lock == Forever {
		if err := j.needOwner("lock forever"); err != nil {
			return err
		}
	}
	h := &j.head
	switch {
	case h.LockForever:
		return reject("wrong_state", "the channel is locked forever")
	case j.op.Lock == Forever:
		h.LockForever, h.LockUntil = true, 0
	case j.op.Lock == Until && j.op.Until <= h.LockUntil:
		return reject("wrong_state", "the channel is locked until %s", h.LockUntil)
	case j.op.Lock == Until:
		h.LockUntil = j.op.Until
	case h.LockUntil == 0:
		return reject("wrong_state", "the channel is not locked")
	default:
		h.LockUntil = 0
	}
	return nil
}

func (j *judge) request() error {
	p := j.actor
	if p == nil {
		p = &Participant{DID: j.op.Actor}
	}
	switch {
	case p.State == Requested || p.State == Active:
		return reject("wrong_state", "%s is %s", p.DID, p.State)
	case p.Rejections >= MaxRejections:
		return reject("refused", "%s was rejected %d times", p.DID, p.Rejections)
	case j.op.Asked.Custody == CustodyNode && j.channel.Custody == CustodySelf:
		return reject("custody_denied", "the channel wants keys in their owners' hands")
	}
	asked := j.op.Asked
	if j.channel.Access == Public && asked.Rights == Read && len(asked.Roles) == 0 {
		return j.activate(p, Grant{Participant: p.DID, Rights: Read, Custody: asked.Custody, Agreement: asked.Agreement}, 0)
	}
	p.State, p.Asked, p.Grant, p.Event, p.Time = Requested, &asked, nil, j.event.Number, j.at.Time
	if err := j.wait(p); err != nil {
		return err
	}
	j.put(p)
	return nil
}

// wait adds a request to those that wait, after dropping those that have waited too long to count.
func (j *judge) wait(p *Participant) error {
	id := j.op.Channel
	old := j.at.Time.Add(-WaitingTime)
	var stale [][]byte
	j.view.Scan(waitingKey(id, 0, "")[:41], key(prefixWaiting, id, be64(uint64(old)+1)), func(k, _ []byte) bool {
		stale = append(stale, slices.Clone(k))
		return true
	})
	for _, k := range stale {
		j.unwaitKey(k)
	}
	carried := j.carried(j.at.By)
	if j.head.Waiting >= MaxWaiting || carried >= MaxWaitingMember {
		return reject("limit_reached", "%d requests wait, %d of them by this member", j.head.Waiting, carried)
	}
	j.head.Waiting++
	j.set(waitingKey(id, j.at.Time, p.DID), j.at.By[:])
	j.set(key(prefixCarried, id, j.at.By[:]), be32(carried+1))
	return nil
}

func (j *judge) carried(by tangle.Member) uint32 {
	r := scanner{b: j.get(key(prefixCarried, j.op.Channel, by[:]))}
	if r.b == nil {
		return 0
	}
	return r.u32()
}

// unwait takes a request from those that wait, if it still does.
func (j *judge) unwait(p *Participant) { j.unwaitKey(waitingKey(j.op.Channel, p.Time, p.DID)) }

func (j *judge) unwaitKey(k []byte) {
	member := j.get(k)
	if member == nil {
		return
	}
	count := key(prefixCarried, j.op.Channel, member)
	if n := j.carried(tangle.Member(member)); n > 1 {
		j.set(count, be32(n-1))
	} else {
		j.delete(count)
	}
	j.head.Waiting--
	j.delete(k)
}

// activate makes a participant active with exactly this grant.
func (j *judge) activate(p *Participant, g Grant, joined uint32) error {
	if p.State == Requested {
		j.unwait(p)
	}
	if p.State != Active {
		if j.head.Active >= MaxParticipants {
			return reject("limit_reached", "%d participants", j.head.Active)
		}
		j.head.Active++
	}
	p.State, p.Asked, p.Grant, p.Joined, p.Records = Active, nil, &g, joined, 0
	p.Event, p.Time = j.event.Number, j.at.Time
	j.put(p)
	return nil
}

func (j *judge) authorize() error {
	if err := j.need(Admin); err != nil {
		return err
	}
	if j.channel.Access == Public && (j.op.Epoch != nil || j.op.Keys != nil) {
		return reject("bad_value", "a public channel has no keys")
	}
	must := false
	for _, g := range j.op.Grants {
		needs, err := j.judgeGrant(g)
		if err != nil {
			return err
		}
		must = must || needs
	}
	if must && j.op.Epoch == nil {
		return reject("new_epoch_required", "a reader joins whose history begins here, or one goes")
	}
	for _, g := range j.op.Grants {
		if err := j.grant(g); err != nil {
			return err
		}
	}
	if err := j.openIfNext(); err != nil {
		return err
	}
	return j.addKeysIfGood()
}

// judgeGrant judges one grant against what stands, and says whether it needs a new epoch.
func (j *judge) judgeGrant(g Grant) (needsEpoch bool, err error) {
	p, err := j.participant(g.Participant)
	if err != nil {
		return false, err
	}
	before := j.channel.Holds(p)
	switch {
	case g.Participant == j.channel.Owner:
		return false, reject("owner_only", "the owner has all rights and needs no grant")
	case (before|g.Rights)&Admin != 0:
		if err := j.needOwner("giving and taking admin"); err != nil {
			return false, err
		}
	}
	if err := j.checkGrant(g); err != nil {
		return false, err
	}
	if j.channel.Access == Public {
		return false, nil
	}
	rights := j.channel.rightsOf(g)
	if before.Reads() && !rights.Reads() {
		return true, nil
	}
	return rights.Reads() && rights&Audit == 0 && !j.channel.Effective(p, j.at.Time).Reads() && !j.freshEnough(), nil
}

// freshEnough says whether a reader that joins now may have the key of the current epoch.
func (j *judge) freshEnough() bool {
	return j.channel.History == Full || j.head.EpochRecords == 0 && !j.head.Chained
}

// checkGrant judges a grant against the channel's settings.
func (j *judge) checkGrant(g Grant) error {
	if g.Custody == CustodyNode && j.channel.Custody == CustodySelf {
		return reject("custody_denied", "the channel wants keys in their owners' hands")
	}
	for _, name := range g.Roles {
		role, ok := j.channel.Roles[name]
		if !ok {
			return reject("bad_value", "there is no role %q", name)
		}
		if g.Rights&Audit != 0 && role.Rights&Order != 0 {
			return reject("bad_value", "audit has no right to write, role %q gives it", name)
		}
	}
	for _, tag := range g.Tags {
		if !slices.Contains(j.channel.Tags, tag) {
			return reject("bad_value", "there is no tag %q", tag)
		}
	}
	return nil
}

// grant puts a grant in force. A reader that was one keeps the epoch it joined in.
func (j *judge) grant(g Grant) error {
	if err := j.checkGrant(g); err != nil {
		return err
	}
	p, err := j.participant(g.Participant)
	if err != nil {
		return err
	}
	joined := j.joining()
	if p == nil {
		p = &Participant{DID: g.Participant}
	} else if j.channel.Effective(p, j.at.Time).Reads() {
		joined = p.Joined
	}
	return j.activate(p, g, joined)
}

// joining is the first epoch that whoever joins now may open unless history is full: the one that this operation opens, the
// current one if nothing stands under it, or else the next.
func (j *judge) joining() uint32 {
	switch {
	case j.channel.Access == Public:
		return 0
	case j.op.Op == Create:
		return 1
	case j.freshEnough() && (j.op.Epoch == nil || j.op.Epoch.Number != j.head.Epoch+1):
		return j.head.Epoch
	}
	return j.head.Epoch + 1
}

// reject and revoke skip those whom it does not concern any more, so that one who leaves
// meanwhile cannot void the rest.
func (j *judge) reject() error {
	if err := j.need(Admin); err != nil {
		return err
	}
	done := 0
	for _, name := range j.op.Participants {
		p, err := j.participant(name)
		if err != nil {
			return err
		}
		if p == nil || p.State != Requested {
			continue
		}
		j.unwait(p)
		p.State, p.Asked, p.Rejections = Rejected, nil, p.Rejections+1
		p.Event, p.Time = j.event.Number, j.at.Time
		j.put(p)
		done++
	}
	if done == 0 {
		return reject("wrong_state", "none of them has a request that waits")
	}
	return nil
}

func (j *judge) revoke() error {
	if err := j.need(Admin); err != nil {
		return err
	}
	if j.channel.Access == Public && j.op.Epoch != nil {
		return reject("bad_value", "a public channel has no keys")
	}
	var gone []*Participant
	reader := false
	for _, name := range j.op.Participants {
		p, err := j.participant(name)
		switch {
		case err != nil:
			return err
		case name == j.channel.Owner:
			return reject("owner_only", "the owner stays; only the owner can name another")
		case p == nil || p.State != Active:
			continue
		}
		rights := j.channel.Holds(p)
		if rights&Admin != 0 {
			if err := j.needOwner("revoking an admin"); err != nil {
				return err
			}
		}
		reader = reader || rights.Reads()
		gone = append(gone, p)
	}
	switch {
	case len(gone) == 0:
		return reject("wrong_state", "none of them is active")
	case reader && j.channel.Access == Private && j.op.Epoch == nil:
		return reject("new_epoch_required", "a reader goes")
	}
	for _, p := range gone {
		j.end(p, Revoked)
	}
	return j.openIfNext()
}

// end takes an active participant's rights. What it was granted stays readable.
func (j *judge) end(p *Participant, s State) {
	p.State, p.Event, p.Time = s, j.event.Number, j.at.Time
	j.head.Active--
	j.put(p)
}

func (j *judge) leave() error {
	p := j.actor
	switch {
	case j.op.Actor == j.channel.Owner:
		return reject("owner_only", "the owner stays; only the owner can name another")
	case p != nil && p.State == Active:
		j.end(p, Left)
		return nil
	case p != nil && p.State == Requested:
		j.unwait(p)
		p.State, p.Asked, p.Event, p.Time = Left, nil, j.event.Number, j.at.Time
		j.put(p)
		return nil
	}
	return reject("wrong_state", "%s has nothing to leave", j.op.Actor)
}

// needKeys refuses key operations by others than admins, and of public channels.
func (j *judge) needKeys() error {
	if err := j.need(Admin); err != nil {
		return err
	}
	if j.channel.Access == Public {
		return reject("wrong_state", "a public channel has no keys")
	}
	return nil
}

func (j *judge) rekey() error {
	if err := j.needKeys(); err != nil {
		return err
	}
	e := j.op.Epoch
	if e.Number != j.head.Epoch+1 {
		return reject("epoch_conflict", "the current epoch is %d", j.head.Epoch)
	}
	if err := j.checkPrevious(e); err != nil {
		return err
	}
	if err := j.checkWraps(e.Wraps); err != nil {
		return err
	}
	j.open(e)
	return nil
}

func (j *judge) keyload() error {
	if err := j.needKeys(); err != nil {
		return err
	}
	for _, k := range j.op.Keys {
		switch {
		case k.Number > j.head.Epoch || k.Number == 0 && !j.channel.Hidden:
			return reject("epoch_conflict", "the current epoch is %d", j.head.Epoch)
		case k.Number == 0:
			if err := j.load0([]Keys{k}); err != nil {
				return err
			}
			continue
		}
		if err := j.checkKeys(k); err != nil {
			return err
		}
		j.addWraps(k.Number, k.Wraps)
	}
	return nil
}

// checkPrevious holds that an epoch carries the key before it exactly if history is full.
func (j *judge) checkPrevious(e *Epoch) error {
	if (e.Previous != nil) != (j.channel.History == Full) {
		return reject("bad_value", "history is %s: previous stands with full only", j.channel.History)
	}
	return nil
}

// checkWraps holds that recipients may read now.
func (j *judge) checkWraps(list []Wrap) error {
	for _, w := range list {
		p, err := j.participant(w.DID())
		if err != nil {
			return err
		}
		if !j.channel.Effective(p, j.at.Time).Reads() {
			return reject("wrap_target", "%s may not read", w.DID())
		}
	}
	return nil
}

// checkKeys holds that recipients may read now, and get keys of the time they may read. Auditors get all.
func (j *judge) checkKeys(k Keys) error {
	for _, w := range k.Wraps {
		p, err := j.participant(w.DID())
		if err != nil {
			return err
		}
		if !j.channel.Effective(p, j.at.Time).Reads() {
			return reject("wrap_target", "%s may not read", w.DID())
		}
		if !j.channel.Opens(p, j.head.Epoch, k.Number, j.at.Time) {
			return reject("history_policy", "history is %s: epoch %d is not for %s", j.channel.History, k.Number, p.DID)
		}
	}
	return nil
}

// Opens says whether history lets a reader have an epoch's key at t; current is the newest epoch.
func (c *Channel) Opens(p *Participant, current, number uint32, t tangle.Time) bool {
	rights := c.Effective(p, t)
	switch {
	case !rights.Reads():
		return false
	case rights&Audit != 0 || c.History == Full:
		return true
	case c.History == None:
		return number == current && number >= p.Joined
	}
	return number >= p.Joined
}

// checkVisible holds that epoch 0 goes to participants and to few others.
func (j *judge) checkVisible(list []Wrap) error {
	added := map[string]bool{}
	for _, w := range list {
		p, err := j.participant(w.DID())
		if err != nil {
			return err
		}
		if (p == nil || p.State != Active) && j.get(wrapKey(j.op.Channel, 0, w.DID())) == nil {
			added[w.DID()] = true
		}
	}
	if j.channel.Visible+len(added) > MaxVisible {
		return reject("limit_reached", "more than %d DIDs beside the participants would see the channel", MaxVisible)
	}
	if len(added) > 0 {
		j.channel.Visible += len(added)
		j.changed = true
	}
	for _, name := range slices.Sorted(maps.Keys(added)) {
		j.set(membershipKey(name, j.op.Channel), []byte{1})
	}
	return nil
}

// openIfNext opens the epoch of an authorize or revoke if it still fits. Membership and keys are judged apart: an epoch that
// lost a race, or that has a wrap for one who went meanwhile, is ignored, and the rights stand.
func (j *judge) openIfNext() error {
	e := j.op.Epoch
	if e == nil {
		return nil
	}
	if err := j.checkPrevious(e); err != nil && e.Number == j.head.Epoch+1 {
		return err
	}
	if e.Number != j.head.Epoch+1 {
		return nil
	}
	err := j.checkWraps(e.Wraps)
	if isRejection(err) {
		return nil
	}
	if err == nil {
		j.open(e)
	}
	return err
}

// addKeysIfGood adds the wraps of an authorize. Those that do not fit are ignored, number by number.
func (j *judge) addKeysIfGood() error {
	for _, k := range j.op.Keys {
		err := j.judgeKeys(k)
		if isRejection(err) {
			continue
		}
		if err != nil {
			return err
		}
		j.addWraps(k.Number, k.Wraps)
	}
	return nil
}

func (j *judge) judgeKeys(k Keys) error {
	switch {
	case k.Number == 0 && j.channel.Hidden:
		return j.checkVisible(k.Wraps)
	case k.Number == 0 || k.Number > j.head.Epoch:
		return reject("epoch_conflict", "epoch %d", k.Number)
	}
	return j.checkKeys(k)
}

// open puts an epoch in force.
func (j *judge) open(e *Epoch) {
	id, h := j.op.Channel, &j.head
	opened := OpenedEpoch{
		Number: e.Number, Event: j.event.Number, Time: j.at.Time, Seq: h.Seq, Commit: e.Commit, PublicKey: e.PublicKey, Previous: e.Previous,
	}
	j.set(epochKey(id, e.Number), opened.bytes())
	h.Epoch, h.EpochEvent, h.GraceUntil, h.EpochRecords = e.Number, j.event.Number, j.at.Time.Add(j.grace()), 0
	h.Chained = e.Previous != nil
	j.addWraps(e.Number, e.Wraps)
}

// addWraps notes in which event a reader finds wraps of an epoch.
func (j *judge) addWraps(number uint32, list []Wrap) {
	event := be64(j.event.Number)
	for _, w := range list {
		k := wrapKey(j.op.Channel, number, w.DID())
		b := j.get(k)
		if n := len(b); n >= 8 && string(b[n-8:]) == string(event) {
			continue
		}
		b = append(slices.Clone(b), event...)
		j.set(k, b[max(0, len(b)-8*maxWrapEvents):])
	}
}

// grace is how long the epoch before is accepted once another opens.
func (j *judge) grace() time.Duration { return time.Duration(j.channel.GraceSeconds) * time.Second }
