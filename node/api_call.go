package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// apiRoute is one operation: where it is, who may call it, and what may come with it. A field left out means: not
// allowed. The zero auth is no rule, and no route may have it.
type apiRoute struct {
	method string
	path   string // in echo's form
	auth   authRule
	scope  string // that an API key needs
	rate   rateClass
	query  []string // parameters it knows
	body   int      // largest body in bytes
	types  []string // of the body; JSON if empty
	gives  []string // media types of the answer; JSON if empty
	handle func(*apiCall) error

	// For plugins that see to it themselves.
	anyQuery  bool
	anyAccept bool
	anyOrigin bool // web pages of every origin may GET it
	mayLack   bool // the body may be left out
}

// apiCall is one request on its way through a route.
type apiCall struct {
	*apiDoor
	echo.Context
	route  *apiRoute
	caller apiCaller
	query  url.Values
	body   []byte
}

// ServeHTTP is the outside of every request: an id, safe headers, bounds; then the route, or a problem.
func (d *apiDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Request-Id"] = []string{newRequestID()}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if r.TLS != nil {
		h["Strict-Transport-Security"] = []string{"max-age=31536000"}
	}
	if d.inFlight.Add(1) > MaxRequestsInFlight {
		d.inFlight.Add(-1)
		d.fail(w, r, refuse("busy", "%d requests are in flight", MaxRequestsInFlight).with("Retry-After", "1"))
		return
	}
	defer d.inFlight.Add(-1)
	if p := checkEnvelope(r); p != nil {
		d.fail(w, r, p)
		return
	}
	if d.cors(w, r) {
		return
	}
	d.throughWhich(r).echo.ServeHTTP(w, r)
}

// throughWhich lets a caller on this machine who knows the operator's token in by the operator's door.
func (d *apiDoor) throughWhich(r *http.Request) *apiDoor {
	if !d.asOperator && d.isOperator(r) {
		return d.operator
	}
	return d
}

func newRequestID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

func checkEnvelope(r *http.Request) *problem {
	if len(r.RequestURI) > MaxURLBytes {
		return refuse("too_large", "URL of %d bytes, limit %d", len(r.RequestURI), MaxURLBytes)
	}
	size := 0
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	if size > MaxHeaderBytes {
		return refuse("too_large", "headers of %d bytes, limit %d", size, MaxHeaderBytes)
	}
	return nil
}

// routeError answers what echo found no handler for.
func (d *apiDoor) routeError(err error, c echo.Context) {
	var notRouted *echo.HTTPError
	if errors.As(err, &notRouted) {
		switch notRouted.Code {
		case http.StatusMethodNotAllowed:
			allow, _ := c.Get(echo.ContextKeyHeaderAllow).(string)
			err = refuse("method_not_allowed", "%s is not a method of this path", c.Request().Method).with("Allow", allow)
		case http.StatusNotFound:
			err = refuse("not_found", "no such route; /openapi.json lists them")
		default:
			err = refuse("bad_parameter", "the path cannot be read")
		}
	}
	d.fail(c.Response(), c.Request(), err)
}

// fail turns an error into a problem; what is not the caller's fault is logged and told as little of as possible.
func (d *apiDoor) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p == nil {
		p = refuse("internal", "the node could not answer; its log has the reason under this request id")
		d.Log.Error("request failed", "request", w.Header().Get("Request-Id"), "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if status, plugins := d.codes[p.Code]; plugins && p.Status == 0 {
		p.Status = status
	}
	d.stamp(w.Header())
	writeProblem(w, r, p)
}

// serve is the inside of every request: who calls, may they, how often, is it well formed; then the handler.
func (d *apiDoor) serve(route *apiRoute) echo.HandlerFunc {
	return func(e echo.Context) error {
		c := &apiCall{apiDoor: d, Context: e, route: route}
		if err := c.run(); err != nil && !e.Response().Committed { // else half an answer is out: nothing more can be said
			d.fail(e.Response(), e.Request(), err)
		}
		c.log()
		return nil
	}
}

// log writes a line about a request, if anyone wants to know: no body, no key, no query.
func (c *apiCall) log() {
	if r := c.Request(); c.Log.Enabled(r.Context(), slog.LevelDebug) {
		c.Log.Debug("request", slog.String("request", c.Response().Header().Get("Request-Id")), slog.String("method", r.Method),
			slog.String("route", c.route.path), slog.String("caller", c.caller.id), slog.Int("status", c.Response().Status))
	}
}

func (c *apiCall) run() error {
	for _, step := range []func(*apiCall) error{(*apiCall).admit, (*apiCall).checkQuery, (*apiCall).checkAccept, (*apiCall).readBody, (*apiCall).awaitPosition} {
		if err := step(c); err != nil {
			return err
		}
	}
	return c.route.handle(c)
}

// checkQuery reads the query and refuses what the route does not know, and what is there twice.
func (c *apiCall) checkQuery() error {
	raw := c.Request().URL.RawQuery
	if raw == "" || c.route.anyQuery {
		return nil
	}
	var err error
	if c.query, err = url.ParseQuery(raw); err != nil {
		return refuse("bad_parameter", "the query cannot be read")
	}
	for name, values := range c.query {
		if !slices.Contains(c.route.query, name) {
			return refuse("bad_parameter", "no parameter %.60q here; known are: %s", name, cmp.Or(strings.Join(c.route.query, ", "), "none"))
		}
		if len(values) > 1 {
			return refuse("bad_parameter", "parameter %q twice", name)
		}
	}
	return nil
}

// checkAccept makes sure that the caller takes a type the route gives.
func (c *apiCall) checkAccept() error {
	if !c.route.anyAccept && c.given() == "" {
		return refuse("not_acceptable", "this route gives %s", strings.Join(c.route.types0(), ", "))
	}
	return nil
}

