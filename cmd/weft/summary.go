package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// summary says in words what an operation does, for whoever is about to sign it. It reads the body alone and hides
// nothing: members that it has no words for are shown as they are.
func summary(body did.Object) []string {
	w := &words{body: body, said: map[string]bool{"type": true, "op": true, "nonce": true}}
	switch w.text("type") {
	case "weft/op/1":
		w.identity()
	case "weft/status/1":
		w.status()
	case "weft/trust/1":
		w.trust()
	case channel.Type:
		w.channel()
	default:
		w.add("UNKNOWN OPERATION of type %q", w.text("type"))
	}
	w.line("network", w.take("network"))
	if w.body["notAfter"] != nil {
		w.line("only until", w.take("notAfter"))
	}
	w.rest()
	return w.lines
}

type words struct {
	body  did.Object
	said  map[string]bool
	lines []string
}

func (w *words) add(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *words) line(label, value string) { w.add("  %-14s %s", label, value) }

func (w *words) text(name string) string { return textIn(w.body, name) }

// take is a text of the body that is said thereby.
func (w *words) take(name string) string {
	w.said[name] = true
	return printable([]byte(w.text(name)))
}

// rest shows what has not been said.
func (w *words) rest() {
	for _, name := range sortedKeys(w.body) {
		if !w.said[name] {
			w.line(name, plain(w.body[name]))
		}
	}
}

func (w *words) identity() {
	id := w.take("did")
	switch w.text("op") {
	case did.OpCreate:
		w.add("CREATE the DID %s", id)
	case did.OpUpdate:
		w.add("UPDATE %s to version %s", id, plain(w.body["seq"]))
		w.line("follows", w.take("prev"))
	case did.OpRecover:
		w.add("RECOVER %s: all keys that could change it until now lose that power", id)
		w.line("recovers", w.take("recovers"))
	case did.OpDeactivate:
		w.add("DEACTIVATE %s: for good, for everybody, without a way back", id)
	default:
		w.add("%s %s", w.text("op"), id)
	}
	w.said["seq"], w.said["params"], w.said["recovery"], w.said["doc"] = true, true, true, true
	w.params()
	w.recovery()
	w.document()
}

func (w *words) params() {
	p, ok := w.body["params"].(did.Object)
	if !ok {
		return
	}
	keys := textsIn(p, "updateKeys")
	if len(keys) > 0 {
		w.line("changed by", fmt.Sprintf("%s of %d update keys", plain(p["threshold"]), len(keys)))
	}
	w.each(keys)
	if next := textsIn(p, "nextKeyHashes"); len(next) > 0 {
		w.line("next keys", fmt.Sprintf("%d, as hashes: the next change uses these", len(next)))
		w.each(next)
	} else if len(keys) > 0 {
		w.line("next keys", "none: a stolen update key can take the DID over until it is recovered")
	}
	if controllers := textsIn(p, "controllers"); len(controllers) > 0 {
		w.line("controlled by", fmt.Sprintf("%s of %d owners", plain(p["controllerThreshold"]), len(controllers)))
		w.each(controllers)
	}
	for _, name := range sortedKeys(p) {
		switch name {
		case "updateKeys", "threshold", "nextKeyHashes", "controllers", "controllerThreshold":
		default:
			w.line(name, plain(p[name]))
		}
	}
}

func (w *words) each(list []string) {
	for _, item := range list {
		w.line("", printable([]byte(item)))
	}
}

func (w *words) recovery() {
	if r, ok := w.body["recovery"].(did.Object); ok {
		hashes := textsIn(r, "keyHashes")
		w.line("recovered by", fmt.Sprintf("%s of %d recovery keys", plain(r["threshold"]), len(hashes)))
		w.each(hashes)
	} else if w.text("op") == did.OpCreate {
		w.line("recovered by", "nobody: lost or stolen keys are lost for good")
	}
}

func (w *words) document() {
	doc, ok := w.body["doc"].(did.Object)
	if !ok {
		return
	}
	for _, m := range objectsIn(doc, "verificationMethod") {
		uses := []string{}
		for _, r := range did.Relationships() {
			for _, id := range textsIn(doc, string(r)) {
				if id == textIn(m, "id") {
					uses = append(uses, string(r))
				}
			}
		}
		state := strings.Join(uses, ", ")
		if revoked := textIn(m, "revoked"); revoked != "" {
			state = "revoked from " + revoked
		}
		key := textIn(m, "publicKeyMultibase")
		if key == "" {
			key = plain(m["publicKeyJwk"])
		}
		w.line("key "+printable([]byte(textIn(m, "id"))), key+" "+state)
	}
	for _, service := range objectsIn(doc, "service") {
		w.line("service "+printable([]byte(textIn(service, "id"))), plain(service["type"])+" "+plain(service["serviceEndpoint"]))
	}
	for _, name := range []string{"alsoKnownAs", "context"} {
		if doc[name] != nil {
			w.line(name, plain(doc[name]))
		}
	}
	for _, r := range did.Relationships() {
		for _, id := range textsIn(doc, string(r)) {
			if !strings.HasPrefix(id, "#") {
				w.line(string(r), printable([]byte(id)))
			}
		}
	}
}

