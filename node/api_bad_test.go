package node

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"weft/tangle"
)

// badBodies are bodies that no route may take, with the code each deserves where a submission is expected.
func badBodies() map[string]string {
	return map[string]string{
		"{":                                 "bad_json",
		"x":                                 "bad_json",
		"\x00":                              "bad_json",
		"null":                              "bad_value",
		"[]":                                "bad_value",
		"1":                                 "bad_value",
		`"text"`:                            "bad_value",
		"{}":                                "bad_value",
		`{} {}`:                             "bad_json",
		`{"entries":[]}`:                    "bad_value",
		`{"entries":{}}`:                    "bad_value",
		`{"entries":null}`:                  "bad_value",
		`{"entries":[1]}`:                   "bad_value",
		`{"entries":[{}]}`:                  "bad_value",
		`{"entries":[],"more":1}`:           "unknown_field",
		`{"Entries":[]}`:                    "unknown_field",
		`{"entries":[]} x`:                  "bad_json",
		`{"entries":[],}`:                   "bad_json",
		`{"entries":[{}],}`:                 "bad_value",
		"{\"entries\":\"\xff\"}":            "bad_value",
		"{\"ent\xffries\":[]}":              "bad_json",
		`{"entries":[{"kind":1}]}`:          "bad_value",
		`{"entries":[{"kind":1,"kind":1}]}`: "bad_json",
		`{"entries":[],"entries":[]}`:       "bad_json",
		`{"entries":[{"kind":"other","data":""}]}`:                                                       "unknown_kind",
		`{"entries":[{"kind":0,"data":""}]}`:                                                             "bad_value",
		`{"entries":[{"kind":-1,"data":""}]}`:                                                            "bad_value",
		`{"entries":[{"kind":1.5,"data":""}]}`:                                                           "bad_value",
		`{"entries":[{"kind":01,"data":""}]}`:                                                            "bad_json",
		`{"entries":[{"kind":1e400,"data":""}]}`:                                                         "bad_value",
		`{"entries":[{"kind":9007199254740993,"data":""}]}`:                                              "bad_value",
		`{"entries":[{"kind":99999999999999999999999999,"data":""}]}`:                                    "bad_value",
		`{"entries":[{"kind":7,"data":"QQ"}]}`:                                                           "unknown_kind",
		`{"entries":[{"kind":"data","data":"QQ"}]}`:                                                      "bad_value",
		`{"entries":[{"kind":7,"data":{"tag":"","bytes":""}}]}`:                                          "bad_value",
		`{"entries":[{"kind":"data","data":{"tag":"x"}}]}`:                                               "bad_value",
		`{"entries":[{"kind":"data","data":{"tag":1,"bytes":""}}]}`:                                      "bad_value",
		`{"entries":[{"kind":"data","data":{"tag":"x","bytes":"Q"}}]}`:                                   "bad_value",
		`{"entries":[{"kind":"data","data":{"tag":"x","bytes":"QQ=="}}]}`:                                "bad_value",
		`{"entries":[{"kind":"data","data":{"tag":"x","bytes":"QR"}}]}`:                                  "bad_value",
		`{"entries":[{"kind":"data","data":{"tag":"x","bytes":"a+/a"}}]}`:                                "bad_value",
		`{"entries":[{"kind":"data","data":{"tag":"x","bytes":"QQ\n"}}]}`:                                "bad_value",
		"{\"entries\":[{\"kind\":\"data\",\"data\":{\"tag\":\"\n\",\"bytes\":\"\"}}]}":                   "bad_json",
		`{"entries":[{"kind":"data","data":{"tag":"\ud800","bytes":""}}]}`:                               "bad_json",
		`{"entries":[{"kind":"data","data":{"tag":"\x","bytes":""}}]}`:                                   "bad_json",
		`{"entries":[{"kind":"data","data":{"tag":"x","bytes":"","more":[]}}]}`:                          "unknown_field",
		`{"entries":[{"kind":"data","data":{"tag":"` + strings.Repeat("t", 65) + `","bytes":""}}]}`:      "bad_value",
		strings.Repeat("[", 10_000):                                                                      "bad_value",
		`{"entries":` + strings.Repeat("[", 10_000):                                                      "bad_value",
		strings.Repeat(`{"entries":`, 5_000):                                                             "bad_value",
		`{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}":                        "unknown_field",
		submission("", slices.Repeat([]string{"x"}, MaxSubmitEntries+1)...):                              "bad_value",
		`{"entries":"` + strings.Repeat("x", MaxBodyBytes) + `"}`:                                        "too_large",
		strings.Repeat("x", 10*MaxBodyBytes):                                                             "too_large",
		`{"entries":[{"kind":"data","data":{"tag":"","bytes":"` + strings.Repeat("A", 4*11000) + `"}}]}`: "too_large",
	}
}

func TestBadSubmissions(t *testing.T) {
	n := runNode(t, apiConfig())
	for body, want := range badBodies() {
		r := n.call("POST", "/api/v1/messages", body)
		if got := r.code(t); got != want {
			t.Errorf("%.80q (%d bytes): HTTP %d %s, want %s", body, len(body), r.status, got, want)
		}
	}
	if r := n.call("POST", "/api/v1/messages", `{ "entries" : [ { "data" : { "bytes" : "\u0051Q" , "tag" : "\ud83d\ude00\n" } , "kind" : 1 } ] }`); r.status != 202 {
		t.Errorf("odd but right JSON: HTTP %d %s", r.status, r.body)
	}
}

// TestBadInputs sends what no route takes to every route: never a 5xx, never anything but a problem.
func TestBadInputs(t *testing.T) {
	n := runNode(t, apiConfig())
	key := n.newKey(t, scopeRead, scopeSubmit, scopeAdmin)
	for _, r := range apiRoutes() {
		door := n.api.public
		if r.auth == authOperator {
			door = n.api.operator
		}
		path := strings.NewReplacer(":id", strings.Repeat("0", 64), ":hash", strings.Repeat("f", 64), ":n", "0", "*", "x").Replace(r.path)
		check := func(what string, got reply) {
			t.Helper()
			if got.status >= 500 || (got.status >= 400 && got.code(t) == "") {
				t.Errorf("%s %s with %s: HTTP %d %s", r.method, r.path, what, got.status, clipText(got.body))
			}
		}
		refused := func(what string, status int, got reply) {
			t.Helper()
			if check(what, got); got.status != status {
				t.Errorf("%s %s with %s: HTTP %d, want %d", r.method, r.path, what, got.status, status)
			}
		}
		call := func(path, body string, header ...string) reply {
			return callDoor(door, r.method, path, body, append([]string{"X-API-Key", key}, header...)...)
		}
		stream := r.streams()
		refused("an unknown parameter", 400, call(path+"?nothing=1", ""))
		refused("a broken query", 400, call(path+"?%zz", ""))
		refused("a long URL", 413, call(path+"?q="+strings.Repeat("x", MaxURLBytes), ""))
		refused("large headers", 413, call(path, "", "X-Large", strings.Repeat("x", MaxHeaderBytes)))
		refused("an unwanted Accept", 406, call(path, "{}", "Accept", "image/png", "Content-Type", jsonType))
		for _, name := range r.query {
			for _, value := range []string{"", "-1", "x", "1e400", "9007199254740993", "%00", "%ff", strings.Repeat("9", 100), "0x1"} {
				if !stream {
					check(name+"="+value, call(path+"?"+name+"="+value, ""))
				}
				refused(name+" twice", 400, call(path+"?"+name+"=1&"+name+"=1", ""))
			}
		}
		for _, id := range []string{"", "x", "-1", "9007199254740993", "1e400", strings.Repeat("A", 64), strings.Repeat("0", 63), "%00", "%ff", "..", strings.Repeat("0", 1000)} {
			if bad := strings.NewReplacer(":id", id, ":hash", id, ":n", id, "*", id).Replace(r.path); bad != r.path && r.path != "/docs/*" && bad != "/debug/pprof/" {
				if got := call(bad, ""); got.status < 400 && got.status != 301 {
					t.Errorf("%s %s: HTTP %d", r.method, bad, got.status)
				} else {
					check(id, got)
				}
			}
		}
		if r.body == 0 {
			if !stream {
				refused("a body", 400, call(path, "{}"))
			}
			continue
		}
		refused("no body", 400, call(path, "", "Content-Type", jsonType))
		refused("a wrong content type", 415, call(path, "{}", "Content-Type", "text/plain"))
		refused("another charset", 415, call(path, "{}", "Content-Type", "application/json; charset=latin1"))
		refused("no content type", 415, call(path, "{}", "Content-Type", ""))
		refused("a compressed body", 415, call(path, compressed(), "Content-Encoding", "gzip"))
		refused("a body over the limit", 413, call(path, strings.Repeat(" ", r.body+1)))
		for body := range badBodies() {
			got := call(path, body)
			if check(clipText([]byte(body)), got); got.status < 400 {
				t.Errorf("%s %s takes %.80q", r.method, r.path, body)
			}
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "TRACE", "NONSENSE"} {
		r := n.call(method, "/api/v1/messages", "")
		if r.code(t) != "method_not_allowed" || !strings.Contains(r.header.Get("Allow"), "POST") {
			t.Errorf("%s: HTTP %d, Allow %q", method, r.status, r.header.Get("Allow"))
		}
	}
}

func compressed() string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	return b.String()
}

// endless is a body without an announced length that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestLargeBodiesAreNotReadOn(t *testing.T) {
	n := runNode(t, apiConfig())
	body := &endless{}
	r := httptest.NewRequest("POST", "/api/v1/messages", body)
	r.ContentLength = -1
	r.Header.Set("Content-Type", jsonType)
	w := httptest.NewRecorder()
	n.api.public.ServeHTTP(w, r)
	if w.Code != 413 || body.read > 2*MaxBodyBytes {
		t.Errorf("HTTP %d after %d bytes", w.Code, body.read)
	}
	r = httptest.NewRequest("POST", "/api/v1/messages", body)
	body.read, r.ContentLength = 0, 1<<40
	r.Header.Set("Content-Type", jsonType)
	w = httptest.NewRecorder()
	n.api.public.ServeHTTP(w, r)
	if w.Code != 413 || body.read != 0 {
		t.Errorf("announced: HTTP %d after %d bytes", w.Code, body.read)
	}
}

// timedOut is what reading gives when the deadline has passed.
type timedOut struct{}

func (timedOut) Read([]byte) (int, error) { return 0, context.DeadlineExceeded }

func TestSlowAndBrokenBodies(t *testing.T) {
	n := runNode(t, apiConfig())
	for want, body := range map[string]io.Reader{
		"slow_request": timedOut{},
		"bad_json":     strings.NewReader(`{"ent`),
	} {
		r := httptest.NewRequest("POST", "/api/v1/messages", body)
		r.ContentLength = 100
		r.Header.Set("Content-Type", jsonType)
		w := httptest.NewRecorder()
		n.api.public.ServeHTTP(w, r)
		got := reply{w.Code, w.Result().Header, w.Body.Bytes()}
		if got.code(t) != want {
			t.Errorf("HTTP %d %s, want %s", got.status, got.body, want)
		}
	}
}

func TestTooManyInFlight(t *testing.T) {
	n := runNode(t, apiConfig())
	n.api.inFlight.Add(MaxRequestsInFlight)
	if r := n.call("GET", "/health", ""); r.code(t) != "busy" || r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("HTTP %d %s", r.status, r.body)
	}
	n.api.inFlight.Add(-MaxRequestsInFlight)
	if r := n.call("GET", "/health", ""); r.status != 200 {
		t.Errorf("HTTP %d %s", r.status, r.body)
	}
	if left := n.api.inFlight.Load(); left != 0 {
		t.Errorf("%d requests counted as in flight", left)
	}
}

