package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/client/audit"
	"weft/config"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// channeling is what the verbs of channels share: whoever acts, at a node, in a channel.
type channeling struct {
	acting
	owner    string
	audience string

	ring    *keyring
	session *audit.Session
	channel *audit.Channel
}

// addReading gives a command the flags of who only reads; keys are optional.
func (r *channeling) addReading(c *cobra.Command) {
	f := c.Flags()
	r.keys.add(f)
	r.network.add(f)
	f.StringVar(&r.actor, "actor", "", "the DID that reads; default: that of the first key file")
	f.StringVar(&r.owner, "owner", "", "DID of the channel's owner, where several have one of that name")
	f.StringVar(&r.audience, "audience", "", "whom the login is for; default: this node")
	r.validFor = time.Hour
}

// addActing gives a command the flags of who signs.
func (r *channeling) addActing(c *cobra.Command) {
	r.acting.add(c)
	c.Flags().StringVar(&r.owner, "owner", "", "DID of the channel's owner, where several have one of that name")
	c.Flags().StringVar(&r.audience, "audience", "", "whom the login is for; default: this node")
}

// start opens the keys and makes a session. Without a node it knows what the flags say. The caller calls close.
func (r *channeling) start(ctx context.Context, online bool) (err error) {
	if r.ring, err = r.openKeys(r.keys); err != nil {
		return err
	}
	c := audit.Config{ValidFor: r.validFor, Audience: r.audience, NoLogin: r.tokenFile != "", Sealing: func(keys []audit.ReaderKey) error {
		r.sealedTo(keys)
		return nil
	}}
	if c.Identity, err = r.identity(); err != nil {
		return err
	}
	if online {
		if c.Node, err = r.client(client.DefaultRetry()); err != nil {
			return err
		}
	}
	if c.Network, err = r.networkID(ctx, r.network); err != nil {
		return err
	}
	if online && r.network.genesis != "" {
		if c.Resolve, err = r.proven(); err != nil {
			return err
		}
	}
	r.session = audit.NewSession(c)
	return nil
}

// proven is a resolver that does not take the node's word: with --genesis the log of a DID is judged here, by the receipts of
// its operations. A node that lies about a reader's keys would read along otherwise. It can still hide the newest version.
func (r *channeling) proven() (func(context.Context, string) (did.Object, error), error) {
	g, err := config.LoadGenesis(r.network.genesis)
	if err != nil {
		return nil, usage("--genesis: %s", err)
	}
	return func(ctx context.Context, id string) (did.Object, error) {
		lines, err := r.fetchLog(ctx, id, true)
		if err != nil {
			return nil, err
		}
		log, err := replay(g.ID(), limitsOf(g), id, lines)
		if err != nil {
			return nil, err
		}
		if _, err := log.checkReceipts(g); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		if log.head.Deactivated {
			return nil, fmt.Errorf("%s is deactivated", id)
		}
		return log.current().Document, nil
	}, nil
}

func (r *channeling) close() {
	if r.ring != nil {
		r.ring.close()
	}
}

// identity is that of the key file of the actor, with the agreement keys of all its files. Without key files it is nobody.
func (r *channeling) identity() (who audit.Identity, err error) {
	for _, f := range r.ring.files {
		if r.actor != "" && f.DID != r.actor || who.DID != "" && f.DID != who.DID {
			continue
		}
		found, err := audit.FromKeyFile(f, "")
		switch {
		case who.DID != "":
			who.Agreements = append(who.Agreements, found.Agreements...)
		case err != nil:
			return who, err
		default:
			who = found
		}
	}
	if who.DID == "" && len(r.ring.files) > 0 {
		return who, usage("no key file is of %s", r.actor)
	}
	return who, nil
}

// enter opens the channel of a name.
func (r *channeling) enter(ctx context.Context, name string) error {
	if err := r.start(ctx, true); err != nil {
		return err
	}
	id, err := r.find(ctx, name)
	if err != nil {
		return err
	}
	r.channel, err = r.session.Open(ctx, id)
	if err != nil {
		return r.failed(err)
	}
	for _, fault := range r.channel.Faults {
		fmt.Fprintf(r.err, "weft: %s: an admin can send the key anew: weft channel rekey --missing\n", fault)
	}
	return nil
}

// failed gives an error its exit code.
func (r *channeling) failed(err error) error {
	if r.session == nil || r.session.Node == nil {
		return err
	}
	if client.ProblemCode(err) == "unauthenticated" && len(r.ring.files) == 0 {
		return fmt.Errorf("%w\nWho reads here says who it is: --keys FILE, or --token-file", err)
	}
	return remote(r.session.Node, err)
}

// find is the channel of an ID or of a name.
func (r *channeling) find(ctx context.Context, name string) (channel.ID, error) {
	if id, err := channel.ParseID(name); err == nil {
		return id, nil
	}
	found := map[channel.ID]string{}
	err := r.each(ctx, client.ChannelFilter{Text: name, Owner: r.owner, Archived: true}, func(c client.Channel) error {
		if c.Name == name {
			found[c.ID] = c.Owner
		}
		return nil
	})
	if err == nil && len(found) == 0 && r.session.Identity.DID != "" {
		err = r.findHidden(ctx, name, found)
	}
	switch {
	case client.ProblemCode(err) == "unauthenticated" && len(r.ring.files) == 0:
		return channel.ID{}, fmt.Errorf("%w\nThe ledger of this node is for callers whom it knows: give --keys FILE or --token-file", err)
	case err != nil:
		return channel.ID{}, r.failed(err)
	case len(found) == 0 && len(r.ring.files) == 0 && r.tokenFile == "":
		return channel.ID{}, fmt.Errorf("no public channel %q: others are found with --keys FILE or --token-file", name)
	case len(found) == 0:
		return channel.ID{}, fmt.Errorf("no channel %q: 'weft channel list' shows those that you can see", name)
	case len(found) > 1:
		owners := []string{}
		for _, owner := range found {
			owners = append(owners, owner)
		}
		return channel.ID{}, usage("several channels are called %q: name one with --owner, or by its ID\n%s", name, strings.Join(owners, "\n"))
	}
	for id := range found {
		return id, nil
	}
	return channel.ID{}, nil
}

