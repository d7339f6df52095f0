package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// Change is an operation to sign that brings keys with it, and the wraps that did not fit into it.
type Change struct {
	Body    did.Object
	Epoch   *channel.Epoch // that it opens; nil: none
	Later   []channel.Wrap // of Number, for keyloads once the change counts
	Number  uint32
	Skipped []error     // readers that nothing could be sealed to
	Sealed  []ReaderKey // that keys are sealed to, in Body or Later, as the resolver names them

	Past []Reader // auditors who get the keys of all epochs before that are open here
}

// Creation is what a new channel is to be.
type Creation struct {
	channel.CreateTerms
	Hidden  did.Object // name, description, topics, status of a hidden channel
	Visible []string   // further DIDs that see it
}

// Hide moves what a hidden channel is called into its sealed profile.
func (t *Creation) Hide() {
	s := &t.Settings
	t.Hidden = did.Object{}
	for name, value := range map[string]*string{"name": s.Name, "description": s.Description, "status": s.Status} {
		if value != nil {
			t.Hidden[name] = *value
		}
	}
	if s.Topics != nil {
		t.Hidden["topics"] = TopicObjects(*s.Topics)
	}
	s.Name, s.Description, s.Status, s.Topics = nil, nil, nil, nil
}

// Create makes the operation that makes a channel. Without a node it seals to the keys of the key file alone.
func (s *Session) Create(ctx context.Context, t Creation) (*Change, channel.ID, error) {
	h, err := s.header(channel.ID{}, channel.After{})
	if err != nil {
		return nil, channel.ID{}, err
	}
	id := channel.NewID(s.Network, h.Actor, h.Nonce)
	change := &Change{Number: 1}
	if t.Access == channel.Private {
		if err := s.firstKeys(ctx, id, h, &t, change); err != nil {
			return nil, id, err
		}
	}
	change.Body = channel.NewCreate(h, t.CreateTerms)
	return change, id, nil
}

func (s *Session) firstKeys(ctx context.Context, id channel.ID, h channel.Header, t *Creation, change *Change) error {
	key, err := channel.NewKey(s.Random)
	if err != nil {
		return err
	}
	var zero *channel.Key
	if t.Hidden != nil {
		k, err := channel.NewKey(s.Random)
		if err != nil {
			return err
		}
		zero = &k
	}
	readers := readersOf(t.Grants, t.Settings.Roles)
	if t.Epoch, err = s.sealEpoch(ctx, id, 1, key, before(zero, t.Settings.History), readers, change); err != nil || zero == nil {
		return err
	}
	sealed, err := zero.SealProfile(id, h.Actor, h.Nonce, t.Hidden)
	if err != nil {
		return err
	}
	hidden := true
	t.Settings.SealedProfile, t.Settings.Hidden = &sealed, &hidden
	seeing := slices.Clone(readers)
	for _, g := range t.Grants {
		if !slices.Contains(names(readers), g.Participant) {
			seeing = append(seeing, Reader{g.Participant, g.Agreement})
		}
	}
	for _, id := range t.Visible {
		seeing = append(seeing, Reader{DID: id})
	}
	wraps, err := s.wrapOwnFirst(ctx, id, 0, *zero, seeing, change)
	if room := channel.MaxWraps - len(t.Epoch.Wraps); err == nil && len(wraps) > room {
		return fmt.Errorf("%d keys see the hidden channel, %d fit: add the others afterwards", len(wraps), room)
	}
	t.Keys = []channel.Keys{{Number: 0, Wraps: wraps}}
	return err
}

// before is the key that an epoch carries: only a full history has one.
func before(key *channel.Key, history *channel.History) *channel.Key {
	if history != nil && *history != channel.Full {
		return nil
	}
	return key
}

func readersOf(grants []channel.Grant, roles *map[string]channel.Role) (list []Reader) {
	for _, g := range grants {
		rights := g.Rights
		for _, name := range g.Roles {
			if roles != nil {
				rights |= (*roles)[name].Rights
			}
		}
		if rights.Reads() {
			list = append(list, Reader{g.Participant, g.Agreement})
		}
	}
	return list
}