func TestRawRequests(t *testing.T) {
	n := runNode(t, apiConfig())
	for _, text := range []string{
		"GET /api/v1/node HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Large: " + strings.Repeat("x", 17<<10) + "\r\n\r\n",
		"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET //api/v1/node HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /api/v1/messages/%2e%2e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", n.APIAddr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, text)
		answer, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) || !bytes.Contains(answer, []byte("application/problem+json")) {
			t.Errorf("%.60q: %v %.200s", text, err, answer)
		}
	}
}

func FuzzSubmitBody(f *testing.F) {
	for body := range badBodies() {
		if len(body) < 1000 {
			f.Add([]byte(body))
		}
	}
	f.Add([]byte(submission("tag", "a", "b")))
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, p := parseSubmission(body)
		if (p == nil) != (len(entries) > 0) || len(entries) > MaxSubmitEntries {
			t.Fatalf("%d entries and %v", len(entries), p)
		}
		if p != nil {
			if s := p.status(); s != 400 && s != 422 {
				t.Fatalf("%v is HTTP %d", p, s)
			}
			return
		}
		size := 0
		for _, e := range entries {
			size += len(e.Data)
			if e.Kind == tangle.KindData {
				if d, err := ParseData(e.Data); err != nil || !bytes.Equal(d.Encode(), e.Data) {
					t.Fatalf("data %x: %v", e.Data, err)
				}
			}
		}
		if size > len(body) {
			t.Fatalf("%d bytes of data out of %d", size, len(body))
		}
		checkAgainstStandard(t, body, len(entries))
	})
}