func (w *words) status() {
	actor := w.take("actor")
	switch w.text("op") {
	case "create":
		w.add("CREATE a status list for %s, as %s", w.take("purpose"), actor)
	case "set":
		on, off := w.count("on"), w.count("off")
		w.add("CHANGE a status list, as %s: %d credentials lose their validity, %d get it back", actor, on, off)
		w.line("list", w.take("list"))
		w.line("set", plain(w.body["on"]))
		w.line("cleared", plain(w.body["off"]))
	case "close":
		w.add("CLOSE the status list %s, as %s: nothing in it changes any more", w.take("list"), actor)
	default:
		w.add("%s, as %s", strings.ToUpper(w.text("op")), actor)
	}
}

// count is the length of a list that is said thereby.
func (w *words) count(name string) int {
	w.said[name] = true
	list, _ := w.body[name].([]any)
	return len(list)
}

func (w *words) trust() {
	actor := w.take("actor")
	switch w.text("op") {
	case "federation.create":
		w.add("CREATE the federation %q, as %s", w.take("name"), actor)
	case "grant":
		w.add("GRANT %s the right to %s, as %s", w.take("subject"), w.take("kind"), actor)
	case "revoke":
		w.add("REVOKE the grant %s, as %s%s", w.take("grant"), actor, w.cascade())
	case "root.add", "root.reinstate":
		w.add("GIVE %s a root's voice, as %s", w.take("root"), actor)
	case "root.revoke":
		w.add("TAKE a root's voice from %s, as %s%s", w.take("root"), actor, w.cascade())
	case "property.revoke":
		w.add("END the property %s, as %s%s", w.take("path"), actor, w.cascade())
	default:
		w.add("%s, as %s", strings.ToUpper(w.text("op")), actor)
	}
	for _, p := range append(objectsIn(w.body, "properties"), objectsIn(w.body, "property")...) {
		w.line("property", plain(p))
	}
	w.said["properties"], w.said["property"] = true, true
}

func (w *words) channel() {
	actor, id := w.take("actor"), w.take("channel")
	w.said["created"], w.said["after"] = true, true
	switch channel.Op(w.text("op")) {
	case channel.Create:
		name := strconv.Quote(w.take("name"))
		if w.body["hidden"] == true {
			name = "whose name is sealed"
		}
		w.add("CREATE a %s channel %s, as %s", w.take("access"), name, actor)
	case channel.Authorize:
		w.add("AUTHORIZE in a channel, as %s", actor)
	case channel.Revoke:
		w.add("REVOKE all rights in a channel, as %s", actor)
		w.participants()
	case channel.Reject:
		w.add("REJECT requests, as %s", actor)
		w.participants()
	case channel.Write:
		w.add("WRITE a record, as %s", actor)
		if w.body["body"] != nil {
			w.said["body"] = true
			w.line("content", fmt.Sprintf("sealed, %d characters", len(plain(w.body["body"]))))
		}
	case channel.Lock:
		w.add("LOCK a channel: %s, as %s%s", w.take("lock"), actor, w.forever())
	case channel.Erase:
		w.add("ERASE record %s for good, as %s", plain(w.body["seq"]), actor)
		w.said["seq"] = true
	default:
		w.add("%s a channel, as %s", strings.ToUpper(w.text("op")), actor)
	}
	w.line("channel", id)
	w.grants()
	w.keys()
}

func (w *words) participants() {
	w.said["participants"] = true
	w.each(textsIn(w.body, "participants"))
}

func (w *words) forever() string {
	if w.text("lock") == string(channel.Forever) {
		return ": nothing can be written any more, and nobody can undo that"
	}
	return ""
}

func (w *words) grants() {
	w.said["grants"] = true
	for _, g := range objectsIn(w.body, "grants") {
		w.line("grant", plain(g))
	}
}

// keys says to whom keys are sealed: they open what stands under them, whatever becomes of the right.
func (w *words) keys() {
	if epoch, ok := w.body["epoch"].(did.Object); ok {
		w.said["epoch"] = true
		w.wraps("opens epoch "+plain(epoch["number"]), epoch)
	}
	w.said["keys"] = true
	for _, k := range objectsIn(w.body, "keys") {
		w.wraps("key of epoch "+plain(k["number"]), k)
	}
}

func (w *words) wraps(label string, keys did.Object) {
	wraps := objectsIn(keys, "wraps")
	w.line(label, fmt.Sprintf("sealed to %d keys", len(wraps)))
	for _, wrap := range wraps {
		w.line("", printable([]byte(textIn(wrap, "to"))))
	}
}

func (w *words) cascade() string {
	w.said["cascade"] = true
	if w.body["cascade"] == true {
		return ": with everything that was ever stated or granted through it"
	}
	return ": what was stated and granted before stands"
}

// plain is any JSON value on one line.
func plain(v any) string {
	if s, ok := v.(string); ok {
		return printable([]byte(s))
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(raw)
}
