// Package agecheck is the story of an age check at an e-shop, told with package client against a network that runs: a
// regulator accredits a bank, the bank issues credentials to Sarah and Tom, a shop asks whether its customer is of age and
// learns nothing else. Then everything that can be wrong with a presentation is tried, and each fails exactly its own check.
//
// It is an example, compiled and tested with everything else, and what 'weft testnet demo' shows. Every key is made here and
// stays here; nodes get signed operations and signed credentials only.
package agecheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weft/client"
)

// Tour is one run of the story.
type Tour struct {
	Nodes []*client.Client                 // of different members where there are several
	Say   func(format string, args ...any) // a line for people

	story
}

// story is what the steps leave for the ones after them.
type story struct {
	wallet                  wallet
	regulator, bank, lender *organisation
	sarah, tom              person
	federation              string
	list                    string // status list of the bank
	shop                    string // domain
}

// Run tells the story. An error means that something was not as it should be.
func (t *Tour) Run(ctx context.Context) error {
	t.shop = "https://shop.example"
	for _, step := range []func(context.Context) error{t.found, t.accredit, t.issue, t.sarahBuys, t.othersFail, t.revoke} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// node is the i-th member's.
func (t *Tour) node(i int) *client.Client { return t.Nodes[i%len(t.Nodes)] }

// found makes the DIDs of the organisations, each through another member's node.
func (t *Tour) found(ctx context.Context) (err error) {
	for i, o := range []**organisation{&t.regulator, &t.bank, &t.lender} {
		if *o, err = t.wallet.newOrganisation(ctx, t.node(i)); err != nil {
			return err
		}
	}
	t.sarah, t.tom = t.wallet.newPerson(), t.wallet.newPerson()
	t.Say("regulator %s", t.regulator.did)
	t.Say("bank      %s", t.bank.did)
	t.Say("sarah     %s (a did:key: nothing about her is on the ledger)", t.sarah.did)
	resolved, err := t.node(2).Resolve(ctx, t.bank.did, client.ResolveOptions{})
	if err != nil {
		return err
	}
	t.Say("another member's node resolves the bank: version %.20s…", resolved.Version.VersionID)
	return nil
}

// accredit roots a federation in the regulator, and lets the bank attest ages. The lender gets nothing.
func (t *Tour) accredit(ctx context.Context) (err error) {
	if t.federation, err = t.regulator.newFederation(ctx, "Age checks", "person.age_over", 16, 18, 21); err != nil {
		return err
	}
	if err = t.regulator.accredit(ctx, t.federation, t.bank.did, "person.age_over", 16, 18); err != nil {
		return err
	}
	t.list, err = t.bank.newStatusList(ctx)
	t.Say("federation %.16s… lets the bank attest person.age_over 16 and 18, and nothing else", t.federation)
	return err
}

// issue is what the bank does at its counter: it has seen the passports, and signs no more than the answer.
func (t *Tour) issue(context.Context) (err error) {
	if t.sarah.credential, err = t.bank.issue(t.sarah.did, order{age: 18, list: t.list, index: 4711}); err != nil {
		return err
	}
	t.tom.credential, err = t.bank.issue(t.tom.did, order{age: 16, list: t.list, index: 815})
	t.Say("the bank issues to Sarah (ageOver 18) and to Tom, who is 17 (ageOver 16): no names, no birth dates")
	return err
}

// policy is all that the shop wants: an issuer that the federation stands behind, and one value.
func (t *Tour) policy() json.RawMessage {
	policy, _ := json.Marshal(map[string]any{
		"federation": t.federation,
		"claims":     []any{map[string]any{"pointer": "/credentialSubject/ageOver", "property": "person.age_over"}},
		"expect":     []any{map[string]any{"pointer": "/credentialSubject/ageOver", "equals": 18}},
	})
	return policy
}

// check has the shop's node judge a presentation.
func (t *Tour) check(ctx context.Context, node int, presentation json.RawMessage, challenge string) (client.CredentialReport, error) {
	return t.node(node).Issuer("").VerifyPresentation(ctx, presentation, client.VerifyOptions{
		Challenge: challenge, Domain: t.shop, Policy: t.policy(),
	})
}

// present asks the shop for a challenge and lets a person answer it.
func (t *Tour) present(ctx context.Context, node int, p person, credential json.RawMessage) (presentation json.RawMessage, challenge string, err error) {
	if challenge, err = t.node(node).Issuer("").Challenge(ctx); err != nil {
		return nil, "", err
	}
	presentation, err = p.present(credential, challenge, t.shop)
	return presentation, challenge, err
}

func (t *Tour) sarahBuys(ctx context.Context) error {
	presentation, challenge, err := t.present(ctx, 2, t.sarah, t.sarah.credential)
	if err != nil {
		return err
	}
	report, err := t.check(ctx, 2, presentation, challenge)
	if err != nil {
		return err
	}
	if !report.Verified {
		return fmt.Errorf("sarah was refused: %s", report.Raw)
	}
	t.Say("Sarah passes: %s", passed(report))
	return nil
}

// passed lists the checks that were made, by name.
func passed(r client.CredentialReport) (names string) {
	for _, c := range r.Checks {
		if c.OK {
			names += c.Name + " "
		}
	}
	return names
}

// attempt is a presentation that must fail one check.
type attempt struct {
	who   string
	make  func(ctx context.Context) (presentation json.RawMessage, challenge string, err error)
	check string
	code  string
}

// othersFail tries everything that can be wrong.
func (t *Tour) othersFail(ctx context.Context) error {
	for _, a := range t.attempts() {
		presentation, challenge, err := a.make(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", a.who, err)
		}
		report, err := t.check(ctx, 2, presentation, challenge)
		if err != nil {
			return fmt.Errorf("%s: %w", a.who, err)
		}
		if err := failsOnly(report, a.check, a.code); err != nil {
			return fmt.Errorf("%s: %w", a.who, err)
		}
		t.Say("%-50s refused: %s (%s)", a.who, a.check, a.code)
	}
	return nil
}

func (t *Tour) attempts() []attempt {
	with := func(p person, credential func() (json.RawMessage, error)) func(context.Context) (json.RawMessage, string, error) {
		return func(ctx context.Context) (json.RawMessage, string, error) {
			c, err := credential()
			if err != nil {
				return nil, "", err
			}
			return t.present(ctx, 2, p, c)
		}
	}
	own := func(c json.RawMessage) func() (json.RawMessage, error) {
		return func() (json.RawMessage, error) { return c, nil }
	}
	return []attempt{
		{"Tom, who is 17", with(t.tom, own(t.tom.credential)), "policy", "claim_mismatch"},
		{"Tom, who made a 16 an 18", with(t.tom, func() (json.RawMessage, error) { return tampered(t.tom.credential) }), "signature", "bad_signature"},
		{"Sarah, with one that has expired", with(t.sarah, func() (json.RawMessage, error) {
			return t.bank.issue(t.sarah.did, order{age: 18, expired: true})
		}), "validity", "expired"},
		{"Tom, with one of a lender that nobody accredited", with(t.tom, func() (json.RawMessage, error) {
			return t.lender.issue(t.tom.did, order{age: 18})
		}), "trustPath", "not_accredited"},
		{"Tom, with Sarah's credential", with(t.tom, own(t.sarah.credential)), "holderBinding", "holderBinding_mismatch"},
		{"somebody who replays what Sarah sent", t.replay, "nonce", "nonce_mismatch"},
		{"Sarah's presentation to another shop", t.elsewhere, "audience", "audience_mismatch"},
	}
}

// replay sends a presentation that was accepted once more.
func (t *Tour) replay(ctx context.Context) (json.RawMessage, string, error) {
	presentation, challenge, err := t.present(ctx, 2, t.sarah, t.sarah.credential)
	if err != nil {
		return nil, "", err
	}
	report, err := t.check(ctx, 2, presentation, challenge)
	if err == nil && !report.Verified {
		err = errors.New("the first time was refused")
	}
	return presentation, challenge, err
}

// elsewhere is a presentation that Sarah made for another shop, and that one now shows here.
func (t *Tour) elsewhere(ctx context.Context) (json.RawMessage, string, error) {
	challenge, err := t.node(2).Issuer("").Challenge(ctx)
	if err != nil {
		return nil, "", err
	}
	presentation, err := t.sarah.present(t.sarah.credential, challenge, "https://other.example")
	return presentation, challenge, err
}

// failsOnly wants exactly one failed check, and this one.
func failsOnly(r client.CredentialReport, check, code string) error {
	if r.Verified {
		return errors.New("was accepted")
	}
	for _, c := range r.Checks {
		failed := !c.OK && !c.Skipped
		if failed != (c.Name == check) || (failed && c.Code != code) {
			return fmt.Errorf("want %s to fail with %s and nothing else: %s", check, code, r.Raw)
		}
	}
	return nil
}

// revocationSeen bounds how long it takes until every node knows of a revocation.
const revocationSeen = 5 * time.Second

// revoke has the bank take Sarah's credential back through its own node; the shop asks another one.
func (t *Tour) revoke(ctx context.Context) error {
	start := time.Now()
	if err := t.bank.revoke(ctx, t.list, 4711); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, revocationSeen)
	defer cancel()
	for {
		presentation, challenge, err := t.present(ctx, 3, t.sarah, t.sarah.credential)
		if err != nil {
			return err
		}
		report, err := t.check(ctx, 3, presentation, challenge)
		if err != nil {
			return err
		}
		if !report.Verified {
			t.Say("%-50s refused: status (revoked), %d ms after the bank signed, at another member's node",
				"Sarah, whose credential was revoked", time.Since(start).Milliseconds())
			return failsOnly(report, "status", "revoked")
		}
	}
}
