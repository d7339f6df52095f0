package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/trust"
)

func newTrustCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "trust",
		Short: "who may attest what: federations, grants, and whom this node believes",
		Long: `A federation has roots, who grant others the right to attest properties, or to grant it
on within narrower bounds. Everything is on the ledger, signed, with its time: whether
somebody could attest something then has one answer on every node. Whether to believe a
federation at all is each node's own choice: 'weft trust believe'.

A property is a path with one constraint:
  person.age_over=16,18,21        these values; numbers are integers
  person.income=0..100000         a range of integers
  person.country^=DE              texts that begin so; $= that end so, ~= that hold it
  person.*=any                    anything below person`,
	}
	c.AddCommand(newTrustCreateCommand(s), newTrustGrantCommand(s), newTrustRevokeCommand(s), newTrustEvaluateCommand(s), newTrustShowCommand(s),
		newTrustRootCommand(s), newTrustPropertyCommand(s), newTrustThresholdCommand(s), newTrustBelieveCommand(s))
	return c
}

func newTrustCreateCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	terms := trust.FederationTerms{}
	var properties []string
	c := &cobra.Command{
		Use:     "create NAME --keys FILE --root DID --property PROPERTY",
		Short:   "make a federation; its ID is printed",
		Example: "  weft trust create 'KYC of the harbour' --keys regulator.keys --root did:weft:… --property 'person.age_over=16,18,21'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			terms.Name = args[0]
			if terms.Properties, err = parseProperties(properties); err != nil {
				return err
			}
			return a.act(c.Context(), false, func(h operation.Header) (did.Object, error) {
				if len(terms.Roots) == 0 {
					terms.Roots = []string{h.Actor}
				}
				return trust.NewFederation(h, terms), nil
			})
		},
	}
	a.add(c)
	f := c.Flags()
	f.StringArrayVar(&terms.Roots, "root", nil, "DID of a root; may be repeated; default: the actor alone")
	f.IntVar(&terms.Threshold, "threshold", 1, "how many roots decide on roots, properties and the threshold")
	f.IntVar(&terms.MaxDepth, "max-depth", 1, "how many times the right to grant may be handed on, at most 4")
	f.StringArrayVar(&properties, "property", nil, "what may be attested; may be repeated")
	return c
}

func newTrustGrantCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	terms := trust.GrantTerms{}
	var properties []string
	from, until, kind := "", "", ""
	c := &cobra.Command{
		Use:     "grant FEDERATION SUBJECT --keys FILE --property PROPERTY --until TIME",
		Short:   "let a DID attest properties, or grant that on; the grant's ID is printed",
		Example: "  weft trust grant zQm… did:weft:… --keys regulator.keys --property 'person.age_over=18' --until 2027-12-01T00:00:00Z",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) (err error) {
			terms.Federation, terms.Subject, terms.Kind = args[0], args[1], trust.Kind(kind)
			if terms.Properties, err = parseProperties(properties); err != nil {
				return err
			}
			now := time.Now()
			if terms.ValidFrom, err = timeFlag("from", from, now); err != nil {
				return err
			}
			if terms.ValidUntil, err = timeFlag("until", until, now.AddDate(1, 0, 0)); err != nil {
				return err
			}
			return a.act(c.Context(), false, func(h operation.Header) (did.Object, error) { return trust.NewGrant(h, terms), nil })
		},
	}
	a.add(c)
	f := c.Flags()
	f.StringVar(&terms.Under, "under", trust.Root, "the grant that gives the right to grant; root for a root")
	f.StringVar(&kind, "kind", string(trust.Attest), "attest, or accredit: to grant on")
	f.IntVar(&terms.MaxDepth, "max-depth", 0, "with accredit: how many levels below, at least 1")
	f.StringArrayVar(&properties, "property", nil, "what; may be repeated")
	f.StringVar(&from, "from", "", "time from which it counts; default: now")
	f.StringVar(&until, "until", "", "time until which it counts; default: a year")
	return c
}

