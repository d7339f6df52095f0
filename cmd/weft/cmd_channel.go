package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

func newChannelCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "channel",
		Short: "audit trails that their readers can decrypt and nobody else",
		Long: `A channel is an append-only list of records on the ledger. Its owner says who may read,
write, administer or audit it; every node enforces that, and no node can read a private
one: records are sealed and opened here, with the keys of a key file (--keys).

A channel is named by its ID or its name. Keys of readers are sealed anew by themselves
when somebody comes, goes or expires. With --genesis FILE no node is believed about whose
keys those are: the logs of their DIDs are checked here.

  weft channel create incidents --keys soc.keys
  weft channel authorize incidents did:weft:… --right write --keys soc.keys
  tail -F ids.log | weft channel write incidents --lines --keys ids.keys
  weft channel follow incidents --keys soc.keys`,
	}
	c.AddCommand(newChannelCreateCommand(s), newChannelListCommand(s), newChannelShowCommand(s),
		newChannelRequestCommand(s), newChannelRequestsCommand(s), newChannelAuthorizeCommand(s), newChannelRejectCommand(s),
		newChannelRevokeCommand(s), newChannelLeaveCommand(s), newChannelRekeyCommand(s), newChannelConfigureCommand(s),
		newChannelLockCommand(s), newChannelEraseCommand(s),
		newChannelWriteCommand(s), newChannelReadCommand(s), newChannelFollowCommand(s), newChannelValidateCommand(s),
		newChannelShareCommand(s), newChannelRestoreCommand(s), newChannelExportCommand(s), newChannelVerifyCommand(s))
	return c
}

// settingFlags are what create and configure say of a channel.
type settingFlags struct {
	description, status, history, custody string
	topics, tags, roles                   []string
	grace, retention                      int
}

func (x *settingFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&x.description, "description", "", "what the channel is for")
	f.StringVar(&x.status, "status", "", "a word for people, such as open or closed")
	f.StringVar(&x.history, "history", "", "what readers may open of the time before they joined: full, fromJoin or none")
	f.StringVar(&x.custody, "custody", "", "self: no participant's keys lie on a node; any: they may")
	f.StringArrayVar(&x.topics, "topic", nil, "TYPE=SOURCE, to find channels by; may be repeated")
	f.StringArrayVar(&x.tags, "tag", nil, "a tag that records may have; may be repeated")
	f.StringArrayVar(&x.roles, "role", nil, "NAME=RIGHT,RIGHT or NAME=RIGHT,RIGHT:TAG,TAG; may be repeated")
	f.IntVar(&x.grace, "grace", 0, "seconds in which records that were under way still count under the epoch before, at most 600")
	f.IntVar(&x.retention, "retention-days", 0, "days after which nodes drop records; 0: never")
}

// settings are those whose flags were given.
func (x *settingFlags) settings(c *cobra.Command) (s channel.Settings, err error) {
	given := c.Flags().Changed
	if given("description") {
		s.Description = &x.description
	}
	if given("status") {
		s.Status = &x.status
	}
	if given("history") {
		s.History = (*channel.History)(&x.history)
	}
	if given("custody") {
		s.Custody = (*channel.Custody)(&x.custody)
	}
	if given("tag") {
		s.Tags = &x.tags
	}
	if given("grace") {
		s.GraceSeconds = &x.grace
	}
	if given("retention-days") {
		s.RetentionDays = &x.retention
	}
	if given("topic") {
		if s.Topics, err = parseTopics(x.topics); err != nil {
			return s, err
		}
	}
	if given("role") {
		s.Roles, err = parseRoles(x.roles)
	}
	return s, err
}

func parseTopics(texts []string) (*[]channel.Topic, error) {
	list := []channel.Topic{}
	for _, text := range texts {
		kind, source, ok := strings.Cut(text, "=")
		if !ok || kind == "" || source == "" {
			return nil, usage("--topic %s: want TYPE=SOURCE", text)
		}
		list = append(list, channel.Topic{Type: kind, Source: source})
	}
	return &list, nil
}

