package vc

import (
	"crypto/ed25519"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
)

// Cryptosuites of Data Integrity that are made and verified.
const (
	SuiteJCS  = "eddsa-jcs-2022"
	SuiteRDFC = "eddsa-rdfc-2022"
)

// suiteSignature2020 is the suite before Data Integrity: verified, never made.
const suiteSignature2020 = "Ed25519Signature2020"

// MaxProofs bounds the proofs of a set.
const MaxProofs = 16

// ProofOptions describe a proof to be made.
type ProofOptions struct {
	Cryptosuite        string // SuiteJCS or SuiteRDFC
	VerificationMethod string // absolute DID URL
	Purpose            string // "assertionMethod", for presentations "authentication"
	Created            time.Time
	Expires            time.Time
	ID                 string // a URL, for proofs that others name as their previous
	Challenge          string
	Domain             []string
	PreviousProof      []string // ids of proofs that the document has
}

// PrepareProof returns the proof without its value and the 64 bytes that its key signs: the SHA-256 of the canonical proof,
// then that of the canonical document with, in a chain, the previous proofs in it.
func PrepareProof(contexts *jsonld.Contexts, doc did.Object, o ProofOptions) (proof did.Object, hashData []byte, err error) {
	if o.Cryptosuite != SuiteJCS && o.Cryptosuite != SuiteRDFC {
		return nil, nil, plugins.Reject("bad_value", "cryptosuite %q", o.Cryptosuite)
	}
	proof = o.object()
	if context := doc["@context"]; o.Cryptosuite == SuiteJCS && context != nil {
		proof["@context"] = context
	}
	h := hasher{contexts: contexts, doc: doc}
	hashData, err = h.hash(proof)
	return proof, hashData, err
}

func (o ProofOptions) object() did.Object {
	p := did.Object{"type": typeProof, "cryptosuite": o.Cryptosuite, "verificationMethod": o.VerificationMethod, "proofPurpose": o.Purpose}
	for name, value := range map[string]string{"id": o.ID, "challenge": o.Challenge} {
		if value != "" {
			p[name] = value
		}
	}
	for name, t := range map[string]time.Time{"created": o.Created, "expires": o.Expires} {
		if !t.IsZero() {
			p[name] = formatTime(t)
		}
	}
	for name, list := range map[string][]string{"domain": o.Domain, "previousProof": o.PreviousProof} {
		if len(list) == 1 {
			p[name] = list[0]
		} else if len(list) > 1 {
			p[name] = anyOf(list)
		}
	}
	return p
}

func anyOf(list []string) []any {
	items := make([]any, len(list))
	for i, s := range list {
		items[i] = s
	}
	return items
}

// AttachProof returns the document with one more proof: a single one as an object, several as a list.
func AttachProof(doc, proof did.Object, signature []byte) (did.Object, error) {
	if len(signature) != ed25519.SignatureSize {
		return nil, plugins.Reject("bad_signature", "a signature of %d bytes", len(signature))
	}
	signed, proof := maps.Clone(doc), maps.Clone(proof)
	proof["proofValue"] = "z" + did.Base58(signature)
	signed["proof"] = proof
	if before := listOf(doc["proof"]); len(before) >= MaxProofs {
		return nil, plugins.Reject("too_large", "more than %d proofs", MaxProofs)
	} else if len(before) > 0 {
		signed["proof"] = append(slices.Clone(before), proof)
	}
	return signed, nil
}

// AddProof is PrepareProof, a signature by sign over the 64 bytes, and AttachProof.
func AddProof(c Config, doc did.Object, o ProofOptions, sign func(hashData []byte) ([]byte, error)) (did.Object, error) {
	proof, hashData, err := PrepareProof(c.Contexts, doc, o)
	if err != nil {
		return nil, err
	}
	signature, err := sign(hashData)
	if err != nil {
		return nil, err
	}
	return AttachProof(doc, proof, signature)
}