// revokingFlags are common to all revocations.
type revokingFlags struct {
	cascade bool
	at      string
}

func (r *revokingFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&r.cascade, "cascade", false, "with everything ever stated or granted through it; else what was made before stands")
	c.Flags().StringVar(&r.at, "at", "", "time from which it counts; default: now")
}

func (r *revokingFlags) terms() (trust.Revoking, error) {
	at, err := timeFlag("at", r.at, time.Now())
	return trust.Revoking{Cascade: r.cascade, EffectiveAt: at}, err
}

func newTrustRevokeCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	r := revokingFlags{}
	c := &cobra.Command{
		Use:     "revoke GRANT --keys FILE",
		Short:   "take a grant back",
		Example: "  weft trust revoke zQm… --keys regulator.keys --cascade",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			terms, err := r.terms()
			if err != nil {
				return err
			}
			return a.act(c.Context(), true, func(h operation.Header) (did.Object, error) { return trust.NewRevoke(h, args[0], terms), nil })
		},
	}
	a.add(c)
	r.add(c)
	return c
}

func newTrustRootCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "change the roots of a federation: the other roots sign, as many as its threshold says",
		Long:  "With several roots, draft the operation, let each sign with 'weft did sign', then submit it.",
	}
	revoking := revokingFlags{}
	add := rootCommand(s, "add", "give a DID a root's voice", nil, func(h operation.Header, federation, root string, _ trust.Revoking) did.Object {
		return trust.NewAddRoot(h, federation, root)
	})
	revoke := rootCommand(s, "revoke", "take a root's voice", &revoking, trust.NewRevokeRoot)
	reinstate := rootCommand(s, "reinstate", "give it back", nil, func(h operation.Header, federation, root string, _ trust.Revoking) did.Object {
		return trust.NewReinstateRoot(h, federation, root)
	})
	c.AddCommand(add, revoke, reinstate)
	return c
}

func rootCommand(s *shell, verb, short string, r *revokingFlags, build func(operation.Header, string, string, trust.Revoking) did.Object) *cobra.Command {
	a := &acting{shell: s}
	c := &cobra.Command{
		Use:   verb + " FEDERATION DID --keys FILE",
		Short: short,
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			terms, err := cmp.Or(r, &revokingFlags{}).terms()
			if err != nil {
				return err
			}
			return a.act(c.Context(), true, func(h operation.Header) (did.Object, error) { return build(h, args[0], args[1], terms), nil })
		},
	}
	a.add(c)
	if r != nil {
		r.add(c)
	}
	return c
}

func newTrustPropertyCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "property",
		Short: "change what a federation speaks of: roots sign, as many as its threshold says",
	}
	c.AddCommand(newPropertyAddCommand(s), newPropertyRevokeCommand(s))
	return c
}

func newPropertyAddCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	c := &cobra.Command{
		Use:   "add FEDERATION PROPERTY --keys FILE",
		Short: "let a federation speak of one more property",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := parseProperty(args[1])
			if err != nil {
				return err
			}
			return a.act(c.Context(), false, func(h operation.Header) (did.Object, error) { return trust.NewAddProperty(h, args[0], p), nil })
		},
	}
	a.add(c)
	return c
}

func newPropertyRevokeCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	r := revokingFlags{}
	c := &cobra.Command{
		Use:   "revoke FEDERATION PATH --keys FILE",
		Short: "end the property of a path",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			terms, err := r.terms()
			if err != nil {
				return err
			}
			return a.act(c.Context(), true, func(h operation.Header) (did.Object, error) {
				return trust.NewRevokeProperty(h, args[0], args[1], terms), nil
			})
		},
	}
	a.add(c)
	r.add(c)
	return c
}

func newTrustThresholdCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	c := &cobra.Command{
		Use:   "threshold FEDERATION NUMBER --keys FILE",
		Short: "change how many roots decide",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return usage("%s: want a number", args[1])
			}
			return a.act(c.Context(), true, func(h operation.Header) (did.Object, error) { return trust.NewSetThreshold(h, args[0], n), nil })
		},
	}
	a.add(c)
	return c
}

