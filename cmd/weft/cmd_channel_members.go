package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/client/audit"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams/channel"
)

func newChannelRequestCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	var rights, roles []string
	note := ""
	c := &cobra.Command{
		Use:   "request NAME --keys FILE --right RIGHT",
		Short: "ask for rights in a channel",
		Long: `Asks for rights; an admin answers with 'weft channel authorize' or 'reject'. --note goes to
the owner and the other admins alone, sealed: put in it who you are, or a presentation
('weft vc present'). A long one, and one for a hidden channel, goes to the owner alone.`,
		Example: "  weft channel request incidents --keys ids.keys --right write --note presentation.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			asked := channel.Asked{Roles: slices.Sorted(slices.Values(roles)), Custody: channel.CustodySelf}
			if asked.Rights, err = parseRights("--right", rights); err != nil {
				return err
			}
			if asked.Rights == 0 && len(roles) == 0 {
				return usage("want at least one --right or --role")
			}
			return r.request(c.Context(), args[0], asked, note)
		},
	}
	r.addActing(c)
	f := c.Flags()
	f.StringArrayVar(&rights, "right", nil, "read, write, admin or audit; may be repeated")
	f.StringArrayVar(&roles, "role", nil, "a role of the channel; may be repeated")
	f.StringVar(&note, "note", "", "file with a note to the admins, at most 8 KiB (- for standard input)")
	return c
}

func (r *channeling) request(ctx context.Context, name string, asked channel.Asked, notePath string) error {
	var note []byte
	var err error
	if notePath != "" {
		if note, err = r.readInput(notePath, channel.MaxEnclosure); err != nil {
			return err
		}
	}
	agreement := func() string {
		if id := r.session.Identity; strings.HasPrefix(id.DID, "did:key:") {
			return id.Agreement()
		}
		return ""
	}
	if note == nil {
		return r.plainly(ctx, name, false, func(h channel.Header) did.Object {
			asked.Agreement = agreement()
			return channel.NewRequest(h, asked, nil)
		})
	}
	return r.change(ctx, name, false, func(ctx context.Context, c *audit.Channel) (*audit.Change, error) {
		asked.Agreement = agreement()
		return c.Request(ctx, asked, note)
	})
}

func newChannelRequestsCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	c := &cobra.Command{
		Use:   "requests NAME --keys FILE",
		Short: "list who asks for rights, with the notes that are sealed to you",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			defer r.close()
			if err := r.enter(c.Context(), args[0]); err != nil {
				return err
			}
			return r.failed(r.showRequests(c.Context()))
		},
	}
	r.addReading(c)
	return c
}

func (r *channeling) showRequests(ctx context.Context) error {
	list, err := r.channel.Subscriptions(ctx, channel.Requested)
	rows := [][]string{{"DID", "ASKS FOR", "SINCE", "CUSTODY", "NOTE"}}
	for _, p := range list {
		note := string(r.channel.Note(ctx, p))
		if r.json {
			r.printJSON(map[string]any{"request": p, "note": note})
			continue
		}
		asks := ""
		if p.Asked != nil {
			asks = strings.TrimSpace(p.Asked.Rights.String() + " " + strings.Join(p.Asked.Roles, " "))
		}
		rows = append(rows, []string{p.DID, asks, clock(p.Time), custodyOf(p), plain(note)})
	}
	r.table(rows)
	return err
}

// grantFlags are what authorize gives.
type grantFlags struct {
	rights, roles, tags []string
	from, until         string
	records             int64
	agreement, custody  string
}

func (g *grantFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&g.rights, "right", nil, "read, write, admin or audit; may be repeated")
	f.StringArrayVar(&g.roles, "role", nil, "a role of the channel; may be repeated")
	f.StringArrayVar(&g.tags, "tag", nil, "limit its own right to write to this tag; may be repeated")
	f.StringVar(&g.from, "from", "", "time from which it counts; default: at once")
	f.StringVar(&g.until, "until", "", "time at which it ends; needed for audit")
	f.Int64Var(&g.records, "max-records", 0, "how many records it may write; 0: any number")
	f.StringVar(&g.custody, "custody", "", "node: a node holds its keys (managed mode); default: as it asked, or self")
	f.StringVar(&g.agreement, "agreement", "", "X25519 multikey of a did:key, which has no document")
}

