package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
	"weft/internal/store"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
	"weft/plugins/identity/keyfile"
	"weft/tangle"
)

func newConformanceCommand(s *shell) *cobra.Command {
	r := &conformance{shell: s}
	c := &cobra.Command{
		Use:   "conformance",
		Short: "run a node that public test suites can be pointed at",
		Long: `Runs one node over TLS on this machine and prints as JSON what suites want to know of it:
endpoints, an issuer with a did:key of its own, and DIDs that are active, deactivated and
unknown, the same each time, with keys from fixed seeds. It is for test suites and for
nothing else: everybody knows those keys. docs/conformance.md says what to expect.

Without the W3C's context files credentials are signed by eddsa-jcs-2022 only; --contexts
names a folder that has them.`,
		Example: `  weft conformance --folder conformance --contexts contexts > weft.json
  NODE_EXTRA_CA_CERTS=conformance/tls.pem npm test     (in a suite, with weft.json as localConfig)`,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&r.folder, "folder", "", "where the node lives; default: a temporary folder, removed at the end")
	f.StringVar(&r.listen, "listen", "127.0.0.1:8443", "host:port of its API, on loopback")
	f.StringVar(&r.contexts, "contexts", "", "folder with JSON-LD context files")
	f.StringVar(&r.didCore, "did-core", "", "folder for what did-test-suite reads: answers of this node in the form of DID Core 1.0")
	f.StringVar(&r.clock, "clock", "", "time at which credentials are judged, RFC 3339; default: now. It goes on from there")
	c.AddCommand(newJOSESuiteCommands(r)...)
	return c
}

// conformance is one run.
type conformance struct {
	*shell
	folder, listen, contexts, clock, didCore string

	dir     config.Dir
	genesis *genesis.Genesis
	issuer  string // did:key
	subject testDIDs
}

// testDIDs are the DIDs that a suite asks for, and the operations that make them so.
type testDIDs struct {
	Active      string `json:"active"`
	VersionID   string `json:"versionId"` // of its first version
	Deactivated string `json:"deactivated"`
	NotFound    string `json:"notFound"`

	operations [][]byte
}

func (r *conformance) run(ctx context.Context) error {
	if r.folder == "" {
		dir, err := os.MkdirTemp("", "weft-conformance-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		r.folder = dir
	}
	r.dir = config.Dir(filepath.Join(r.folder, "node"))
	if host, _, err := net.SplitHostPort(r.listen); err != nil || !net.ParseIP(host).IsLoopback() {
		return usage("--listen %s: want an address of this machine alone, such as 127.0.0.1:8443", r.listen)
	}
	now, err := r.clockFunc()
	if err != nil {
		return err
	}
	if err := r.prepare(); err != nil {
		return err
	}
	r.shell.plugins = withIdentityAt(r.shell.plugins, now)
	run := runCommand{shell: r.shell}
	run.dir = string(r.dir)
	f, err := run.load()
	if err != nil {
		return err
	}
	var level slog.LevelVar
	log := newLog(r.err, f.settings.Log, &level)
	disk, err := store.OpenBadger(store.BadgerConfig{Dir: f.dir.Store(), Log: log})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, run.config(f, disk, log, &level)) })
	group.Go(func() error { return r.introduce(ctx) })
	return errors.Join(group.Wait(), disk.Close())
}

// clockFunc is the clock that judges credentials.
func (r *conformance) clockFunc() (func() time.Time, error) {
	if r.clock == "" {
		return time.Now, nil
	}
	from, err := time.Parse(time.RFC3339, r.clock)
	if err != nil {
		return nil, usage("--clock %s: want a time such as 2024-12-15T00:00:00Z", r.clock)
	}
	start := time.Now()
	return func() time.Time { return from.Add(time.Since(start)) }, nil
}

// withIdentityAt is the list of plugins with another clock for identity.
func withIdentityAt(list []plugins.Maker, now func() time.Time) []plugins.Maker {
	list = slices.Clone(list)
	for i := range list {
		if list[i].Name == identity.Name {
			list[i] = identity.MakerAt(now)
		}
	}
	return list
}