// findHidden looks into the sealed names of the channels that this identity takes part in, and if none is the one, of all that
// it sees: some see a hidden channel without taking part.
func (r *channeling) findHidden(ctx context.Context, name string, found map[channel.ID]string) error {
	visit := func(c client.Channel) error {
		if !c.Hidden {
			return nil
		}
		opened, err := r.session.Open(ctx, c.ID)
		if err == nil && opened.Name() == name {
			found[c.ID] = c.Owner
		}
		return err
	}
	err := r.each(ctx, client.ChannelFilter{Participant: r.session.Identity.DID, Owner: r.owner, Archived: true}, visit)
	if err != nil || len(found) > 0 {
		return err
	}
	return r.each(ctx, client.ChannelFilter{Owner: r.owner, Access: string(channel.Private), Archived: true}, visit)
}

// each visits all channels that a filter picks.
func (r *channeling) each(ctx context.Context, f client.ChannelFilter, visit func(client.Channel) error) error {
	return r.session.EachChannel(ctx, f, visit)
}

// plain takes an operation without keys through its steps. Where it is only written to a file, and ID and network are given,
// no node is asked.
func (r *channeling) plainly(ctx context.Context, name string, grave bool, build func(channel.Header) did.Object) error {
	defer r.close()
	if id, err := channel.ParseID(name); err == nil && r.offline() && (r.network.id != "" || r.network.genesis != "") {
		if err := r.start(ctx, false); err != nil {
			return err
		}
		if r.session.Identity.DID == "" {
			return usage("--keys is missing: who acts?")
		}
		body, err := r.session.BuildBlind(id, build)
		if err != nil {
			return err
		}
		_, err = r.finish(ctx, body, r.ring, r.finishFlags, grave)
		return err
	}
	return r.change(ctx, name, grave, func(_ context.Context, c *audit.Channel) (*audit.Change, error) {
		body, err := c.Build(build)
		return &audit.Change{Body: body}, err
	})
}

// change takes an operation through its steps: made anew as long as others are faster, and followed by the keys that belong
// to it.
func (r *channeling) change(ctx context.Context, name string, grave bool, build func(context.Context, *audit.Channel) (*audit.Change, error)) error {
	defer r.close()
	if len(r.keys.files) == 0 {
		return usage("--keys is missing: who acts?")
	}
	if err := r.enter(ctx, name); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		change, err := build(ctx, r.channel)
		if err != nil {
			return r.failed(err)
		}
		r.warn(change.Skipped)
		r.sealedTo(change.Sealed)
		_, err = r.finish(ctx, change.Body, r.ring, r.finishFlags, grave)
		if audit.Races(err) && attempt < audit.MaxAttempts {
			fmt.Fprintf(r.err, "weft: %s: making it anew\n", client.ProblemCode(err))
			if err := r.channel.Refresh(ctx); err != nil {
				return r.failed(err)
			}
			continue
		}
		if err != nil {
			return err
		}
		return r.complete(ctx, change)
	}
}

// complete sends the keys that belong to a change that counts.
func (r *channeling) complete(ctx context.Context, change *audit.Change) error {
	if r.offline() || r.wait == "none" {
		if len(change.Later) > 0 {
			fmt.Fprintf(r.err, "weft: %d more keys have to follow once this counts: weft channel rekey --missing\n", len(change.Later))
		}
		return nil
	}
	done, err := r.channel.Complete(ctx, change)
	r.warn(done.Skipped[min(len(change.Skipped), len(done.Skipped)):]) // the others were told before
	r.told(done)
	return r.failed(err)
}

func (r *channeling) told(done audit.Settled) {
	if done.Rekeys > 0 {
		fmt.Fprintf(r.err, "weft: somebody without the right to read held the key: new epoch %d\n", r.channel.Info.Epoch)
	}
	if done.Keyloads > 0 {
		fmt.Fprintf(r.err, "weft: keys sent to readers who missed them, in %d operations\n", done.Keyloads)
	}
}

func (r *channeling) warn(skipped []error) {
	for _, err := range skipped {
		fmt.Fprintf(r.err, "weft: without a key: %s\n", err)
	}
}

// sealedTo shows the keys themselves that something is sealed to, before it is signed: the operation names them by URLs alone, and
// what key stands behind one is what the node says.
func (r *channeling) sealedTo(keys []audit.ReaderKey) {
	seen := map[string]bool{}
	var lines []string
	for _, k := range keys {
		line := fmt.Sprintf("  %s  %s", did.PublicKey{Type: did.X25519, Bytes: k.Public}.Multikey(), printable([]byte(k.To)))
		if !seen[line] {
			seen[line], lines = true, append(lines, line)
		}
	}
	says := ""
	if r.session.Node != nil {
		says = "; whose they are the node says"
	}
	if len(lines) > 0 {
		fmt.Fprintf(r.err, "SEALED to %d keys%s:\n%s\n", len(lines), says, strings.Join(lines, "\n"))
	}
}

// optionalAt reads a time of a flag; an empty one is none.
func optionalAt(name, text string) (tangle.Time, error) {
	t, err := optionalTime(name, text)
	if err != nil || t == nil {
		return 0, err
	}
	return tangle.TimeOf(t.Truncate(time.Second)), nil
}

// errNothing says that a command was not told what to do.
var errNothing = errors.New("nothing to do")
