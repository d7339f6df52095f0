package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weft/client"
)

// client makes the client that the shared flags ask for.
func (s *shell) client(retry client.Retry) (*client.Client, error) {
	e, err := s.endpoint()
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{URL: e.URL, Socket: e.Socket, Token: e.Token, Retry: retry})
	if err != nil {
		return nil, usage("%s", err)
	}
	return c, nil
}

// remote gives an error of the client its exit code: no answer is not a no.
func remote(c *client.Client, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case client.Unreachable(err):
		return unreachable(fmt.Errorf("no answer from %s: %w\nIs the node running? 'weft health --api URL' asks another one", c.URL(), err))
	}
	if client.ProblemCode(err) == "unauthenticated" {
		return fmt.Errorf("%w\nOn the node's own machine --dir DIR reaches it as its operator; elsewhere --token-file takes an API key", err)
	}
	return err
}

// table writes rows of cells in aligned columns, for people.
func (s *shell) table(rows [][]string) {
	if s.json {
		return
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	w.Flush()
}

// progress is one line on a terminal that is written over; without a terminal it is silent.
type progress struct {
	out  io.Writer // nil: silent
	next time.Time
	long int
}

func (s *shell) progress() *progress {
	if !s.json && onTerminal(s.err) {
		return &progress{out: s.err}
	}
	return &progress{}
}

// show writes the line, at most a few times a second.
func (p *progress) show(format string, args ...any) {
	if p.out == nil || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(200 * time.Millisecond)
	line := fmt.Sprintf(format, args...)
	fmt.Fprintf(p.out, "\r%-*s", p.long, line)
	p.long = len(line)
}

// clear takes the line away.
func (p *progress) clear() {
	if p.out != nil && p.long > 0 {
		fmt.Fprintf(p.out, "\r%*s\r", p.long, "")
	}
	p.long = 0
}

// seconds prints a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// clock prints a point in time; absent ones as a dash.
func clock(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