// sealEpoch makes an epoch with wraps to this identity and to all readers; what does not fit goes into change.
func (s *Session) sealEpoch(ctx context.Context, id channel.ID, number uint32, key channel.Key, before *channel.Key, readers []Reader, change *Change) (*channel.Epoch, error) {
	e, err := key.NewEpoch(id, number, before)
	if err != nil {
		return nil, err
	}
	wraps, err := s.wrapOwnFirst(ctx, id, number, key, readers, change)
	if err != nil {
		return nil, err
	}
	n := min(len(wraps), channel.MaxWraps)
	e.Wraps, change.Later, change.Epoch, change.Number = wraps[:n], wraps[n:], e, number
	return e, nil
}

// wrapOwnFirst seals to this identity before all others: a key that nobody has is lost. Without a node it is sealed to the
// keys of the key file.
func (s *Session) wrapOwnFirst(ctx context.Context, id channel.ID, number uint32, key channel.Key, readers []Reader, change *Change) ([]channel.Wrap, error) {
	own, err := s.ReaderKeys(ctx, s.Identity.DID, s.Identity.Agreement())
	if errors.Is(err, errNoNode) {
		own, err = s.Identity.ownKeys(), nil
	}
	if err == nil && len(own) == 0 {
		err = fmt.Errorf("the key file has no X25519 key: %s could not read its own channel", s.Identity.DID)
	}
	if err != nil {
		return nil, err
	}
	wraps, err := wrapEach(id, number, key, own)
	if err != nil {
		return nil, err
	}
	change.Sealed = append(change.Sealed, own...)
	others := slices.DeleteFunc(slices.Clone(readers), func(r Reader) bool { return r.DID == s.Identity.DID })
	more, err := s.wrapAll(ctx, id, number, key, others, change)
	return append(wraps, more...), err
}

// subscriptions visits all of a state.
func (c *Channel) subscriptions(ctx context.Context, state channel.State, each func(client.Subscription) error) error {
	return client.All(ctx, client.Page{}, func(ctx context.Context, p client.Page) (l client.List[client.Subscription], err error) {
		err = c.ask(ctx, func(node *client.Client) (err error) {
			l, err = node.Subscriptions(ctx, c.ID, state, p)
			return err
		})
		return l, err
	}, each)
}

// Subscriptions are all subscriptions of a state; an empty one is any.
func (c *Channel) Subscriptions(ctx context.Context, state channel.State) (list []client.Subscription, err error) {
	err = c.subscriptions(ctx, state, func(s client.Subscription) error {
		if list = append(list, s); len(list) > channel.MaxParticipants+channel.MaxWaiting {
			return errors.New("the list of subscriptions does not end")
		}
		return nil
	})
	return list, err
}

// readers are those who may read now, without some.
func (c *Channel) readers(ctx context.Context, without []string) (list []Reader, err error) {
	active, err := c.Subscriptions(ctx, channel.Active)
	for _, s := range active {
		if s.Rights.Reads() && !slices.Contains(without, s.DID) {
			list = append(list, ReaderOf(s))
		}
	}
	return list, err
}

// ReaderOf and held read a subscription; held are the rights of its grant, whether or not it is in force.
func ReaderOf(s client.Subscription) Reader {
	r := Reader{DID: s.DID}
	if s.Grant != nil {
		r.Agreement = s.Grant.Agreement
	}
	return r
}

func (c *Channel) held(s client.Subscription) channel.Rights {
	if s.State != channel.Active || s.Grant == nil {
		return s.Rights
	}
	return s.Rights | c.grantRights(channel.Grant{Rights: s.Grant.Rights, Roles: s.Grant.Roles})
}

