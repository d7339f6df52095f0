package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha512" // crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
)

// joseSuite is one run of the command line that the W3C's suite for JOSE wants of an implementation: a credential or
// presentation and a verification method in, a result out. It needs no node.
type joseSuite struct {
	*conformance
	input, key, feature, output, disclose string

	document []byte
	method   did.Object
}

// joseResult is what the suite reads.
type joseResult struct {
	Result string `json:"result"` // success, failure or indeterminate
	Data   string `json:"data"`
}

func newJOSESuiteCommands(parent *conformance) []*cobra.Command {
	r := &joseSuite{conformance: parent}
	issue := &cobra.Command{
		Use:     "issue",
		Short:   "sign a credential or presentation as JWT or SD-JWT, for the suite of vc-jose-cose",
		Example: `  weft conformance issue --input credential.json --key method.json --feature credential_jose --output result.json`,
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return r.run(r.issued) },
	}
	verify := &cobra.Command{
		Use:     "verify",
		Short:   "verify a JWT or SD-JWT with a given key, for the suite of vc-jose-cose",
		Example: `  weft conformance verify --input credential.txt --key method.json --feature credential_jose --output result.json --clock 2024-12-16T12:00:00Z`,
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return r.run(r.verified) },
	}
	for _, c := range []*cobra.Command{issue, verify} {
		f := c.Flags()
		f.StringVar(&r.input, "input", "", "JSON to sign, or text to verify")
		f.StringVar(&r.key, "key", "", "verification method, a JsonWebKey with its secret")
		f.StringVar(&r.feature, "feature", "", "credential or presentation, _jose or _sdjwt; others are answered as indeterminate")
		f.StringVar(&r.output, "output", "", "file for the result")
		f.StringVar(&r.disclose, "sd", "", `what an SD-JWT may withhold, a JSON list of paths such as "credentialSubject.phones[0]"`)
		f.StringVar(&r.clock, "clock", "", "time at which it is judged, RFC 3339; default: now")
	}
	return []*cobra.Command{issue, verify}
}

// run writes what judge finds. A refusal is a result like any other; the exit code is 0.
func (r *joseSuite) run(judge func() (string, error)) (err error) {
	if r.document, err = os.ReadFile(r.input); err != nil {
		return err
	}
	key, err := os.ReadFile(r.key)
	if err != nil {
		return err
	}
	if r.method, err = did.DecodeObject(key, did.JSONLimits{}); err != nil {
		return err
	}
	result := joseResult{Result: "indeterminate"}
	if r.typ() != "" {
		result.Result = "success"
		if result.Data, err = judge(); plugins.Rejected(err) != nil {
			result = joseResult{Result: "failure", Data: err.Error()}
		} else if err != nil {
			return err
		}
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return os.WriteFile(r.output, text, 0o644)
}

// typ is the type of the tokens of a feature; empty for features that there are not.
func (r *joseSuite) typ() string {
	switch r.feature {
	case "credential_jose":
		return vc.TypeCredentialJWT
	case "presentation_jose":
		return vc.TypePresentationJWT
	case "credential_sdjwt":
		return vc.TypeCredentialSDJWT
	case "presentation_sdjwt":
		return vc.TypePresentationSDJWT
	}
	return ""
}

// presents says whether the feature is about presentations.
func (r *joseSuite) presents() bool { return strings.HasPrefix(r.feature, "presentation_") }

func (r *joseSuite) issued() (string, error) {
	doc, err := did.DecodeObject(r.document, did.JSONLimits{})
	if err != nil {
		return "", err
	}
	check := vc.CheckCredential
	if r.presents() {
		check = vc.CheckPresentation
	}
	if err := check(doc); err != nil {
		return "", err
	}
	algorithm, sign, err := secretJWK(r.method["secretKeyJwk"])
	if err != nil {
		return "", err
	}
	id, _ := r.method["id"].(string)
	if !strings.HasSuffix(r.feature, "_sdjwt") {
		return vc.SignJWT(r.typ(), id, doc, sign, algorithm)
	}
	pointers, err := r.withheld()
	if err != nil {
		return "", err
	}
	return vc.SignSDJWT(r.typ(), id, doc, vc.Selective{Pointers: pointers, Salts: rand.Reader}, sign, algorithm)
}

// withheld are the paths of --sd as JSON pointers.
func (r *joseSuite) withheld() ([]string, error) {
	if r.disclose == "" {
		return nil, nil
	}
	var paths []string
	if err := json.Unmarshal([]byte(r.disclose), &paths); err != nil {
		return nil, fmt.Errorf("--sd: %w", err)
	}
	for i, path := range paths {
		paths[i] = "/" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(path)
	}
	return paths, nil
}

func (r *joseSuite) verified() (string, error) {
	now, err := r.clockFunc()
	if err != nil {
		return "", err
	}
	delete(r.method, "secretKeyJwk")
	options := vc.Options{Methods: []did.Object{r.method}, EnvelopeOnly: true}
	verify := vc.Verify
	if r.presents() {
		verify = vc.VerifyPresentation
	}
	report := verify(vc.Config{Now: now(), Resolve: noResolver}, r.document, options)
	if report.Verified {
		return "", nil
	}
	return "", plugins.Reject("not_verified", "%v", report.Failures())
}

// noResolver knows no DIDs: the suite gives the key.
func noResolver(url string, _ did.Relationship, _ time.Time) (did.Method, error) {
	return did.Method{}, plugins.Reject("unknown_did", "%.100q is not the key that was given", url)
}

// secretJWK is a secret key of a test: its algorithm, and how it signs.
func secretJWK(v any) (algorithm string, sign func([]byte) ([]byte, error), err error) {
	jwk, _ := v.(map[string]any)
	curve, _ := jwk["crv"].(string)
	text, _ := jwk["d"].(string)
	secret, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", nil, err
	}
	switch curve {
	case "Ed25519":
		if len(secret) != ed25519.SeedSize {
			return "", nil, plugins.Reject("bad_value", "an Ed25519 secret of %d bytes", len(secret))
		}
		return "EdDSA", func(input []byte) ([]byte, error) { return ed25519.Sign(ed25519.NewKeyFromSeed(secret), input), nil }, nil
	case "P-256":
		return ecSigner("ES256", elliptic.P256(), crypto.SHA256, secret)
	case "P-384":
		return ecSigner("ES384", elliptic.P384(), crypto.SHA384, secret)
	case "P-521":
		return ecSigner("ES512", elliptic.P521(), crypto.SHA512, secret)
	}
	return "", nil, plugins.Reject("bad_value", "a secret key of the curve %.20q", curve)
}

// ecSigner signs as JWS wants it (RFC 7518, 3.4): r and s one after the other, each as long as the curve's order.
func ecSigner(algorithm string, curve elliptic.Curve, hash crypto.Hash, secret []byte) (string, func([]byte) ([]byte, error), error) {
	key, err := ecdsa.ParseRawPrivateKey(curve, secret)
	if err != nil {
		return "", nil, plugins.Reject("bad_value", "%v", err)
	}
	size := (curve.Params().BitSize + 7) / 8
	return algorithm, func(input []byte) ([]byte, error) {
		h := hash.New()
		h.Write(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
	}, nil
}