func newTrustEvaluateCommand(s *shell) *cobra.Command {
	q := client.TrustQuestion{}
	at, asOf := "", ""
	c := &cobra.Command{
		Use:   "evaluate FEDERATION DID PATH=VALUE",
		Short: "ask whether a DID may attest a value, then and now",
		Long:  "Exit code 0: it may. 1: it may not.",
		Example: `  weft trust evaluate zQm… did:weft:… person.age_over=18
  weft trust evaluate zQm… did:weft:… person.country=DE --at 2026-12-01T00:00:00Z`,
		Args: cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) (err error) {
			path, value, ok := strings.Cut(args[2], "=")
			if !ok {
				return usage("%s: want PATH=VALUE", args[2])
			}
			q.Federation, q.Attester, q.Property, q.Value = args[0], args[1], path, valueOf(value)
			if q.At, err = optionalTime("at", at); err != nil {
				return err
			}
			if q.AsOf, err = optionalTime("as-of", asOf); err != nil {
				return err
			}
			return s.evaluate(c.Context(), q)
		},
	}
	f := c.Flags()
	f.StringVar(&at, "at", "", "when it was attested; default: now")
	f.StringVar(&asOf, "as-of", "", "by what was known then; default: now")
	f.BoolVar(&q.Both, "both", false, "then and now")
	return c
}

func optionalTime(name, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usage("--%s %s: want a time such as 2026-12-01T00:00:00Z", name, text)
	}
	return &t, nil
}

func (s *shell) evaluate(ctx context.Context, q client.TrustQuestion) error {
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	a, err := node.EvaluateTrust(ctx, q)
	if err != nil {
		return remote(node, err)
	}
	if s.json {
		s.printJSON(a)
	}
	rows := [][]string{{"trusted", strconv.FormatBool(a.Trusted)}, {"then", strconv.FormatBool(a.AtIssuance)}, {"now", strconv.FormatBool(a.Now)}}
	for _, link := range a.Path {
		rows = append(rows, []string{link.Kind, link.DID, link.Grant})
	}
	if a.Trusted && !a.Believed {
		rows = append(rows, []string{"believed", "no: this node does not believe the federation ('weft trust believe')"})
	}
	if a.Reason != "" {
		rows = append(rows, []string{"reason", a.Reason})
	}
	s.table(rows)
	if !a.Trusted {
		return fmt.Errorf("not trusted: %s", cmp.Or(a.Reason, "no reason given"))
	}
	return nil
}

func newTrustShowCommand(s *shell) *cobra.Command {
	graph := false
	c := &cobra.Command{
		Use:   "show [FEDERATION]",
		Short: "list the federations, or show one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			return remote(node, s.showTrust(c.Context(), node, args, graph))
		},
	}
	c.Flags().BoolVar(&graph, "graph", false, "with all grants")
	return c
}

func (s *shell) showTrust(ctx context.Context, node *client.Client, args []string, graph bool) error {
	if len(args) == 0 {
		return s.listFederations(ctx, node)
	}
	if graph {
		return s.listGrants(ctx, node, args[0])
	}
	f, err := node.Federation(ctx, args[0])
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(f)
	}
	raw, err := json.MarshalIndent(f, "", "  ")
	s.print("%s\n", raw)
	return err
}

func (s *shell) listGrants(ctx context.Context, node *client.Client, federation string) error {
	rows := [][]string{{"GRANT", "KIND", "UNDER", "SUBJECT", "UNTIL", "REVOKED"}}
	graph := func(ctx context.Context, p client.Page) (client.List[client.Grant], error) {
		return node.TrustGraph(ctx, federation, p)
	}
	err := client.All(ctx, client.Page{}, graph, func(g client.Grant) error {
		if s.json {
			return s.printJSON(g)
		}
		rows = append(rows, []string{g.ID, g.Kind, g.Under, printable([]byte(g.Subject)), clock(&g.ValidUntil), string(g.Revoked)})
		return nil
	})
	if err == nil {
		s.table(rows)
	}
	return err
}