// newEpoch makes the epoch behind the current one, for the readers that remain and those that come.
func (c *Channel) newEpoch(ctx context.Context, without []string, coming []Reader, change *Change) error {
	readers, err := c.readers(ctx, append(slices.Clone(without), names(coming)...))
	if err != nil {
		return err
	}
	key, err := channel.NewKey(c.Random)
	if err != nil {
		return err
	}
	var previous *channel.Key
	if c.Info.History == channel.Full {
		k, err := c.CurrentKey()
		if err != nil {
			return fmt.Errorf("%w; with full history a new epoch carries it", err)
		}
		previous = &k
	}
	_, err = c.sealEpoch(ctx, c.ID, c.Info.Epoch+1, key, previous, append(coming, readers...), change)
	return err
}

func names(list []Reader) (dids []string) {
	for _, r := range list {
		dids = append(dids, r.DID)
	}
	return dids
}

// CurrentKey is the key of the current epoch.
func (c *Channel) CurrentKey() (channel.Key, error) {
	k, ok := c.Keys[c.Info.Epoch]
	if !ok {
		return k, fmt.Errorf("no key of epoch %d: %w", c.Info.Epoch, errors.Join(append([]error{ErrNoKey}, c.Faults...)...))
	}
	return k, nil
}

// ErrNoKey says that nobody has sealed a key to this identity.
var ErrNoKey = errors.New("an admin can send it with 'keyload'")

// Authorize makes the operation that gives grants, with the keys that go with them: wraps of the current epoch, or a new
// epoch where history begins with the join or a reader loses read.
func (c *Channel) Authorize(ctx context.Context, grants []channel.Grant) (*Change, error) {
	change := &Change{}
	h, err := c.header()
	if err != nil {
		return nil, err
	}
	if c.Info.Access != channel.Private {
		change.Body = channel.NewAuthorize(h, grants, nil, nil)
		return change, nil
	}
	var coming, audit []Reader
	var losing []string
	for _, g := range grants {
		was, err := c.rightsOf(ctx, g.Participant)
		if err != nil {
			return nil, err
		}
		switch rights := c.grantRights(g); {
		case !rights.Reads() && was.Reads():
			losing = append(losing, g.Participant)
		case !rights.Reads():
		case c.Info.History == channel.Full || rights&channel.Audit != 0 || was.Reads():
			audit = append(audit, Reader{g.Participant, g.Agreement})
		default:
			coming = append(coming, Reader{g.Participant, g.Agreement})
		}
	}
	if len(losing)+len(coming) > 0 {
		err = c.newEpoch(ctx, losing, append(coming, audit...), change)
		change.Body = channel.NewAuthorize(h, grants, nil, change.Epoch)
		return change, err
	}
	keys, err := c.currentFor(ctx, audit, change)
	change.Body = channel.NewAuthorize(h, grants, keys, nil)
	return change, err
}

// grantRights are the rights of a grant and of the roles that it names.
func (c *Channel) grantRights(g channel.Grant) channel.Rights {
	rights := g.Rights
	for _, name := range g.Roles {
		rights |= c.Info.Roles[name].Rights
	}
	return rights
}

func (c *Channel) rightsOf(ctx context.Context, id string) (channel.Rights, error) {
	s, err := c.Subscription(ctx, id)
	if client.ProblemCode(err) == "not_found" || client.ProblemCode(err) == "not_participant" {
		return 0, nil
	}
	if s.State != channel.Active {
		return 0, err
	}
	return s.Rights, err
}

// Subscription reads where a DID stands.
func (c *Channel) Subscription(ctx context.Context, id string) (s client.Subscription, err error) {
	err = c.ask(ctx, func(node *client.Client) (err error) {
		s, err = node.Subscription(ctx, c.ID, id)
		return err
	})
	return s, err
}

// currentFor are wraps of the current epoch for readers, and of the profile of a hidden channel that has no chain to it.
func (c *Channel) currentFor(ctx context.Context, readers []Reader, change *Change) ([]channel.Keys, error) {
	if len(readers) == 0 {
		return nil, nil
	}
	key, err := c.CurrentKey()
	if err != nil {
		return nil, err
	}
	wraps, err := c.wrapAll(ctx, c.ID, c.Info.Epoch, key, readers, change)
	if err != nil {
		return nil, err
	}
	var list []channel.Keys
	room := channel.MaxWraps
	if zero, ok := c.Keys[0]; ok && c.Info.Hidden {
		sight, err := c.wrapAll(ctx, c.ID, 0, zero, readers, &Change{}) // the same readers
		if err != nil {
			return nil, err
		}
		sight = sight[:min(len(sight), channel.MaxWraps/2)]
		list, room = appendKeys(list, 0, sight), room-len(sight)
	}
	n := min(len(wraps), room)
	change.Number, change.Later = c.Info.Epoch, wraps[n:]
	return appendKeys(list, c.Info.Epoch, wraps[:n]), nil
}

