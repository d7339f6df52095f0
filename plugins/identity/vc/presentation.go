package vc

import (
	"maps"
	"slices"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// VerifyPresentation judges a presentation: a JSON object with a proof, an enveloped presentation, a compact vp+jwt or
// vp+sd-jwt, or a vc+sd-jwt with a key binding, which presents that credential alone. Its report lists each check once,
// failed if the presentation or any credential in it fails it; a fact "credential" says which. The presenter's key is
// judged by the issuer check: it must be in authentication now, not when it says it signed.
func VerifyPresentation(c Config, raw []byte, o Options) Report {
	v := &verification{config: c, options: o}
	if text, alone := credentialText(raw); alone {
		return v.keyBound(text)
	}
	return v.presentation(raw)
}

func (v *verification) presentation(raw []byte) Report {
	v.found = findings{}
	if why := v.open(raw, typeEnvelopedPresentation, TypePresentationJWT); why != nil {
		return v.presented(v.unreadable(why), "", nil)
	}
	if err := CheckPresentation(v.doc); err != nil {
		return v.presented(v.unreadable(malformed(err)), "", nil)
	}
	v.found.pass(CheckFormat, nil)
	v.readEvidence()
	for _, e := range v.evidence {
		if e.token != nil {
			e.purpose = "authentication"
		}
		v.resolve(e, "authentication", v.config.Now)
	}
	v.checkSignature()
	presenter := v.checkPresenter()
	v.checkTokenPeriod()
	inner := v.credentials()
	v.checkHolder(presenter, inner)
	v.checkBinding()
	v.checkAudience()
	v.checkNonce()
	v.surface(inner)
	return v.presented(v.found.report(), presenter, inner)
}

// presented completes the report of a presentation.
func (v *verification) presented(r Report, presenter string, inner []Report) Report {
	r.Credential, r.Document, r.Credentials = nil, v.doc, inner
	for _, c := range inner {
		r.Verified = r.Verified && (c.Verified || v.options.EnvelopeOnly)
		if r.TrustPath == nil {
			r.TrustPath = c.TrustPath
		}
	}
	if v.doc != nil {
		r.Presentation = &PresentationSummary{ID: textOf(v.doc["id"]), Holder: identifier(v.doc["holder"]), Presenter: presenter, Type: stringsOf(v.doc["type"])}
	}
	return r
}

// checkPresenter judges the keys of the presentation and returns whose they are. All proofs must be of one presenter.
func (v *verification) checkPresenter() (presenter string) {
	if len(v.evidence) == 0 {
		v.found.skip("there is no proof to read", CheckIssuer)
		return ""
	}
	by := v.evidence[0]
	facts := map[string]any{"verificationMethod": by.method}
	if by.key.VersionID != "" {
		facts["versionId"] = by.key.VersionID
	}
	why := v.presenterFault(by.owner(), facts)
	v.found.judge(CheckIssuer, why, facts)
	if why != nil {
		return ""
	}
	return by.owner()
}

func (v *verification) presenterFault(presenter string, facts map[string]any) *fault {
	for _, e := range v.evidence {
		if e.err != nil {
			return unresolved(e)
		}
		if e.owner() != presenter {
			return issuerFault("issuer_mismatch", "proofs of %s and %s", presenter, e.owner())
		}
		if why := v.entitled(e, "authentication", v.config.Now); why != nil {
			return why
		}
	}
	if iss, given := v.doc["iss"]; v.token != nil && given && iss != presenter {
		return issuerFault("issuer_mismatch", "the token is of %v, its key of %s", iss, presenter)
	}
	v.claimed = v.config.Now // a presenter that is deactivated is never an old one
	v.options.Policy.DeactivatedIssuer = DeactivatedRefuse
	return v.active(v.evidence[0], facts)
}

// checkTokenPeriod holds a vp+jwt to its own times.
func (v *verification) checkTokenPeriod() {
	if v.token != nil {
		v.checkValidity()
	}
}

// credentials judges every credential by itself, under the same policy. Once a document has met the work bound of its
// canonical form, the presentation is refused and no other is worked on: a list of them would multiply the bound.
func (v *verification) credentials() (reports []Report) {
	if v.options.EnvelopeOnly {
		v.checkEnvelopes()
		return nil
	}
	exhausted := v.found[CheckSignature].exhausted
	for _, credential := range objects(v.doc["verifiableCredential"]) {
		if exhausted {
			break
		}
		r := Verify(v.config, rawOf(credential), v.options)
		signature, _ := r.Check(CheckSignature)
		exhausted = signature.exhausted
		reports = append(reports, r)
	}
	return reports
}

// checkEnvelopes looks at the shape of enveloped credentials alone, of any securing mechanism.
func (v *verification) checkEnvelopes() {
	for i, credential := range objects(v.doc["verifiableCredential"]) {
		if !isEnveloped(credential, typeEnvelopedCredential) {
			continue
		}
		if err := checkEnvelope(credential); err != nil {
			why := malformed(err)
			why.facts = map[string]any{"credential": i}
			v.found.fail(CheckFormat, why)
			return
		}
	}
}

func checkEnvelope(doc did.Object) error {
	content, typ, err := openEnvelope(doc, typeEnvelopedCredential, TypeCredentialJWT, TypeCredentialSDJWT, "vc+cose")
	if err == nil && len(content) == 0 {
		err = plugins.Reject("format_invalid", "the envelope of %q is empty", typ)
	}
	return err
}

// checkHolder asks whether the presenter is the subject of what it presents, or a bearer if the policy lets any be one. A
// holder that the presentation names must be the presenter in any case.
func (v *verification) checkHolder(presenter string, inner []Report) {
	holder, named := v.doc["holder"]
	if presenter == "" {
		v.found.skip("the presenter is not established", CheckHolderBinding)
		return
	}
	if named && identifier(holder) != presenter {
		v.found.fail(CheckHolderBinding, statusFault("holderBinding_mismatch", "", "the holder is %s, the presenter %s", identifier(holder), presenter))
		return
	}
	if v.options.Policy.Holder != HolderAny {
		for i, r := range inner {
			if !bound(r.Document, presenter) {
				why := statusFault("holderBinding_mismatch", "", "the presenter %s is not the subject", presenter)
				why.facts = map[string]any{"credential": i}
				v.found.fail(CheckHolderBinding, why)
				return
			}
		}
	}
	v.found.pass(CheckHolderBinding, nil)
}

// bound says whether every subject of a credential is the presenter. A credential that could not be read is no fault of the
// holder; its format is.
func bound(doc did.Object, presenter string) bool {
	if CheckCredential(doc) != nil {
		return true
	}
	for _, subject := range objects(doc["credentialSubject"]) {
		if textOf(subject["id"]) != presenter {
			return false
		}
	}
	return true
}

// checkAudience compares the domains. A proof has exactly those of the caller; the audience of a token holds one of them.
func (v *verification) checkAudience() {
	if len(v.options.Domain) == 0 {
		return
	}
	for _, e := range v.evidence {
		ok := false
		var has []string
		if e.token != nil {
			has, _ = v.answered()
			ok = slices.ContainsFunc(v.options.Domain, func(d string) bool { return slices.Contains(has, d) })
		} else {
			has = stringsOf(e.proof["domain"])
			ok = sameSet(has, v.options.Domain)
		}
		if !ok {
			v.found.fail(CheckAudience, statusFault("audience_mismatch", problemDomain, "made for %v, not for %v", has, v.options.Domain))
			return
		}
	}
	v.bind(CheckAudience)
}

// bind passes a check about what a proof says, if there is one.
func (v *verification) bind(name string) {
	if len(v.evidence) == 0 {
		v.found.skip("there is no proof to read", name)
		return
	}
	v.found.pass(name, nil)
}

func sameSet(x, y []string) bool {
	x, y = slices.Compact(slices.Sorted(slices.Values(x))), slices.Compact(slices.Sorted(slices.Values(y)))
	return slices.Equal(x, y)
}

// checkNonce compares the challenge and, if all is well so far, consumes it: a stranger who copies it cannot use it up.
func (v *verification) checkNonce() {
	if v.options.Challenge == "" {
		return
	}
	for _, e := range v.evidence {
		has := ""
		if e.token != nil {
			_, has = v.answered()
		} else {
			has = textOf(e.proof["challenge"])
		}
		if has != v.options.Challenge {
			v.found.fail(CheckNonce, statusFault("nonce_mismatch", problemChallenge, "answers another challenge"))
			return
		}
	}
	if why := v.stale(); why != nil {
		v.found.fail(CheckNonce, why)
		return
	}
	if v.bind(CheckNonce); v.config.Challenge == nil || !v.found.ok(CheckSignature) || v.binding() != nil && !v.found.ok(CheckHolderBinding) {
		return
	}
	if err := v.config.Challenge(v.options.Challenge); err != nil {
		v.found.fail(CheckNonce, statusFault("nonce_mismatch", problemChallenge, "%s", reasonOf(err)))
	}
}

// surface brings the checks of the credentials into those of the presentation: the first failure of each, and what passed
// in all of them.
func (v *verification) surface(inner []Report) {
	for i, r := range inner {
		for _, c := range r.Checks {
			own, listed := v.found[c.Name]
			switch {
			case listed && own.Failed():
			case c.Failed():
				c.Facts = withCredential(c.Facts, i)
				v.found[c.Name] = c
			case !listed:
				v.found[c.Name] = Check{Name: c.Name, OK: c.OK, Skipped: c.Skipped, Reason: c.Reason}
			case c.Skipped && own.OK:
				c.Facts = withCredential(c.Facts, i)
				v.found[c.Name] = c
			}
		}
	}
}

func withCredential(facts map[string]any, i int) map[string]any {
	facts = maps.Clone(facts)
	if facts == nil {
		facts = map[string]any{}
	}
	facts["credential"] = i
	return facts
}
