package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weft/client"
	"weft/config"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams/channel"
)

// MaxOperationFile bounds what is read as an operation.
const MaxOperationFile = 64 << 10

// operationFile is a signed operation on its way: the body, and the signatures it has so far. On disk it is the entry
// itself, canonical, with the proofs there are.
type operationFile struct {
	body       did.Object
	signatures map[string][]byte // by multikey
}

func newOperation(body did.Object) *operationFile {
	return &operationFile{body, map[string][]byte{}}
}

func (s *shell) readOperation(path string) (*operationFile, error) {
	raw, err := s.readInput(path, MaxOperationFile)
	if err != nil {
		return nil, err
	}
	body, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxOperationFile})
	if err != nil {
		return nil, fmt.Errorf("%s is not an operation: %w", path, err)
	}
	if kind := textIn(body, "type"); !slices.Contains([]string{"weft/op/1", "weft/status/1", "weft/trust/1", channel.Type}, kind) {
		return nil, fmt.Errorf("%s is not an operation: its type is %q", path, kind)
	}
	o := newOperation(body)
	for _, proof := range objectsIn(body, "proof") {
		key, signature, err := readProof(proof)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		o.signatures[key] = signature
	}
	delete(body, "proof")
	return o, nil
}

// readProof takes key and signature out of a proof, without judging them.
func readProof(proof did.Object) (key string, signature []byte, err error) {
	_, key, ok := strings.Cut(textIn(proof, "verificationMethod"), "#")
	value, z := strings.CutPrefix(textIn(proof, "proofValue"), "z")
	if !ok || !z {
		return "", nil, errors.New("a proof without key or value")
	}
	signature, err = did.ParseBase58(value)
	return key, signature, err
}

// bytes is the entry; without signatures it is a draft.
func (o *operationFile) bytes() ([]byte, error) {
	if len(o.signatures) == 0 {
		return did.Canonical(o.body)
	}
	return o.purpose().Attach(o.body, o.signatures)
}

// purpose is what proofs of this type of operation are for.
func (o *operationFile) purpose() did.Relationship {
	if textIn(o.body, "type") == channel.Type {
		return did.Authentication
	}
	return did.CapabilityInvocation
}

// sign adds a signature by one key.
func (o *operationFile) sign(f *keyfile.File, public string) error {
	ask, err := o.purpose().Prepare(o.body, public)
	if err != nil {
		return err
	}
	signature, err := f.Sign(public, ask.HashData)
	if err == nil {
		o.signatures[public] = signature
	}
	return err
}

// signAll signs with every key of the ring that can count for the operation, or with those named.
func (o *operationFile) signAll(ring *keyring, named []string) error {
	before := len(o.signatures)
	for _, f := range ring.files {
		for _, k := range f.Keys() {
			if k.Algorithm != keyfile.Ed25519 || !o.wants(f, k, named) {
				continue
			}
			if err := o.sign(f, k.Public); err != nil {
				return err
			}
		}
	}
	if len(o.signatures) == before && len(ring.files) > 0 {
		return errors.New("no key in the key files counts for this operation; --with KEY signs with one all the same")
	}
	return nil
}

// wants says whether a key can count. What is known without the ledger decides: a signature too many does no harm.
func (o *operationFile) wants(f *keyfile.File, k keyfile.Key, named []string) bool {
	if len(named) > 0 {
		return slices.Contains(named, k.Public) || k.ID != "" && slices.Contains(named, k.ID)
	}
	if textIn(o.body, "type") != did.OperationType {
		return o.wantsActor(f, k)
	}
	switch {
	case f.DID != "" && f.DID != textIn(o.body, "did"): // a controller's
		return k.Role == keyfile.Update
	case o.body["recovers"] != nil: // a new recovery key stays unknown until it is used
		set, _ := o.body["recovery"].(did.Object)
		return k.Role == keyfile.Recovery && !slices.Contains(textsIn(set, "keyHashes"), did.KeyHash(k.Public))
	case k.Role == keyfile.Next: // likewise a next key
		return o.body["op"] == did.OpDeactivate || o.names(k.Public)
	}
	return k.Role == keyfile.Update
}

// wantsActor is for status, trust and channels: document keys of the actor, and of the other roots where several decide.
func (o *operationFile) wantsActor(f *keyfile.File, k keyfile.Key) bool {
	several := textIn(o.body, "type") == "weft/trust/1" && o.body["op"] != "grant" && o.body["op"] != "federation.create"
	first := slices.IndexFunc(f.Keys(), func(x keyfile.Key) bool { return x.Role == keyfile.Document && x.Algorithm == keyfile.Ed25519 })
	return k.Role == keyfile.Document && f.Keys()[max(first, 0)] == k && (several || f.DID == textIn(o.body, "actor"))
}

// names says whether a key is one of the update keys from here on.
func (o *operationFile) names(public string) bool {
	params, _ := o.body["params"].(did.Object)
	return slices.Contains(textsIn(params, "updateKeys"), public)
}

// finishFlags say what becomes of an operation that a command has built.
type finishFlags struct {
	draft   string
	out     string
	yes     bool
	wait    string
	timeout time.Duration
	with    []string
}

func (x *finishFlags) add(f *pflag.FlagSet) {
	f.StringVar(&x.draft, "draft", "", "write the unsigned operation to this file, and stop: 'weft did sign' goes on")
	f.StringVar(&x.out, "out", "", "write the signed operation to this file, and stop: 'weft did submit' goes on")
	f.BoolVarP(&x.yes, "yes", "y", false, "do not ask")
	f.StringArrayVar(&x.with, "with", nil, "sign with this key (multikey or #id) and no other; may be repeated")
	x.addWait(f)
}

