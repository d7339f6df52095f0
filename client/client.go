// Package client talks to a node over its REST API: it submits entries, reads the ledger, follows what becomes final and
// checks a node's whole log. Everything a node can prove is checked here, on the caller's machine: receipts with package
// receipt, the log by computing its tree anew.
//
// It holds no keys and keeps nothing on disk, and it never decides what is final: it repeats what a node says, or what a
// quorum of the committee has signed.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"weft/tangle"
)

// Bounds of what a client sends and accepts.
const (
	MaxBatch         = 64       // entries in one request
	MaxResponseBytes = 64 << 20 // of one answer
	MaxConnections   = 256      // to one node
)

// Config says how to reach a node. The zero value of every field but URL is fine.
type Config struct {
	URL    string       // base without a path, such as http://127.0.0.1:8080
	Socket string       // if set, connections go to this unix socket instead of the host in URL
	Token  string       // API key (weft_…) or bearer token; empty: none
	HTTP   *http.Client // its own transport and no overall timeout, if nil
	Retry  Retry        // DefaultRetry if zero

	// ReadYourWrites makes every read wait until the node has applied what this client has seen applied before.
	ReadYourWrites bool
}

// Client is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
	retry Retry
	wait  bool
	seen  atomic.Uint64 // highest Weft-Position of any answer
}

// New checks the configuration; it connects to nothing.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("node URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("node URL %q: want http://host:port or https://host:port", c.URL)
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Transport: newTransport(c.Socket)}
	}
	if c.Retry == (Retry{}) {
		c.Retry = DefaultRetry()
	}
	return &Client{base: u.Scheme + "://" + u.Host, token: c.Token, http: c.HTTP, retry: c.Retry, wait: c.ReadYourWrites}, nil
}

// URL is the node's base URL.
func (c *Client) URL() string { return c.base }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Seen is the highest number of applied positions any answer has told of.
func (c *Client) Seen() tangle.Position { return tangle.Position(c.seen.Load()) }

// See raises what Seen says, for example to what a client of another node has seen: with ReadYourWrites the next read
// waits for it.
func (c *Client) See(p tangle.Position) {
	for {
		have := c.seen.Load()
		if uint64(p) <= have || c.seen.CompareAndSwap(have, uint64(p)) {
			return
		}
	}
}

func newTransport(socket string) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	t := &http.Transport{
		DialContext:           dialer.DialContext,
		MaxConnsPerHost:       MaxConnections,
		MaxIdleConnsPerHost:   MaxConnections,
		IdleConnTimeout:       60 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		DisableCompression:    true,
	}
	if socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return t
}

// call is one request with everything needed to send it again.
type call struct {
	method string
	path   string // with the query
	body   []byte // nil: none
	mime   string // of the body; JSON if empty
	accept string // JSON if empty
	key    string // Idempotency-Key
	once   bool   // must not be sent again by itself
	last   string // Last-Event-ID
	span   string // Range
	match  string // If-Match, without quotes
	stale  bool   // do not ask for Weft-Min-Position
}

// answer is a whole successful response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a call, again where that is safe, and reads the whole answer. A status from 400 on is a *Problem.
func (c *Client) do(ctx context.Context, q call) (answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := c.try(ctx, q)
		if err == nil {
			return a, nil
		}
		pause, again := c.retry.pause(attempt, q.once, err)
		if !again || ctx.Err() != nil {
			return a, err
		}
		if sleep(ctx, pause) != nil {
			return a, err
		}
	}
}

func (c *Client) try(ctx context.Context, q call) (answer, error) {
	response, err := c.open(ctx, q)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, MaxResponseBytes+1))
	switch {
	case err != nil:
		return a, &unreachableError{err}
	case len(a.body) > MaxResponseBytes:
		return a, fmt.Errorf("answer to %s is larger than %d bytes", q.path, MaxResponseBytes)
	case a.status >= 400:
		return a, newProblem(a)
	}
	return a, nil
}

// open sends a call once; the caller closes the body.
func (c *Client) open(ctx context.Context, q call) (*http.Response, error) {
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	request, err := http.NewRequestWithContext(ctx, q.method, c.base+q.path, body)
	if err != nil {
		return nil, err
	}
	c.setHeaders(request.Header, q)
	response, err := c.http.Do(request)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // callers know the URL
		}
		return nil, &unreachableError{err}
	}
	c.learn(response.Header)
	return response, nil
}

func (c *Client) setHeaders(h http.Header, q call) {
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	h.Set("Accept", "application/json")
	set("Accept", q.accept)
	set("Idempotency-Key", q.key)
	set("Last-Event-ID", q.last)
	set("Range", q.span)
	if q.match != "" {
		h.Set("If-Match", strconv.Quote(q.match))
	}
	if q.body != nil {
		h.Set("Content-Type", "application/json")
		set("Content-Type", q.mime)
	}
	if strings.HasPrefix(c.token, "weft_") {
		h.Set("X-API-Key", c.token)
	} else if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	if seen := c.seen.Load(); c.wait && !q.stale && q.method == http.MethodGet && seen > 0 {
		h.Set("Weft-Min-Position", strconv.FormatUint(seen, 10))
	}
}

// learn keeps the highest position a node has told of.
func (c *Client) learn(h http.Header) {
	if n, err := strconv.ParseUint(h.Get("Weft-Position"), 10, 64); err == nil {
		c.See(tangle.Position(n))
	}
}

// get reads a JSON resource.
func (c *Client) get(ctx context.Context, path string, into any) error {
	a, err := c.do(ctx, call{method: http.MethodGet, path: path})
	if err != nil {
		return err
	}
	return decode(path, a.body, into)
}

// raw reads a resource as bytes.
func (c *Client) raw(ctx context.Context, path, accept string) ([]byte, error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: path, accept: accept})
	return a.body, err
}

// decode is lenient: a node may say more than this client knows.
func decode(path string, body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("answer to %s is not what was expected: %w", path, err)
	}
	return nil
}

// unreachableError says that no whole answer came.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// Unreachable says whether the error means that the node gave no answer, as opposed to an answer that says no.
func Unreachable(err error) bool {
	var e *unreachableError
	return errors.As(err, &e)
}