// grant is what the flags give to one participant.
func (g *grantFlags) grant(participant string) (out channel.Grant, err error) {
	out = channel.Grant{Participant: participant, MaxRecords: g.records, Roles: slices.Sorted(slices.Values(g.roles)), Tags: slices.Sorted(slices.Values(g.tags))}
	if out.Rights, err = parseRights("--right", g.rights); err != nil {
		return out, err
	}
	if out.ValidFrom, err = optionalAt("from", g.from); err != nil {
		return out, err
	}
	if out.ValidUntil, err = optionalAt("until", g.until); err != nil {
		return out, err
	}
	if strings.HasPrefix(participant, "did:key:") {
		out.Agreement = g.agreement
	}
	if out.Rights&channel.Audit != 0 && out.ValidUntil == 0 {
		return out, usage("audit has an end: --until TIME")
	}
	if g.custody != "" && g.custody != string(channel.CustodySelf) && g.custody != string(channel.CustodyNode) {
		return out, usage("--custody %s: want self or node", g.custody)
	}
	out.Custody = channel.Custody(g.custody)
	return out, nil
}

func newChannelAuthorizeCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	g := grantFlags{}
	all, past := false, false
	c := &cobra.Command{
		Use:   "authorize NAME [DID...] --keys FILE",
		Short: "give rights, and the keys that go with them",
		Long: `Gives exactly these rights, in place of whatever was given before, whether or not there is
a request. Readers get the present key in the same operation; where history begins with
the join, a new epoch begins instead. --all-requested gives each request what it asks for.`,
		Example: `  weft channel authorize incidents did:weft:… --keys soc.keys --right write
  weft channel authorize incidents did:weft:… --keys soc.keys --right audit --until 2027-01-01T00:00:00Z
  weft channel authorize incidents --all-requested --keys soc.keys`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) > 1) {
				return usage("want DIDs, or --all-requested")
			}
			if !all && len(g.rights)+len(g.roles) == 0 {
				return usage("want at least one --right or --role")
			}
			return r.authorize(c.Context(), args[0], args[1:], g, past)
		},
	}
	r.addActing(c)
	g.add(c)
	c.Flags().BoolVar(&all, "all-requested", false, "everybody whose request waits, with what it asks for")
	c.Flags().BoolVar(&past, "past-epochs", false, "auditors also get the keys of all epochs that are open here, whatever the channel's history")
	return c
}

func (r *channeling) authorize(ctx context.Context, name string, dids []string, g grantFlags, past bool) error {
	return r.change(ctx, name, true, func(ctx context.Context, c *audit.Channel) (change *audit.Change, err error) {
		var granted []channel.Grant
		for _, id := range dids {
			grant, err := g.grant(id)
			if err != nil {
				return nil, err
			}
			if stands, err := c.Subscription(ctx, id); err == nil && grant.Custody == "" {
				grant.Custody = channel.Custody(custodyOf(stands))
			}
			granted = append(granted, grant)
		}
		if len(dids) == 0 {
			if granted, err = r.requested(ctx, g); err != nil {
				return nil, err
			}
		}
		change, err = c.Authorize(ctx, granted)
		if err == nil && past {
			change.Past, err = auditors(granted)
		}
		return change, err
	})
}