func parseRoles(texts []string) (*map[string]channel.Role, error) {
	list := map[string]channel.Role{}
	for _, text := range texts {
		name, rest, ok := strings.Cut(text, "=")
		words, tags, _ := strings.Cut(rest, ":")
		rights, err := parseRights("--role", strings.Split(words, ","))
		if !ok || name == "" || err != nil {
			return nil, usage("--role %s: want NAME=RIGHT,RIGHT or NAME=RIGHT,RIGHT:TAG,TAG, with rights read and write", text)
		}
		role := channel.Role{Rights: rights}
		if tags != "" {
			role.Tags = slices.Sorted(slices.Values(strings.Split(tags, ",")))
		}
		list[name] = role
	}
	return &list, nil
}

func parseRights(flag string, words []string) (rights channel.Rights, err error) {
	for _, word := range words {
		switch word {
		case "read":
			rights |= channel.Read
		case "write":
			rights |= channel.Order
		case "admin":
			rights |= channel.Admin
		case "audit":
			rights |= channel.Audit
		default:
			return 0, usage("%s %s: want read, write, admin or audit", flag, word)
		}
	}
	return rights, nil
}

func newChannelCreateCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	x := settingFlags{}
	public, hidden, audited := false, false, false
	var grants, visible []string
	c := &cobra.Command{
		Use:   "create NAME --keys FILE",
		Short: "make a channel; its ID is printed",
		Long: `Makes a private channel: its key is made here, sealed to your own key and to those that
--grant lets read. --public makes one that everybody may read, --hidden a private one
whose name too is for participants alone.`,
		Example: `  weft channel create incidents --keys soc.keys --description 'alerts of the security tools' --audit
  weft channel create SHP-001 --keys shipper.keys --tag customs --role 'customs=read,write:customs' --grant did:weft:…=read`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t := audit.Creation{Visible: visible}
			settings, err := x.settings(c)
			if err != nil {
				return err
			}
			t.Settings, t.Access, t.Profile = settings, channel.Private, channel.Stream
			if t.Grants, err = parseGrants(grants); err != nil {
				return err
			}
			if public {
				t.Access = channel.Public
			}
			if audited {
				t.Profile = channel.AuditProfile
			}
			switch {
			case public && hidden:
				return usage("a channel is public or hidden, not both")
			case len(visible) > 0 && !hidden:
				return usage("--visible is for --hidden channels")
			case audited && t.Settings.Description == nil:
				return usage("an audit channel says what it is for: --description")
			}
			if t.Settings.Name = &args[0]; hidden {
				t.Hide()
			}
			return r.create(c.Context(), t)
		},
	}
	r.addActing(c)
	x.add(c)
	f := c.Flags()
	f.BoolVar(&public, "public", false, "readable by everybody who may read the node")
	f.BoolVar(&hidden, "hidden", false, "name, description, topics and status are sealed too")
	f.BoolVar(&audited, "audit", false, "name, description and topics never change, retention only grows")
	f.StringArrayVar(&grants, "grant", nil, "DID=RIGHT,RIGHT of a participant; may be repeated")
	f.StringArrayVar(&visible, "visible", nil, "further DID that sees a hidden channel; may be repeated")
	return c
}

// parseGrants reads DID=RIGHT,RIGHT.
func parseGrants(texts []string) (list []channel.Grant, err error) {
	for _, text := range texts {
		at := strings.LastIndexByte(text, '=')
		if at < 1 {
			return nil, usage("--grant %s: want DID=RIGHT,RIGHT", text)
		}
		rights, err := parseRights("--grant", strings.Split(text[at+1:], ","))
		if err != nil {
			return nil, err
		}
		list = append(list, channel.Grant{Participant: text[:at], Rights: rights})
	}
	return list, nil
}