// hasher computes what the proofs of one document sign. It keeps the RDF form, which costs most, for all of a set.
type hasher struct {
	contexts *jsonld.Contexts
	doc      did.Object
	rdf      []byte // SHA-256 of the canonical document without proofs, once it is known
}

// hash is the hash data of a proof; a proofValue in it is left out.
func (h *hasher) hash(proof did.Object) ([]byte, error) {
	config := maps.Clone(proof)
	delete(config, "proofValue")
	previous, err := h.previous(proof)
	if err != nil {
		return nil, err
	}
	if proof["cryptosuite"] == SuiteJCS {
		return h.hashJCS(config, previous)
	}
	return h.hashRDF(config, previous)
}

// previous finds the proofs that a proof of a chain names; all of them must be there.
func (h *hasher) previous(proof did.Object) ([]any, error) {
	names, given := proof["previousProof"]
	if !given {
		return nil, nil
	}
	ids := stringsOf(names)
	if len(ids) == 0 || len(ids) > MaxProofs || len(ids) != len(listOf(names)) {
		return nil, plugins.Reject("bad_signature", "previousProof is not one to %d ids", MaxProofs)
	}
	var found []any
	for _, id := range ids {
		at := slices.IndexFunc(listOf(h.doc["proof"]), func(p any) bool { return identifierOnly(p) == id })
		if at < 0 || id == textOf(proof["id"]) {
			return nil, plugins.Reject("bad_signature", "the previous proof %s is missing", id)
		}
		found = append(found, listOf(h.doc["proof"])[at])
	}
	return found, nil
}

func identifierOnly(v any) string {
	o, _ := v.(did.Object)
	return textOf(o["id"])
}

// unsecured is the document as a proof sees it: without proofs, or with those before it in a chain.
func (h *hasher) unsecured(previous []any) did.Object {
	doc := maps.Clone(h.doc)
	delete(doc, "proof")
	if previous != nil {
		doc["proof"] = previous
	}
	return doc
}

// hashJCS follows eddsa-jcs-2022: a context in the proof is the document's as it was signed, and the document may have
// grown more contexts behind it since, for proofs made in parallel.
func (h *hasher) hashJCS(config did.Object, previous []any) ([]byte, error) {
	doc := h.unsecured(previous)
	if context, given := config["@context"]; given {
		if !startsWith(listOf(h.doc["@context"]), listOf(context)) {
			return nil, plugins.Reject("bad_signature", "@context of the document does not begin with that of the proof")
		}
		doc["@context"] = context
	}
	canonicalProof, err := did.Canonical(config)
	if err != nil {
		return nil, err
	}
	canonicalDoc, err := did.Canonical(doc)
	if err != nil {
		return nil, err
	}
	docHash := sha256.Sum256(canonicalDoc)
	return concat(canonicalProof, docHash[:]), nil
}

func startsWith(list, prefix []any) bool {
	if len(prefix) == 0 || len(prefix) > len(list) {
		return false
	}
	for i := range prefix {
		if !equalJSON(list[i], prefix[i]) {
			return false
		}
	}
	return true
}

// equalJSON compares values by their canonical form. Values without one equal nothing.
func equalJSON(x, y any) bool {
	textX, errX := did.Canonical(x)
	textY, errY := did.Canonical(y)
	return errX == nil && errY == nil && string(textX) == string(textY)
}

// hashRDF follows eddsa-rdfc-2022 and Ed25519Signature2020: proof and document as RDF under the document's @context.
func (h *hasher) hashRDF(config did.Object, previous []any) ([]byte, error) {
	if h.contexts == nil {
		return nil, plugins.Reject("context_not_installed", "no JSON-LD contexts are installed")
	}
	config["@context"] = h.doc["@context"]
	canonicalProof, err := h.contexts.Canonize(config)
	if err != nil {
		return nil, err
	}
	if previous == nil && h.rdf != nil {
		return concat(canonicalProof, h.rdf), nil
	}
	canonicalDoc, err := h.contexts.Canonize(h.unsecured(previous))
	if err != nil {
		return nil, err
	}
	docHash := sha256.Sum256(canonicalDoc)
	if previous == nil {
		h.rdf = docHash[:]
	}
	return concat(canonicalProof, docHash[:]), nil
}