// requested are grants of what requests ask for, within the flags, the oldest first and as many as fit.
func (r *channeling) requested(ctx context.Context, g grantFlags) (list []channel.Grant, err error) {
	waiting, err := r.channel.Subscriptions(ctx, channel.Requested)
	if err != nil {
		return nil, err
	}
	for _, p := range waiting {
		if p.Asked == nil || len(list) == channel.MaxGrants {
			continue
		}
		grant, err := g.grant(p.DID)
		if err != nil {
			return nil, err
		}
		if len(g.rights)+len(g.roles) == 0 {
			grant.Rights, grant.Roles = p.Asked.Rights, p.Asked.Roles
		}
		if grant.Agreement == "" {
			grant.Agreement = p.Asked.Agreement
		}
		if grant.Custody == "" {
			grant.Custody = p.Asked.Custody
		}
		list = append(list, grant)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("nobody asks: %w", errNothing)
	}
	if left := len(waiting) - len(list); left > 0 {
		fmt.Fprintf(r.err, "weft: %d requests are for another call: %d fit\n", left, len(list))
	}
	return list, nil
}

// auditors are whom the keys of past epochs may be given to.
func auditors(grants []channel.Grant) (list []audit.Reader, err error) {
	for _, g := range grants {
		if g.Rights&channel.Audit == 0 {
			return nil, usage("--past-epochs is for audit alone")
		}
		list = append(list, audit.Reader{DID: g.Participant, Agreement: g.Agreement})
	}
	return list, nil
}

func newChannelRejectCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	reason := ""
	c := &cobra.Command{
		Use:     "reject NAME DID... --keys FILE",
		Short:   "turn requests down",
		Example: "  weft channel reject incidents did:weft:… --keys soc.keys --reason not_a_party",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return r.plainly(c.Context(), args[0], false, func(h channel.Header) did.Object { return channel.NewReject(h, args[1:], reason) })
		},
	}
	r.addActing(c)
	c.Flags().StringVar(&reason, "reason", "", "a word that says why; all members see it")
	return c
}

func newChannelRevokeCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	reason := ""
	c := &cobra.Command{
		Use:   "revoke NAME DID... --keys FILE",
		Short: "take all rights; what comes after, the removed cannot open",
		Long: `Takes all rights at once, and opens a new epoch whose key goes to the remaining readers.
What the removed could read they keep.`,
		Example: "  weft channel revoke incidents did:weft:… --keys soc.keys --reason leg_ended",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return r.change(c.Context(), args[0], true, func(ctx context.Context, c *audit.Channel) (*audit.Change, error) {
				return c.Revoke(ctx, args[1:], reason)
			})
		},
	}
	r.addActing(c)
	c.Flags().StringVar(&reason, "reason", "", "a word that says why; all members see it")
	return c
}

func newChannelLeaveCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	c := &cobra.Command{
		Use:   "leave NAME --keys FILE",
		Short: "give up your own rights, or your request",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.plainly(c.Context(), args[0], true, channel.NewLeave)
		},
	}
	r.addActing(c)
	return c
}

func newChannelRekeyCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	reason := "scheduled"
	missing, due := false, false
	var to []string
	epoch := uint32(0)
	c := &cobra.Command{
		Use:   "rekey NAME --keys FILE",
		Short: "begin a new epoch, or send keys to readers who have none",
		Example: `  weft channel rekey incidents --keys soc.keys
  weft channel rekey incidents --keys soc.keys --missing
  weft channel rekey incidents --keys soc.keys --to did:weft:… --epoch 3`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(to) > 0 || missing || due {
				return r.sendKeys(c.Context(), args[0], to, epoch)
			}
			return r.change(c.Context(), args[0], false, func(ctx context.Context, c *audit.Channel) (*audit.Change, error) { return c.Rekey(ctx, reason) })
		},
	}
	r.addActing(c)
	f := c.Flags()
	f.StringVar(&reason, "reason", reason, "a word that says why")
	f.BoolVar(&missing, "missing", false, "no new epoch unless one is due: send the present key to readers who have none")
	f.BoolVar(&due, "due", false, "the same as --missing")
	f.StringArrayVar(&to, "to", nil, "send the key of --epoch to this reader; may be repeated")
	f.Uint32Var(&epoch, "epoch", 0, "with --to: which epoch; default: the present one")
	return c
}