func (r *apiRoute) types0() []string {
	if len(r.gives) > 0 {
		return r.gives
	}
	return []string{jsonType}
}

const (
	jsonType   = "application/json"
	bytesType  = "application/octet-stream"
	textType   = "text/plain"
	eventsType = "text/event-stream"
)

// given is the media type to answer in: the first of the route's that the caller takes, or nothing.
func (c *apiCall) given() string {
	accept := c.Request().Header["Accept"]
	gives := c.route.types0()
	if len(accept) == 0 || (len(accept) == 1 && (accept[0] == "*/*" || accept[0] == gives[0])) {
		return gives[0]
	}
	for _, line := range accept {
		for _, one := range strings.Split(line, ",") {
			if t := match(gives, one); t != "" {
				return t
			}
		}
	}
	return ""
}

// match finds the type that one range of an Accept header means. Ranges are taken in the caller's order; weights only
// tell what is not wanted at all.
func match(gives []string, one string) string {
	wanted, params, err := mime.ParseMediaType(one)
	if err != nil || params["q"] == "0" {
		return ""
	}
	group, rest, _ := strings.Cut(wanted, "/")
	for _, t := range gives {
		if wanted == "*/*" || wanted == t || (rest == "*" && strings.HasPrefix(t, group+"/")) {
			return t
		}
	}
	return ""
}

// readBody reads a body within the route's bound and its time. What is announced as too large is not read at all.
func (c *apiCall) readBody() error {
	r := c.Request()
	limit := c.route.body
	if r.ContentLength == 0 && c.route.mayLack {
		return nil
	}
	if limit == 0 {
		if r.ContentLength != 0 {
			return refuse("bad_parameter", "this route takes no body")
		}
		return nil
	}
	if err := c.checkBodyType(); err != nil {
		return err
	}
	if r.ContentLength > int64(limit) {
		return tooLarge(limit)
	}
	deadline := http.NewResponseController(c.Response())
	_ = deadline.SetReadDeadline(time.Now().Add(bodyTime(limit))) // recorders in tests have none
	var err error
	if r.ContentLength > 0 {
		c.body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, c.body)
	} else {
		c.body, err = io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	}
	_ = deadline.SetReadDeadline(time.Time{}) // or a long wait would be taken for a dead caller
	return bodyError(err, len(c.body), limit)
}

func bodyTime(limit int) time.Duration {
	return 10*time.Second + time.Duration(limit>>16)*time.Second
}

func tooLarge(limit int) *problem { return refuse("too_large", "the body may have %d bytes", limit) }

func bodyError(err error, size, limit int) error {
	var timeout net.Error
	switch {
	case size > limit:
		return tooLarge(limit)
	case err == nil && size == 0:
		return refuse("bad_json", "the body is empty")
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return refuse("slow_request", "the body took longer than %s", bodyTime(limit)).with("Connection", "close")
	}
	return refuse("bad_json", "the body ended early or is badly framed").with("Connection", "close")
}

func (c *apiCall) checkBodyType() error {
	h := c.Request().Header
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		return refuse("unsupported_media_type", "compressed bodies are not read")
	}
	types := c.route.types
	if len(types) == 0 {
		types = []string{jsonType}
	}
	if t := h.Get("Content-Type"); slices.Contains(types, t) {
		return nil
	}
	t, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if charset := params["charset"]; err != nil || !slices.Contains(types, t) || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return refuse("unsupported_media_type", "the body must be %s", strings.Join(types, " or "))
	}
	return nil
}

// behindTime is how long a read waits for a position this node has not applied yet.
const behindTime = 5 * time.Second

// awaitPosition honours Weft-Min-Position.
func (c *apiCall) awaitPosition() error {
	text := c.Request().Header["Weft-Min-Position"]
	if len(text) == 0 {
		return nil
	}
	least, err := strconv.ParseUint(text[0], 10, 53)
	if err != nil || len(text) > 1 {
		return refuse("bad_parameter", "Weft-Min-Position: want a position")
	}
	give := time.NewTimer(behindTime)
	defer give.Stop()
	for {
		changed := c.Node.Changed()
		have := uint64(c.Node.Head().Position)
		if have >= least {
			return nil
		}
		select {
		case <-changed:
		case <-give.C:
			return refuse("behind", "this node has applied %d positions, asked for %d", have, least).with("Retry-After", "1")
		case <-c.closing.Done():
			return refuse("shutting_down", "the node stops")
		case <-c.Request().Context().Done():
			return c.Request().Context().Err()
		}
	}
}

// stamp says as of when the answer is. It is called last: what was read is no newer than what the headers say.
func (d *apiDoor) stamp(h http.Header) {
	head := d.Node.Head()
	h["Weft-Position"] = []string{strconv.FormatUint(uint64(head.Position), 10)}
	h["Weft-Final"] = []string{strconv.FormatUint(uint64(head.Final), 10)}
	if head.FinalTime > 0 {
		h["Weft-Time"] = []string{head.FinalTime.String()}
	}
}

// json answers with a value.
func (c *apiCall) json(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.bytes(status, jsonType, body)
}

// bytes answers with a whole body.
func (c *apiCall) bytes(status int, mediaType string, body []byte) error {
	w := c.Response()
	h := w.Header()
	c.stamp(h)
	h["Content-Type"] = []string{mediaType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to tell
	return nil
}

// immutable marks an answer that is addressed by its hash or place and never changes.
func (c *apiCall) immutable() {
	h := c.Response().Header()
	if c.route.auth == authRead && c.Config.Read != openAccess {
		h["Cache-Control"] = []string{"private, max-age=31536000, immutable"}
		return
	}
	h["Cache-Control"] = []string{"public, max-age=31536000, immutable"}
}
