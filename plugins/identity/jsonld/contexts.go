// Package jsonld turns a JSON-LD document into the bytes that eddsa-rdfc-2022 signs: expansion with pinned contexts,
// conversion to RDF, and RDF Dataset Canonicalization (RDFC-1.0). Whatever of a document would not reach those bytes is
// refused, because it could be added or changed after signing.
//
// It never fetches anything: a context is a file that somebody adds, and its hash must be pinned. It is no general JSON-LD
// processor: no compaction, framing, remote or relative documents, index maps or reverse properties. It knows no
// credentials, proofs or keys; package vc does.
package jsonld

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/piprate/json-gold/ld"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// Contexts are the JSON-LD contexts that documents may name. Pin and Add while setting up; afterwards any number of
// goroutines may use it.
type Contexts struct {
	limits    Limits
	pins      map[string][][sha256.Size]byte // by URL: hashes of the published file and of its canonical JSON
	installed map[string]*pinnedContext
	options   *ld.JsonLdOptions
}

// pinnedContext is a context that was accepted.
type pinnedContext struct {
	document  map[string]any // as json-gold wants it, with the shim
	processed *ld.Context    // on its own, with nothing before it; json-gold only reads it
	jsonTerms []string       // terms that some scope of it types as @json
	digests   []string       // of the published file, if it is that file
}

// MaxContextBytes bounds a context file.
const MaxContextBytes = 256 << 10

// NewContexts knows the pins of Pinned and has no context installed.
func NewContexts() *Contexts {
	c := &Contexts{limits: DefaultLimits(), pins: map[string][][sha256.Size]byte{}, installed: map[string]*pinnedContext{}}
	c.options = &ld.JsonLdOptions{ProcessingMode: ld.JsonLd_1_1, SafeMode: true, DocumentLoader: loader{c}}
	for _, p := range Pinned() {
		c.pin(p)
	}
	return c
}

func (c *Contexts) pin(p Pin) {
	for _, hash := range []string{p.File, p.Canonical} {
		if err := c.Pin(p.URL, hash); err != nil {
			panic(err) // the table of this package
		}
	}
}

// Pin lets Add accept one more file for a URL: one with this SHA-256, in hexadecimal, of the file or of its canonical JSON.
func (c *Contexts) Pin(url, hash string) error {
	if !isAbsoluteIRI(url) {
		return plugins.Reject("bad_value", "%.200q is not an absolute URL", url)
	}
	raw, err := hex.DecodeString(hash)
	if err != nil || len(raw) != sha256.Size {
		return plugins.Reject("bad_value", "%.80q is not a SHA-256 in hexadecimal", hash)
	}
	if pin := [sha256.Size]byte(raw); !slices.Contains(c.pins[url], pin) {
		c.pins[url] = append(c.pins[url], pin)
	}
	return nil
}

// Identify returns the URLs that a file is pinned for, ascending. Reformatted files are found by their canonical JSON.
func (c *Contexts) Identify(file []byte) []string {
	_, hashes, err := decodeContext(file)
	if err != nil {
		return nil
	}
	var urls []string
	for url := range c.pins {
		if c.isPinned(url, hashes) {
			urls = append(urls, url)
		}
	}
	slices.Sort(urls)
	return urls
}

func (c *Contexts) isPinned(url string, hashes [2][sha256.Size]byte) bool {
	return slices.Contains(c.pins[url], hashes[0]) || slices.Contains(c.pins[url], hashes[1])
}

// Add installs a context file. Codes: not_pinned, or why it cannot be used. A context that names others comes after them.
func (c *Contexts) Add(url string, file []byte) error {
	document, hashes, err := decodeContext(file)
	if err != nil {
		return err
	}
	if !c.isPinned(url, hashes) {
		return plugins.Reject("not_pinned", "%.200q: SHA-256 %x is not pinned", url, hashes[0])
	}
	if c.Has(url) {
		return nil
	}
	s := screen{contexts: c, limits: Limits{MaxBytes: MaxContextBytes, MaxDepth: c.limits.MaxDepth, MaxContexts: c.limits.MaxContexts}}
	screened, err := s.context(document["@context"], 1)
	if err != nil {
		return err
	}
	shim(url, screened)
	added := &pinnedContext{document: map[string]any{"@context": screened}, jsonTerms: s.jsonTerms}
	if slices.Contains(c.published(url), hashes[0]) {
		added.digests = digests(file)
	}
	if added.processed, err = c.parse(c.empty(), screened); err != nil {
		return err
	}
	c.installed[url] = added
	return nil
}

// Has says whether a context is installed.
func (c *Contexts) Has(url string) bool { return c.installed[url] != nil }

// Installed returns the URLs of the installed contexts, ascending.
func (c *Contexts) Installed() []string {
	urls := make([]string, 0, len(c.installed))
	for url := range c.installed {
		urls = append(urls, url)
	}
	slices.Sort(urls)
	return urls
}