// fixedKey is a key that everybody can compute.
func fixedKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("weft conformance " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// conformanceEpoch is the time of the genesis: fixed, so that the network, and with it every DID, has one name.
const conformanceEpoch tangle.Time = 1_790_000_000_000

// prepare makes the node's folder, if it is not there yet.
func (r *conformance) prepare() (err error) {
	member := genesis.Member{Key: config.MemberOf(fixedKey("member")), Name: "conformance", Roles: []string{genesis.RoleValidator}}
	r.genesis = &genesis.Genesis{
		Version: genesis.Version, Network: "conformance", Time: conformanceEpoch, Members: []genesis.Member{member},
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(),
		Plugins: []genesis.Plugin{{Name: identity.Name, Config: json.RawMessage(`{"limits":{"maxCreatesPerMinute":1000000}}`)}},
	}
	if r.subject, err = fixedDIDs(r.genesis.ID()); err != nil {
		return err
	}
	if _, err := os.Stat(r.dir.Key()); err == nil {
		return r.readIssuer()
	}
	settings := config.Default()
	settings.Listen, settings.API.Listen, settings.Operator.Socket = []string{}, r.listen, false
	settings.API.TLS = config.TLS{Cert: "../tls.pem", Key: "../tls.key"}
	settings.API.Read, settings.API.Submit, settings.API.Limits, settings.Log.Level = config.AccessOpen, config.AccessOpen, config.Limits{}, "warn"
	if err := r.dir.Create(settings, config.Stub{Member: member}, fixedKey("member"), ""); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return r.dir.Join(r.genesis) }, r.makeTLS, r.makeIssuer,
		func() error { return copyContexts(r.contexts, filepath.Join(string(r.dir), identity.ContextDir)) },
		func() error { return r.writeSettings(settings) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// passphrase locks nothing up: the keys are everybody's.
const conformancePassphrase = "conformance"

func (r *conformance) makeIssuer() error {
	keys, err := keyfile.CreateKeystore(filepath.Join(string(r.dir), identity.KeystoreFile), conformancePassphrase)
	if err != nil {
		return err
	}
	defer keys.Lock()
	key, err := keys.Add("issuer")
	if err != nil {
		return err
	}
	r.issuer = "did:key:" + key.Public
	return os.WriteFile(filepath.Join(string(r.dir), "issuers.passphrase"), []byte(conformancePassphrase+"\n"), 0o600)
}

func (r *conformance) readIssuer() error {
	keys, err := keyfile.OpenKeystore(filepath.Join(string(r.dir), identity.KeystoreFile))
	if err != nil {
		return err
	}
	for _, k := range keys.Keys() {
		r.issuer = "did:key:" + k.Public
	}
	return nil
}

// writeSettings names the issuer three times: as it is, with a status for each credential, and with the other suite first.
func (r *conformance) writeSettings(n config.Node) error {
	issuer := identity.Issuer{
		DID: r.issuer, Method: r.issuer + "#" + r.issuer[len("did:key:"):], KeystoreKey: "issuer", Access: identity.AccessLoopback,
		Cryptosuites: []string{"eddsa-rdfc-2022", "eddsa-jcs-2022"}, StatusPurposes: []string{},
	}
	if r.contexts == "" {
		issuer.Cryptosuites = []string{"eddsa-jcs-2022"}
	}
	plain, status, jcs := issuer, issuer, issuer
	plain.Name, status.Name, jcs.Name = "default", "status", "jcs"
	status.StatusPurposes, jcs.Cryptosuites = []string{"revocation"}, []string{"eddsa-jcs-2022"}
	s := identity.Settings{
		PublicURL: "https://" + r.listen, Issuers: []identity.Issuer{plain, status, jcs}, KeystorePassphraseFile: "issuers.passphrase",
		Test: identity.TestIdentities{Active: []string{r.subject.Active}, Deactivated: []string{r.subject.Deactivated}, NotFound: []string{r.subject.NotFound}},
	}
	for _, p := range jsonld.Optional() {
		s.Contexts = append(s.Contexts, identity.ContextPin{URL: p.URL, SHA256: p.File})
	}
	section, err := json.Marshal(s)
	if err != nil {
		return err
	}
	n.Plugins = map[string]json.RawMessage{identity.Name: section}
	return r.dir.WriteNode(n)
}

// copyContexts takes the context files of a folder.
func copyContexts(from, to string) error {
	if from == "" {
		return nil
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// makeTLS makes a certificate for this machine.
func (r *conformance) makeTLS() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "weft conformance"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	err = os.WriteFile(r.certificate(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644)
	return errors.Join(err, os.WriteFile(filepath.Join(r.folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

func (r *conformance) certificate() string { return filepath.Join(r.folder, "tls.pem") }

// fixedDIDs are one that was changed twice, one that is deactivated, and one that nobody has published.
func fixedDIDs(network tangle.ID) (t testDIDs, err error) {
	active, err := newFixedDID(network, "active")
	if err != nil {
		return t, err
	}
	t.Active, t.VersionID = active.did.String(), "1-"+active.head.OpHash
	for range 2 {
		if err := active.add(did.Update(network, active.did, active.head, active.content(active.head.Version+1))); err != nil {
			return t, err
		}
	}
	gone, err := newFixedDID(network, "deactivated")
	if err == nil {
		err = gone.add(did.Deactivate(network, gone.did, gone.head, 0))
	}
	if err != nil {
		return t, err
	}
	missing, err := newFixedDID(network, "not found")
	t.Deactivated, t.NotFound, t.operations = gone.did.String(), missing.did.String(), slices.Concat(active.operations, gone.operations)
	return t, err
}

// fixedDID is a DID with all its operations.
type fixedDID struct {
	name       string
	did        did.DID
	head       did.Head
	operations [][]byte
}

func newFixedDID(network tangle.ID, name string) (*fixedDID, error) {
	f := &fixedDID{name: name}
	nonce := sha256.Sum256([]byte(name))
	body, d, err := did.Create(network, [did.NonceBytes]byte(nonce[:]), f.content(1))
	if err != nil {
		return nil, err
	}
	f.did = d
	return f, f.add(body)
}

// content is what a version says: a key more, and a service, each time.
func (f *fixedDID) content(version int) did.Content {
	methods, references, services := []any{}, []any{}, []any{}
	for i := range version {
		id := fmt.Sprintf("#key-%d", i+1)
		key := did.Ed25519Key(fixedKey(f.name + id).Public().(ed25519.PublicKey)).Multikey()
		methods = append(methods, did.Object{"id": id, "type": "Multikey", "publicKeyMultibase": key})
		references = append(references, id)
		services = append(services, did.Object{"id": fmt.Sprintf("#files-%d", i+1), "type": "LinkedDomains", "serviceEndpoint": fmt.Sprintf("https://example.org/%d/", i+1)})
	}
	update := did.Ed25519Key(fixedKey(f.name + " update").Public().(ed25519.PublicKey)).Multikey()
	return did.Content{
		Params:   did.Params{UpdateKeys: []string{update}, Threshold: 1, NextKeyHashes: []string{}, TTL: did.DefaultTTL},
		Document: did.Object{"verificationMethod": methods, "authentication": references, "assertionMethod": references, "service": services},
	}
}

func (f *fixedDID) add(body did.Object) error {
	raw, err := did.Sign(body, fixedKey(f.name+" update"))
	if err != nil {
		return err
	}
	f.head.Version++
	f.head.OpHash, err = did.OpHash(body)
	f.operations = append(f.operations, raw)
	return err
}

// introduce publishes the DIDs and prints what there is.
func (r *conformance) introduce(ctx context.Context) error {
	pool := x509.NewCertPool()
	cert, err := os.ReadFile(r.certificate())
	if err != nil {
		return err
	}
	pool.AppendCertsFromPEM(cert)
	web := &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer web.CloseIdleConnections()
	c, err := client.New(client.Config{URL: "https://" + r.listen, HTTP: web})
	if err != nil {
		return err
	}
	if err := waitServing(ctx, c); err != nil {
		return err
	}
	for _, operation := range r.subject.operations { // those that are there already are answered as they were
		if _, err := c.SubmitOperation(ctx, operation, client.OperationOptions{Final: 30 * time.Second}); err != nil {
			return err
		}
	}
	if r.didCore != "" {
		if err := (didCore{r, web}).capture(ctx, r.didCore); err != nil {
			return err
		}
	}
	e := json.NewEncoder(r.out)
	e.SetIndent("", "  ")
	if err := e.Encode(r.manifest()); err != nil {
		return err
	}
	fmt.Fprintf(r.err, "serving https://%s until Ctrl-C; certificate: %s\n", r.listen, r.certificate())
	return nil
}

// waitServing waits until a node makes something final.
func waitServing(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if ready, err := c.Ready(ctx); err == nil && ready.OK {
			return nil
		}
		if err := sleepUntil(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return fmt.Errorf("the node does not serve: %w", err)
		}
	}
}

// suiteEndpoint is an endpoint as vc-test-suite-implementations describes it.
type suiteEndpoint struct {
	ID       string         `json:"id"`
	Endpoint string         `json:"endpoint"`
	Options  map[string]any `json:"options,omitzero"`
	Supports map[string]any `json:"supports,omitempty"`
	Tags     []string       `json:"tags"`

	SupportedDIDs map[string]any `json:"supportedDids,omitempty"`
}

// manifest is what suites of the W3C and its community group want to know of an implementation.
func (r *conformance) manifest() map[string]any {
	base := "https://" + r.listen
	supports := map[string]any{"vc": []string{"1.1", "2.0"}}
	return map[string]any{
		"name": "Weft", "implementation": "Weft", "dids": r.subject, "certificate": r.certificate(), "contexts": r.contexts != "",
		"jose-cose": map[string]any{"features": map[string]bool{
			"credential_jose": true, "presentation_jose": true, "credential_sdjwt": true, "presentation_sdjwt": true,
		}},
		"issuers": []suiteEndpoint{
			{ID: r.issuer, Endpoint: base + "/credentials/issue", Supports: supports, Options: map[string]any{}, Tags: []string{"vc2.0", "vc-api", "eddsa-rdfc-2022", "Ed25519", "EDDSA"}},
			{ID: r.issuer, Endpoint: base + "/issuers/jcs/credentials/issue", Supports: supports, Options: map[string]any{}, Tags: []string{"eddsa-jcs-2022"}},
			{ID: r.issuer, Endpoint: base + "/issuers/status/credentials/issue", Supports: supports, Options: map[string]any{}, Tags: []string{"BitstringStatusList"}},
		},
		"verifiers": []suiteEndpoint{
			{ID: r.issuer, Endpoint: base + "/credentials/verify", Supports: supports, Options: map[string]any{"checks": []string{"proof"}},
				Tags: []string{"vc2.0", "vc-api", "eddsa-rdfc-2022", "eddsa-jcs-2022", "Ed25519", "EDDSA", "BitstringStatusList"}},
		},
		"vpVerifiers": []suiteEndpoint{
			// A suite presents credentials about subjects that have no keys.
			{ID: r.issuer, Endpoint: base + "/presentations/verify", Supports: supports, Options: map[string]any{"policy": map[string]any{"holder": "any"}}, Tags: []string{"vc2.0", "vc-api", "eddsa-rdfc-2022", "eddsa-jcs-2022"}},
		},
		"didResolvers": []suiteEndpoint{{
			ID: "urn:weft:resolver", Endpoint: base + "/1.0/identifiers", Tags: []string{"did-resolution"},
			SupportedDIDs: map[string]any{
				"valid": []any{map[string]any{"did": r.subject.Active, "resolutionOptions": map[string]any{}}},
				// The suite's own description wants lists here, its code puts them into a path as they are.
				"deactivated": r.subject.Deactivated, "notFound": r.subject.NotFound,
				"derefUrls":        []any{map[string]any{"didUrl": r.subject.Active + "#key-1", "dereferencingOptions": map[string]any{}}},
				"serviceDerefUrls": []any{map[string]any{"didUrl": r.subject.Active + "?service=files-1&relativeRef=a"}},
			},
		}},
	}
}