func (r *channeling) create(ctx context.Context, t audit.Creation) error {
	defer r.close()
	if len(r.keys.files) == 0 {
		return usage("--keys is missing: whose channel?")
	}
	if err := r.start(ctx, !r.offline()); err != nil {
		return err
	}
	change, id, err := r.session.Create(ctx, t)
	if err != nil {
		return r.failed(err)
	}
	r.warn(change.Skipped)
	r.sealedTo(change.Sealed)
	if _, err = r.finish(ctx, change.Body, r.ring, r.finishFlags, false); err != nil {
		return err
	}
	if r.offline() {
		if !r.json && r.finishFlags.draft != "-" && r.finishFlags.out != "-" {
			r.print("channel   %s\n", id)
		}
		return nil
	}
	if len(change.Later) == 0 || r.wait == "none" {
		return nil
	}
	if r.channel, err = r.session.Open(ctx, id); err != nil {
		return r.failed(err)
	}
	return r.complete(ctx, change)
}

func newChannelListCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	f := client.ChannelFilter{}
	mine, topic := false, ""
	c := &cobra.Command{
		Use:   "list [TEXT]",
		Short: "list the channels that you can see",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			defer r.close()
			if len(args) > 0 {
				f.Text = args[0]
			}
			f.Owner = r.owner
			f.TopicType, f.TopicSource, _ = strings.Cut(topic, "=")
			if err := r.start(c.Context(), true); err != nil {
				return err
			}
			if mine {
				f.Participant = r.session.Identity.DID
			}
			return r.failed(r.list(c.Context(), f))
		},
	}
	r.addReading(c)
	fs := c.Flags()
	fs.BoolVar(&mine, "mine", false, "only those that you take part in")
	fs.StringVar(&f.Participant, "participant", "", "only those that this DID takes part in")
	fs.StringVar(&f.Access, "access", "", "private or public")
	fs.StringVar(&f.Status, "status", "", "only with this status")
	fs.StringVar(&topic, "topic", "", "TYPE or TYPE=SOURCE")
	fs.BoolVar(&f.Archived, "archived", false, "also archived ones")
	return c
}

func (r *channeling) list(ctx context.Context, f client.ChannelFilter) error {
	rows := [][]string{{"CHANNEL", "NAME", "ACCESS", "RECORDS", "LAST", "RIGHTS", "OWNER"}}
	err := r.each(ctx, f, func(c client.Channel) error {
		name := c.Name
		if c.Hidden && r.session.Identity.DID != "" {
			if opened, err := r.session.Open(ctx, c.ID); err == nil {
				name = opened.Name()
			}
		}
		if c.Name = name; r.json {
			return r.printJSON(c)
		}
		rows = append(rows, []string{
			c.ID.String(), printable([]byte(name)), string(c.Access), strconv.FormatUint(c.LastSeq, 10), clock(c.LastRecordAt), c.Rights.String(), c.Owner,
		})
		return nil
	})
	r.table(rows)
	if err == nil && r.session.Identity.DID == "" && !r.json {
		fmt.Fprintln(r.err, "only public ones: --keys FILE lists what its DID may know of")
	}
	return err
}

func newChannelShowCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	participants, log := false, false
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "show a channel, its participants or everything that ever happened in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			defer r.close()
			if err := r.enter(c.Context(), args[0]); err != nil {
				return err
			}
			switch {
			case participants:
				return r.failed(r.showParticipants(c.Context(), ""))
			case log:
				return r.failed(r.showEvents(c.Context()))
			}
			return r.showChannel()
		},
	}
	r.addReading(c)
	c.Flags().BoolVar(&participants, "participants", false, "who is in it, with what rights; all for admins and auditors")
	c.Flags().BoolVar(&log, "events", false, "all events, with the chain of heads and the signatures checked here")
	return c
}