func (s *shell) listFederations(ctx context.Context, node *client.Client) error {
	rows := [][]string{{"FEDERATION", "THRESHOLD", "NAME"}}
	err := client.All(ctx, client.Page{}, node.Federations, func(f client.Federation) error {
		if s.json {
			return s.printJSON(f)
		}
		rows = append(rows, []string{f.ID, strconv.Itoa(f.Threshold), printable([]byte(f.Name))})
		return nil
	})
	if err == nil {
		s.table(rows)
	}
	return err
}

func newTrustBelieveCommand(s *shell) *cobra.Command {
	r := client.TrustRoots{}
	none := false
	c := &cobra.Command{
		Use:   "believe",
		Short: "show or set whom this node believes (its operator's choice)",
		Example: `  weft trust believe --dir weft
  weft trust believe --dir weft --federation zQm… --did did:weft:…`,
		RunE: func(c *cobra.Command, _ []string) error {
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			var now client.TrustRoots
			if len(r.DIDs)+len(r.Federations) > 0 || none {
				now, err = node.SetTrustRoots(c.Context(), r)
			} else {
				now, err = node.TrustRoots(c.Context())
			}
			if err != nil {
				return remote(node, err)
			}
			return s.showTrustRoots(now)
		},
	}
	c.Flags().StringArrayVar(&r.DIDs, "did", nil, "believe this DID; may be repeated; replaces the present list")
	c.Flags().StringArrayVar(&r.Federations, "federation", nil, "believe this federation; may be repeated")
	c.Flags().BoolVar(&none, "none", false, "believe nobody")
	return c
}

func (s *shell) showTrustRoots(r client.TrustRoots) error {
	if s.json {
		return s.printJSON(r)
	}
	rows := [][]string{}
	for _, id := range r.DIDs {
		rows = append(rows, []string{"did", id})
	}
	for _, id := range r.Federations {
		rows = append(rows, []string{"federation", id})
	}
	s.table(rows)
	return nil
}

func parseProperties(texts []string) (list []trust.Property, err error) {
	for _, text := range texts {
		p, err := parseProperty(text)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// parseProperty reads PATH and one constraint, as the help of trust says.
func parseProperty(text string) (p trust.Property, err error) {
	at := strings.IndexByte(text, '=')
	if at < 1 {
		return p, usage("property %s: want a path and a constraint, such as person.age_over=16,18,21", text)
	}
	path, constraint := text[:at], text[at+1:]
	switch last := path[at-1]; last {
	case '^', '$', '~':
		path = path[:at-1]
		p.Path = path
		for sign, to := range map[byte]*string{'^': &p.StartsWith, '$': &p.EndsWith, '~': &p.Contains} {
			if sign == last {
				*to = constraint
			}
		}
		return p, notEmpty(text, constraint)
	}
	p.Path = path
	if constraint == "any" {
		p.Any = true
		return p, nil
	}
	if low, high, ok := strings.Cut(constraint, ".."); ok {
		r := &trust.Range{}
		var err1, err2 error
		r.Min, err1 = strconv.ParseInt(low, 10, 64)
		r.Max, err2 = strconv.ParseInt(high, 10, 64)
		if errors.Join(err1, err2) == nil {
			p.Range = r
			return p, nil
		}
	}
	for value := range strings.SplitSeq(constraint, ",") {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			p.Values = append(p.Values, trust.Integer(n))
		} else {
			p.Values = append(p.Values, trust.Text(value))
		}
	}
	return p, notEmpty(text, constraint)
}

func notEmpty(text, constraint string) error {
	if constraint == "" {
		return usage("property %s: the constraint is empty; =any allows everything", text)
	}
	return nil
}

// valueOf is an integer where it looks like one.
func valueOf(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return text
}