func concat(canonicalProof, docHash []byte) []byte {
	proofHash := sha256.Sum256(canonicalProof)
	return append(proofHash[:], docHash...)
}

// evidence is one signature over a document: a proof of Data Integrity, or the signature of a token.
type evidence struct {
	method  string    // verification method, as named
	claimed time.Time // when the signer says it signed; zero if it does not say
	purpose string
	suite   string // for the report

	proof did.Object // of Data Integrity
	token *token     // of JOSE

	key  did.Method // once resolved
	err  error      // why the method cannot be resolved
	able bool       // the method is in the relationship that the purpose needs
}

// evidenceOf reads a proof. What is wrong with it is a fault of the signature check.
func evidenceOf(proof did.Object) (*evidence, *fault) {
	e := &evidence{proof: proof, method: textOf(proof["verificationMethod"]), purpose: textOf(proof["proofPurpose"])}
	kind, suite := textOf(proof["type"]), textOf(proof["cryptosuite"])
	switch {
	case kind == typeProof && (suite == SuiteJCS || suite == SuiteRDFC):
		e.suite = suite
	case kind == suiteSignature2020 && proof["cryptosuite"] == nil:
		e.suite = suiteSignature2020
	default:
		return e, badProof("a proof of type %q with cryptosuite %q is not supported", kind, suite)
	}
	if u, err := did.ParseURL(e.method); err != nil && !isURL(e.method) || err == nil && u.Fragment == "" {
		return e, badProof("verificationMethod is not an absolute URL of a method")
	}
	if e.purpose == "" {
		return e, badProof("proofPurpose is missing")
	}
	if created, given := proof["created"]; given {
		t, ok := parseTime(textOf(created))
		if !ok {
			return e, badProof("created is not a time with an offset")
		}
		e.claimed = t
	}
	return e, nil
}

func badProof(format string, args ...any) *fault {
	return statusFault("bad_signature", problemProof, format, args...)
}

// verifyProof checks one proof of Data Integrity against its resolved key.
func (v *verification) verifyProof(h *hasher, e *evidence) *fault {
	value := textOf(e.proof["proofValue"])
	if len(value) > 100 || len(value) < 2 || value[0] != 'z' {
		return badProof("proofValue is not base58btc")
	}
	signature, err := did.ParseBase58(value[1:])
	if err != nil || len(signature) != ed25519.SignatureSize {
		return badProof("proofValue is not a signature of %d bytes", ed25519.SignatureSize)
	}
	if e.key.Key.Type != did.Ed25519 || len(e.key.Key.Bytes) != ed25519.PublicKeySize {
		return badProof("%s is not an Ed25519 key", e.method)
	}
	hashData, err := h.hash(e.proof)
	if err != nil {
		return transformationFault(err)
	}
	if !ed25519.Verify(e.key.Key.Bytes, hashData, signature) {
		return badProof("the signature does not fit the document")
	}
	return v.unexpired(e.proof)
}

func (v *verification) unexpired(proof did.Object) *fault {
	expires, given := proof["expires"]
	if !given {
		return nil
	}
	t, ok := parseTime(textOf(expires))
	if !ok {
		return badProof("expires is not a time with an offset")
	}
	if v.config.Now.After(t) {
		return statusFault("proof_expired", problemProof, "the proof expired at %s", formatTime(t))
	}
	return nil
}

// transformationFault is a document that cannot be brought to its canonical form. One code of the JSON-LD side is worth
// telling apart, because the operator can mend it.
func transformationFault(err error) *fault {
	f := &fault{code: "bad_signature", problem: problemTransformation, reason: err.Error()}
	if r := plugins.Rejected(err); r != nil {
		f.reason = r.Detail
		switch r.Code {
		case "context_not_installed":
			f.code = r.Code
		case "bad_signature":
			f.problem = problemProof
		case "too_large":
			f.exhausted = true
		}
	}
	return f
}