func (r *channeling) showChannel() error {
	c := r.channel.Info
	if r.json {
		return r.printJSON(map[string]any{"channel": c, "profile": r.channel.Profile, "epochsOpened": len(r.channel.Keys)})
	}
	description := c.Description
	if text := textIn(r.channel.Profile, "description"); text != "" {
		description = text
	}
	rows := [][]string{
		{"channel", c.ID.String()}, {"name", printable([]byte(r.channel.Name()))}, {"description", printable([]byte(description))},
		{"owner", c.Owner}, {"access", string(c.Access)}, {"profile", string(c.Profile)}, {"status", printable([]byte(c.Status))},
		{"history", string(c.History)}, {"tags", strings.Join(c.Tags, " ")}, {"lock", lockWords(c)},
		{"events", strconv.FormatUint(c.LastEvent+1, 10)}, {"records", strconv.FormatUint(c.LastSeq, 10)}, {"head", c.Head.String()},
		{"last record", clock(c.LastRecordAt)}, {"my rights", c.Rights.String()},
	}
	if c.Access == channel.Private {
		opened := 0
		for _, e := range r.channel.Epochs {
			if _, ok := r.channel.Keys[e.Number]; ok {
				opened++
			}
		}
		rows = append(rows, []string{"epoch", fmt.Sprintf("%d; %d of %d keys open here", c.Epoch, opened, len(r.channel.Epochs))})
	}
	if c.RekeyDue {
		rows = append(rows, []string{"rekey due", "somebody without the right to read holds the present key: weft channel rekey"})
	}
	r.table(slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" }))
	return nil
}

func lockWords(c client.Channel) string {
	if c.Lock == channel.Until {
		return "until " + clock(c.LockUntil)
	}
	return string(c.Lock)
}

func (r *channeling) showEvents(ctx context.Context) error {
	covered, err := r.channel.Events(ctx, func(e client.ChannelEvent, _ *channel.Operation) error {
		if r.json {
			return r.printJSON(e)
		}
		r.print("%d  %s  %-9s  %s  %s\n", e.Event, clock(&e.Time), e.Op, numberWords(e.Seq), e.Actor)
		return nil
	})
	if err == nil && !r.json {
		fmt.Fprintf(r.err, "the heads follow from one another; up to event %d signatures say that nothing was left out\n", covered)
	}
	return err
}

func (r *channeling) showParticipants(ctx context.Context, state channel.State) error {
	rows := [][]string{{"DID", "STATE", "RIGHTS", "UNTIL", "KEY", "CUSTODY"}}
	list, err := r.channel.Subscriptions(ctx, state)
	for _, p := range list {
		if r.json {
			r.printJSON(p)
		}
		rights, until, key := p.Rights.String(), "-", "-"
		if p.Asked != nil {
			rights = p.Asked.Rights.String() + " " + strings.Join(p.Asked.Roles, " ")
		}
		if p.Grant != nil {
			until = clock(p.Grant.ValidUntil)
		}
		if p.KeyMissing {
			key = "missing"
		}
		rows = append(rows, []string{p.DID, string(p.State), strings.TrimSpace(rights), until, key, custodyOf(p)})
	}
	r.table(rows)
	return err
}

// custodyOf is what a request or grant says of its participant's keys: node means that a node reads what the participant reads.
func custodyOf(p client.Subscription) string {
	switch {
	case p.Grant != nil:
		return string(p.Grant.Custody)
	case p.Asked != nil:
		return string(p.Asked.Custody)
	}
	return ""
}

func newChannelConfigureCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	x := settingFlags{}
	name, owner := "", ""
	archived, reveal := false, false
	c := &cobra.Command{
		Use:   "configure NAME --keys FILE",
		Short: "change settings, or hand the channel over",
		Example: `  weft channel configure incidents --keys soc.keys --status closed
  weft channel configure incidents --keys soc.keys --to-owner did:weft:…`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			set, err := x.settings(c)
			if err != nil {
				return err
			}
			given := c.Flags().Changed
			if given("name") {
				set.Name = &name
			}
			if given("to-owner") {
				set.Owner = &owner
			}
			if given("archived") {
				set.Archived = &archived
			}
			if hidden := false; reveal {
				set.Hidden = &hidden
			}
			if set == (channel.Settings{}) {
				return usage("nothing to change: see --help")
			}
			return r.configure(c.Context(), args[0], set, given("to-owner") || reveal)
		},
	}
	r.addActing(c)
	x.add(c)
	f := c.Flags()
	f.StringVar(&name, "name", "", "a new name")
	f.StringVar(&owner, "to-owner", "", "an admin's DID, who becomes the owner")
	f.BoolVar(&archived, "archived", false, "leave it out of lists; --archived=false takes it back")
	f.BoolVar(&reveal, "reveal", false, "make a hidden channel visible for good; with --name")
	return c
}