func appendKeys(list []channel.Keys, number uint32, wraps []channel.Wrap) []channel.Keys {
	if len(wraps) == 0 {
		return list
	}
	return append(list, channel.Keys{Number: number, Wraps: wraps})
}

// Revoke makes the operation that takes participants' rights; if one of them reads a private channel it opens an epoch
// without them.
func (c *Channel) Revoke(ctx context.Context, participants []string, reason string) (*Change, error) {
	change := &Change{}
	h, err := c.header()
	if err != nil {
		return nil, err
	}
	reader := false
	for _, id := range participants {
		s, err := c.Subscription(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		reader = reader || c.held(s).Reads()
	}
	if reader && c.Info.Access == channel.Private {
		if err := c.newEpoch(ctx, participants, nil, change); err != nil {
			return nil, err
		}
	}
	change.Body = channel.NewRevoke(h, participants, reason, change.Epoch)
	return change, nil
}

// Rekey makes the operation that opens an epoch for those who may read now.
func (c *Channel) Rekey(ctx context.Context, reason string) (*Change, error) {
	change := &Change{}
	h, err := c.header()
	if err != nil {
		return nil, err
	}
	if err := c.newEpoch(ctx, nil, nil, change); err != nil {
		return nil, err
	}
	change.Body = channel.NewRekey(h, reason, change.Epoch)
	return change, nil
}

// Races says whether an operation was refused because the channel went on meanwhile: made anew it may count.
func Races(err error) bool {
	return slices.Contains([]string{"epoch_conflict", "epoch_closed", "epoch_unknown", "new_epoch_required"}, client.ProblemCode(err))
}

// Do submits a change, made anew as often as others are faster, and then all that has to follow it.
func (c *Channel) Do(ctx context.Context, build func() (*Change, error)) (client.Operated, error) {
	for attempt := 1; ; attempt++ {
		change, err := build()
		if err != nil {
			return client.Operated{}, err
		}
		done, err := c.Submit(ctx, change.Body)
		if err == nil {
			_, err = c.Complete(ctx, change)
			return done, err
		}
		if !Races(err) || attempt == MaxAttempts {
			return done, err
		}
		if err := c.Refresh(ctx); err != nil {
			return done, err
		}
	}
}

// Settled says what Complete and Settle did.
type Settled struct {
	Rekeys   int // new epochs, because somebody held a key without the right to read
	Keyloads int // operations with keys for those who missed one
	Skipped  []error
}

// Complete sends what belongs to a change that has counted: the wraps that did not fit, and, should its epoch have lost
// against another one, a rekey if one is due and keys for all who miss one.
func (c *Channel) Complete(ctx context.Context, change *Change) (Settled, error) {
	done := Settled{Skipped: change.Skipped}
	if err := c.Refresh(ctx); err != nil {
		return done, err
	}
	if n, err := c.loadPast(ctx, change.Past); err != nil {
		return done, err
	} else if done.Keyloads = n; change.Epoch == nil && len(change.Later) == 0 && !c.Info.RekeyDue {
		return done, nil
	}
	stands := change.Number <= c.Info.Epoch
	if change.Epoch != nil {
		stands = slices.ContainsFunc(c.Epochs, func(e channel.OpenedEpoch) bool {
			return e.Number == change.Epoch.Number && e.Commit == change.Epoch.Commit
		})
	}
	if stands && change.Number == c.Info.Epoch && !c.Info.RekeyDue {
		n, err := c.keyload(ctx, change.Number, change.Later)
		done.Keyloads += n
		return done, err
	}
	more, err := c.Settle(ctx)
	more.Skipped, more.Keyloads = append(done.Skipped, more.Skipped...), done.Keyloads+more.Keyloads
	return more, err
}

// loadPast gives auditors the keys that no chain leads to.
func (c *Channel) loadPast(ctx context.Context, auditors []Reader) (operations int, err error) {
	if len(auditors) == 0 {
		return 0, nil
	}
	for _, e := range c.Epochs {
		if _, ok := c.Keys[e.Number]; !ok || e.Number == c.Info.Epoch {
			continue
		}
		n, _, err := c.KeyLoad(ctx, e.Number, auditors)
		if operations += n; err != nil {
			return operations, err
		}
	}
	return operations, nil
}

// Settle opens an epoch if one is due, and sends keys of the current one to all who may read and have none. It needs admin.
func (c *Channel) Settle(ctx context.Context) (done Settled, err error) {
	for range MaxAttempts {
		if err := c.Refresh(ctx); err != nil {
			return done, err
		}
		if c.Info.Access != channel.Private || !c.may(channel.Admin) {
			return done, nil
		}
		if !c.Info.RekeyDue {
			break
		}
		change, err := c.Rekey(ctx, "due")
		if err == nil {
			err = c.sealing(change.Sealed)
		}
		if err != nil {
			return done, err
		}
		if _, err := c.Submit(ctx, change.Body); err != nil && !Races(err) {
			return done, err
		} else if err != nil {
			continue
		}
		done.Rekeys++
		done.Skipped = append(done.Skipped, change.Skipped...)
		if err := c.Refresh(ctx); err != nil {
			return done, err
		}
		n, err := c.keyload(ctx, change.Number, change.Later)
		if done.Keyloads += n; err != nil {
			return done, err
		}
	}
	n, skipped, err := c.loadMissing(ctx)
	done.Keyloads, done.Skipped = done.Keyloads+n, append(done.Skipped, skipped...)
	return done, err
}

// sealing tells Config.Sealing.
func (s *Session) sealing(keys []ReaderKey) error {
	if s.Sealing == nil || len(keys) == 0 {
		return nil
	}
	return s.Sealing(keys)
}

// loadMissing sends the current key to all readers without one.
func (c *Channel) loadMissing(ctx context.Context) (int, []error, error) {
	var missing []Reader
	err := c.subscriptions(ctx, channel.Active, func(s client.Subscription) error {
		if s.KeyMissing && s.Rights.Reads() {
			missing = append(missing, ReaderOf(s))
		}
		return nil
	})
	if err != nil || len(missing) == 0 {
		return 0, nil, err
	}
	return c.KeyLoad(ctx, c.Info.Epoch, missing)
}

// KeyLoad sends the key of an epoch, the current one or one before it, to readers.
func (c *Channel) KeyLoad(ctx context.Context, number uint32, readers []Reader) (operations int, skipped []error, err error) {
	key, ok := c.Keys[number]
	if !ok {
		return 0, nil, fmt.Errorf("no key of epoch %d: %w", number, ErrNoKey)
	}
	change := &Change{}
	wraps, err := c.wrapAll(ctx, c.ID, number, key, readers, change)
	if err == nil {
		err = c.sealing(change.Sealed)
	}
	if err != nil {
		return 0, nil, err
	}
	operations, err = c.keyload(ctx, number, wraps)
	return operations, change.Skipped, err
}

// keyload publishes wraps, MaxWraps in each operation, several operations at a time.
func (c *Channel) keyload(ctx context.Context, number uint32, wraps []channel.Wrap) (int, error) {
	var g errgroup.Group
	g.SetLimit(keyloadsAtOnce)
	n := 0
	for batch := range slices.Chunk(wraps, channel.MaxWraps) {
		h, err := c.header()
		if err != nil {
			return n, err
		}
		n++
		body := channel.NewKeyload(h, []channel.Keys{{Number: number, Wraps: batch}})
		g.Go(func() error {
			_, err := c.Submit(ctx, body)
			return err
		})
	}
	return n, g.Wait()
}