// decodeContext reads a context file and hashes it, as it is and as canonical JSON.
func decodeContext(file []byte) (document did.Object, hashes [2][sha256.Size]byte, err error) {
	document, err = did.DecodeObject(file, did.JSONLimits{MaxBytes: MaxContextBytes, MaxDepth: 32})
	if err != nil {
		return nil, hashes, err
	}
	canonical, err := did.Canonical(document)
	if err != nil {
		return nil, hashes, err
	}
	if document["@context"] == nil {
		return nil, hashes, plugins.Reject("bad_value", "the file has no @context")
	}
	return document, [2][sha256.Size]byte{sha256.Sum256(file), sha256.Sum256(canonical)}, nil
}

// Digests returns digests of the published form of a context, as relatedResource has them in digestSRI and
// digestMultibase: from the pins, and from the file if it is installed as published. Nil for unknown URLs.
func (c *Contexts) Digests(url string) []string {
	list := []string{}
	if installed := c.installed[url]; installed != nil {
		list = append(list, installed.digests...)
	}
	for _, hash := range c.published(url) {
		list = append(list, sri("sha256", hash[:]), "z"+did.Base58(multihash(0x12, hash[:])), multibase64(multihash(0x12, hash[:])))
	}
	for _, p := range Pinned() {
		if p.URL == url && p.SHA384 != "" {
			list = append(list, "sha384-"+p.SHA384)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// HasDigest says whether a digest (digestSRI with one hash, or digestMultibase) is one of Digests.
func (c *Contexts) HasDigest(url, digest string) bool {
	return slices.Contains(c.Digests(url), strings.TrimSpace(digest))
}

// published returns the hashes of the published file of a URL, so far as this package knows which of its pins that is.
// What an operator pins counts as published.
func (c *Contexts) published(url string) [][sha256.Size]byte {
	var list [][sha256.Size]byte
	for _, hash := range c.pins[url] {
		if !slices.ContainsFunc(append(Pinned(), Optional()...), func(p Pin) bool { return p.Canonical == hex.EncodeToString(hash[:]) }) {
			list = append(list, hash)
		}
	}
	return list
}

func digests(file []byte) []string {
	short, middle, long := sha256.Sum256(file), sha512.Sum384(file), sha512.Sum512(file)
	var list []string
	for _, d := range []struct {
		name string
		code byte
		sum  []byte
	}{{"sha256", 0x12, short[:]}, {"sha384", 0x20, middle[:]}, {"sha512", 0x13, long[:]}} {
		list = append(list, sri(d.name, d.sum), "z"+did.Base58(multihash(d.code, d.sum)), multibase64(multihash(d.code, d.sum)))
	}
	return list
}

func sri(name string, sum []byte) string {
	return name + "-" + base64.StdEncoding.EncodeToString(sum)
}

func multihash(code byte, sum []byte) []byte { return append([]byte{code, byte(len(sum))}, sum...) }

func multibase64(raw []byte) string { return "u" + base64.RawURLEncoding.EncodeToString(raw) }

// shim works around json-gold v0.9.1, which reads a term's container from the term's own scoped context: v2 gives
// verifiableCredential both "@container": "@graph" and "@context": null, and embedded credentials land in the default
// graph. With the term inside its own scoped context they land where the specification wants them.
func shim(url string, context any) {
	if url != CredentialsV2 {
		return
	}
	at := context
	for _, name := range []string{"VerifiablePresentation", "@context", "verifiableCredential"} {
		o, _ := at.(map[string]any)
		at = o[name]
	}
	term, ok := at.(map[string]any)
	if scoped, has := term["@context"]; !ok || !has || scoped != nil {
		return
	}
	term["@context"] = []any{nil, map[string]any{"verifiableCredential": map[string]any{
		"@id": term["@id"], "@type": term["@type"], "@container": term["@container"],
	}}}
}

// loader gives json-gold the pinned contexts and nothing else.
type loader struct{ contexts *Contexts }

// LoadDocument has its name and its type from json-gold.
func (l loader) LoadDocument(url string) (*ld.RemoteDocument, error) {
	installed := l.contexts.installed[url]
	if installed == nil {
		return nil, notInstalled(url)
	}
	return &ld.RemoteDocument{DocumentURL: url, Document: installed.document}, nil
}

func notInstalled(url string) error {
	return plugins.Reject("context_not_installed", "the context %.200q is not installed", url)
}

func (c *Contexts) empty() *ld.Context { return ld.NewContext(nil, c.options) }

// parse processes a local context on top of an active one, which it does not change.
func (c *Contexts) parse(active *ld.Context, local any) (processed *ld.Context, err error) {
	defer recoverParse(&err)
	processed, err = active.Parse(local)
	return processed, reject(err)
}

// recoverParse turns a panic of json-gold into parse_error. It is the one boundary of this module that recovers: json-gold
// asserts types of what strangers write, and its data is nobody's state.
func recoverParse(err *error) {
	if r := recover(); r != nil {
		*err = plugins.Reject("parse_error", "%.200s", fmt.Sprint(r))
	}
}

// reject gives an error of json-gold its code.
func reject(err error) error {
	if err == nil || plugins.Rejected(err) != nil {
		return err
	}
	return plugins.Reject("bad_value", "%.300v", err)
}