func FuzzHTTP(f *testing.F) {
	n := runNode(f, apiConfig())
	key := n.newKey(f, scopeRead, scopeSubmit, scopeAdmin)
	for _, r := range apiRoutes() {
		f.Add(r.method, strings.ReplaceAll(r.path, ":", ""), "", "")
	}
	f.Add("POST", "/api/v1/messages", "", submission("t", "x"))
	f.Add("GET", "/api/v1/messages", "limit=1&cursor=x", "")
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		r, err := http.NewRequest(method, "http://node"+path, strings.NewReader(body))
		if err != nil || strings.HasSuffix(path, "/live") {
			t.Skip()
		}
		r.URL.RawQuery = strings.ReplaceAll(query, "wait", "")
		r.RequestURI = r.URL.RequestURI()
		r.Header.Set("Content-Type", jsonType)
		r.Header.Set("X-API-Key", key)
		r.RemoteAddr = "127.0.0.1:1"
		for _, door := range []http.Handler{n.api.public, n.api.operator} {
			w := httptest.NewRecorder()
			door.ServeHTTP(w, r)
			if w.Code >= 500 && w.Code != 503 {
				t.Fatalf("%s %s?%s: HTTP %d %s", method, path, query, w.Code, w.Body)
			}
		}
	})
}