func (r *channeling) sendKeys(ctx context.Context, name string, to []string, epoch uint32) error {
	defer r.close()
	if err := r.enter(ctx, name); err != nil {
		return err
	}
	if len(to) == 0 {
		done, err := r.channel.Settle(ctx)
		r.warn(done.Skipped)
		r.told(done)
		if err == nil && r.json {
			return r.printJSON(map[string]any{"rekeys": done.Rekeys, "keyloads": done.Keyloads})
		}
		return r.failed(err)
	}
	if epoch == 0 {
		epoch = r.channel.Info.Epoch
	}
	var readers []audit.Reader
	for _, id := range to {
		p, err := r.channel.Subscription(ctx, id)
		if err != nil {
			return r.failed(err)
		}
		readers = append(readers, audit.ReaderOf(p))
	}
	n, skipped, err := r.channel.KeyLoad(ctx, epoch, readers)
	r.warn(skipped)
	if err == nil && r.json {
		return r.printJSON(map[string]any{"epoch": epoch, "keyloads": n})
	}
	return r.failed(err)
}

func newChannelShareCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	p := protectionFlags{}
	until, file, words := "", "", ""
	c := &cobra.Command{
		Use:   "share NAME FILE --keys FILE --until TIME",
		Short: "make the key file of a shared reader: whoever gets it may read until then",
		Long: `Makes a did:key with a right to read that ends, and writes its key file. Hand the file over
with its passphrase; it logs in, expires and is revoked like anybody.`,
		Example: "  weft channel share incidents auditor.keys --keys soc.keys --until 2027-01-01T00:00:00Z --new-passphrase-file words.txt",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			end, err := optionalAt("until", until)
			if err != nil {
				return err
			}
			if end == 0 {
				return usage("--until is missing: a shared key has an end")
			}
			how, err := r.readProtection(p, words)
			if err != nil {
				return err
			}
			file = args[1]
			grant := channel.Grant{Rights: channel.Audit, ValidUntil: end}
			return r.share(c.Context(), args[0], file, how, grant)
		},
	}
	r.addActing(c)
	p.add(c.Flags())
	c.Flags().StringVar(&until, "until", "", "time at which the right ends")
	c.Flags().StringVar(&words, "new-passphrase-file", "", "encrypt the new key file with the passphrase in this file")
	return c
}

// share writes the key file first: a right that nobody has the key of is no harm, the other way round is a reader lost.
func (r *channeling) share(ctx context.Context, name, path string, how keyfile.Protection, grant channel.Grant) error {
	reader, err := newSharedReader(how)
	if err != nil {
		return err
	}
	defer reader.Close()
	for _, k := range reader.With(keyfile.Document) {
		if k.Algorithm == keyfile.X25519 {
			grant.Agreement = k.Public
		}
	}
	grant.Participant = reader.DID
	if err := reader.Create(path); err != nil {
		return err
	}
	fmt.Fprintf(r.err, "keys of %s written to %s\n", reader.DID, path)
	return r.change(ctx, name, true, func(ctx context.Context, c *audit.Channel) (*audit.Change, error) {
		return c.Authorize(ctx, []channel.Grant{grant})
	})
}

// newSharedReader makes a did:key that can also be sealed to.
func newSharedReader(how keyfile.Protection) (*keyfile.File, error) {
	file, err := keyfile.New("", how)
	if err != nil {
		return nil, err
	}
	for _, algorithm := range []keyfile.Algorithm{keyfile.Ed25519, keyfile.X25519} {
		k, err := file.Add(keyfile.Document, "", algorithm)
		if err == nil {
			err = file.Name(k.Public, "#"+k.Public)
		}
		if err != nil {
			return nil, err
		}
		if algorithm == keyfile.Ed25519 {
			file.DID = "did:key:" + k.Public
		}
	}
	return file, nil
}