func (x *finishFlags) addWait(f *pflag.FlagSet) {
	f.StringVar(&x.wait, "wait", "final", "final: until the operation is final; none: until the node has it")
	f.DurationVar(&x.timeout, "timeout", 10*time.Second, "how long to wait, at most 30s")
}

func (x finishFlags) options() (client.OperationOptions, error) {
	switch {
	case x.wait != "final" && x.wait != "none":
		return client.OperationOptions{}, usage("--wait %s: want final or none", x.wait)
	case x.timeout <= 0 || x.timeout > client.MaxWait:
		return client.OperationOptions{}, usage("--timeout %s: want more than 0s and at most %s", x.timeout, client.MaxWait)
	case x.wait == "none":
		return client.OperationOptions{}, nil
	}
	return client.OperationOptions{Final: x.timeout}, nil
}

// offline says whether nothing is submitted.
func (x finishFlags) offline() bool { return x.draft != "" || x.out != "" }

// finish takes a body through the steps that are asked for. grave operations are asked about. The answer is zero unless
// the operation was submitted.
func (s *shell) finish(ctx context.Context, body did.Object, ring *keyring, x finishFlags, grave bool) (client.Operated, error) {
	o := newOperation(body)
	if x.draft != "" {
		return client.Operated{}, s.writeOperation(o, x.draft, "draft")
	}
	for _, line := range summary(body) {
		fmt.Fprintln(s.err, line)
	}
	if grave && !x.yes {
		if err := s.confirm("Sign this?"); err != nil {
			return client.Operated{}, err
		}
	}
	if err := o.signAll(ring, x.with); err != nil {
		return client.Operated{}, err
	}
	if x.out != "" {
		return client.Operated{}, s.writeOperation(o, x.out, "signed operation")
	}
	return s.submit(ctx, o, x)
}

// submit publishes a signed operation and shows what came of it.
func (s *shell) submit(ctx context.Context, o *operationFile, x finishFlags) (client.Operated, error) {
	options, err := x.options()
	if err != nil {
		return client.Operated{}, err
	}
	entry, err := o.bytes()
	if err != nil {
		return client.Operated{}, err
	}
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return client.Operated{}, err
	}
	done, err := node.SubmitOperation(ctx, entry, options)
	if err != nil {
		return done, remote(node, err)
	}
	return done, s.showOperated(done)
}

func (s *shell) showOperated(o client.Operated) error {
	if s.json {
		return s.printJSON(o)
	}
	rows := [][]string{}
	for _, row := range [][]string{
		{"did", o.Result.DID}, {"version", o.Result.VersionID}, {"list", o.Result.List}, {"federation", o.Result.Federation},
		{"grant", o.Result.Grant}, {"channel", o.Result.Channel}, {"event", eventWords(o.Result.Event)}, {"record", numberWords(o.Result.Seq)},
		{"operation", o.OpHash}, {"status", o.Words()},
	} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	s.table(rows)
	return nil
}

func eventWords(n *uint64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(*n, 10)
}

func numberWords(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// writeOperation writes a new file; - is standard output.
func (s *shell) writeOperation(o *operationFile, path, what string) error {
	raw, err := o.bytes()
	if err != nil {
		return err
	}
	hash, err := did.OpHash(o.body)
	if err != nil {
		return err
	}
	if path == "-" {
		_, err := s.out.Write(append(raw, '\n'))
		return err
	}
	if err := config.WriteNew(path, raw, 0o644); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(map[string]any{"file": path, "opHash": hash, "signers": slices.Sorted(maps.Keys(o.signatures))})
	}
	s.print("%s: %s, %d signatures\noperation %s\n", path, what, len(o.signatures), hash)
	return nil
}

// confirm asks on the terminal; without one there is nobody to ask.
func (s *shell) confirm(question string) error {
	if !onTerminal(s.in) {
		return usage("nobody can be asked here: look at the summary, and say --yes")
	}
	fmt.Fprintf(s.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(io.LimitReader(s.in, 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("not signed")
	}
	return nil
}

// writeOutput writes a result: to a new file, or to standard output.
func (s *shell) writeOutput(path string, data []byte) error {
	if path == "" || path == "-" {
		_, err := s.out.Write(append(data, '\n'))
		return err
	}
	if err := config.WriteNew(path, append(data, '\n'), 0o644); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(map[string]any{"file": path})
	}
	s.print("%s written\n", path)
	return nil
}

// signature reads KEY=SIGNATURE, the signature in base64url as an HSM's operator pastes it.
func (o *operationFile) addSignature(text string) error {
	key, value, ok := strings.Cut(text, "=")
	signature, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(value, "="))
	if !ok || err != nil || len(signature) != 64 {
		return usage("--signature %s: want MULTIKEY=SIGNATURE, 64 bytes in base64url", text)
	}
	o.signatures[key] = signature
	return nil
}

// textIn, textsIn and objectsIn read members of JSON that others wrote; what is not there or of another type is empty.
func textIn(o did.Object, name string) string {
	s, _ := o[name].(string)
	return s
}

func textsIn(o did.Object, name string) (list []string) {
	items, _ := o[name].([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

func objectsIn(o did.Object, name string) (list []did.Object) {
	if one, ok := o[name].(did.Object); ok {
		return []did.Object{one}
	}
	items, _ := o[name].([]any)
	for _, item := range items {
		if one, ok := item.(did.Object); ok {
			list = append(list, one)
		}
	}
	return list
}