// configure needs to know of a channel only whether it is hidden; one that is written about offline is taken not to be.
func (r *channeling) configure(ctx context.Context, name string, set channel.Settings, grave bool) error {
	if _, err := channel.ParseID(name); err == nil && r.offline() {
		return r.plainly(ctx, name, grave, func(h channel.Header) did.Object { return channel.NewConfigure(h, set) })
	}
	return r.change(ctx, name, grave, func(_ context.Context, c *audit.Channel) (*audit.Change, error) {
		body, err := c.Configure(set)
		return &audit.Change{Body: body}, err
	})
}

func newChannelLockCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	until, none, forever := "", false, false
	c := &cobra.Command{
		Use:   "lock NAME --keys FILE",
		Short: "take no more records: until a time, for good, or no longer",
		Example: `  weft channel lock incidents --keys soc.keys --until 2027-01-01T00:00:00Z
  weft channel lock incidents --keys soc.keys --forever`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			mode := channel.Until
			at, err := optionalAt("until", until)
			if err != nil {
				return err
			}
			n := 0
			for given, m := range map[*bool]channel.LockMode{&none: channel.Unlocked, &forever: channel.Forever} {
				if *given {
					mode, n = m, n+1
				}
			}
			if at != 0 {
				n++
			}
			if n != 1 {
				return usage("want one of --until TIME, --forever and --none")
			}
			return r.plainly(c.Context(), args[0], forever, func(h channel.Header) did.Object { return channel.NewLock(h, mode, at) })
		},
	}
	r.addActing(c)
	f := c.Flags()
	f.StringVar(&until, "until", "", "time until which it is locked")
	f.BoolVar(&forever, "forever", false, "for good; nobody can undo that")
	f.BoolVar(&none, "none", false, "end a lock")
	return c
}

func newChannelEraseCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	reason, show := "", false
	c := &cobra.Command{
		Use:   "erase NAME SEQ --keys FILE",
		Short: "have every node delete a record; copies that readers have made stay",
		Long: `Puts a tombstone on a record: all nodes delete its content and refuse it from then on; its
place in the chain stays, and every other proof stays valid. What readers have copied
nobody can recall. --receipt shows which nodes have stated that it is gone.`,
		Example: "  weft channel erase SHP-001 42 --keys shipper.keys --reason gdpr_art17",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[1], 10, 63)
			if err != nil || seq == 0 {
				return usage("%s: want the number of a record", args[1])
			}
			if show {
				return r.showErasure(c.Context(), args[0], seq)
			}
			return r.plainly(c.Context(), args[0], true, func(h channel.Header) did.Object { return channel.NewErase(h, seq, reason) })
		},
	}
	r.addActing(c)
	c.Flags().StringVar(&reason, "reason", "erased", "a word that says why")
	c.Flags().BoolVar(&show, "receipt", false, "show the proof that it is erased, and change nothing")
	return c
}

func (r *channeling) showErasure(ctx context.Context, name string, seq uint64) error {
	defer r.close()
	if err := r.enter(ctx, name); err != nil {
		return err
	}
	e, err := r.channel.Erasure(ctx, seq)
	if err != nil {
		return r.failed(err)
	}
	if r.json {
		return r.printJSON(e.Raw)
	}
	rows := [][]string{{"record", strconv.FormatUint(e.Seq, 10)}, {"erased by", e.By}, {"reason", e.Reason}, {"at", clock(e.Time)}}
	for _, s := range e.Statements {
		rows = append(rows, []string{"deleted at", s.Member.String()})
	}
	for _, m := range e.Unanswered {
		rows = append(rows, []string{"no answer", m.String()})
	}
	r.table(rows)
	return nil
}
