package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/tangle"
)

func newMessageCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "message",
		Short: "put plain data on the ledger and look at it",
	}
	c.AddCommand(newSendCommand(s), newShowCommand(s))
	return c
}

func newShowCommand(s *shell) *cobra.Command {
	raw := false
	c := &cobra.Command{
		Use:   "show ID|HASH",
		Short: "show a message or an entry",
		Long: `Shows a message by its ID, or an entry by its hash: status, place in the order,
outcome and data.`,
		Example: `  weft message show 4be1…        what is known of it
  weft message show --raw 4be1…  only the entry's bytes, as they were sent`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := tangle.ParseHash(args[0])
			if err != nil {
				return usage("%q is not the ID of a message or the hash of an entry: %s", args[0], err)
			}
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			return remote(node, s.showEntryOrMessage(c.Context(), node, id, raw))
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, "write only the entry's bytes")
	return c
}

func (s *shell) showEntryOrMessage(ctx context.Context, node *client.Client, id tangle.Hash, raw bool) error {
	entry, err := node.Entry(ctx, id)
	if err == nil {
		return s.showEntry(entry, raw)
	}
	if !isNotFound(err) {
		return err
	}
	if raw {
		return fmt.Errorf("the node knows no entry %s", id)
	}
	message, err := node.Message(ctx, tangle.ID(id))
	if isNotFound(err) {
		return fmt.Errorf("the node knows neither an entry nor a message %s", id)
	}
	if err != nil {
		return err
	}
	return s.showMessage(message)
}

func isNotFound(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// tagged is the data of an entry of kind data.
type tagged struct {
	Tag   string `json:"tag"`
	Bytes string `json:"bytes"`
}

func readTagged(data json.RawMessage) (tag string, body []byte, ok bool) {
	var t tagged
	if json.Unmarshal(data, &t) != nil {
		return "", nil, false
	}
	body, err := base64.RawURLEncoding.DecodeString(t.Bytes)
	return t.Tag, body, err == nil
}

func (s *shell) showEntry(e client.EntryRecord, raw bool) error {
	tag, body, plain := readTagged(e.Data)
	if raw {
		if !plain {
			body = e.Data
		}
		_, err := s.out.Write(body)
		return err
	}
	if s.json {
		return s.printJSON(e)
	}
	rows := [][]string{
		{"entry", e.EntryHash.String()},
		{"message", e.MessageID.String()},
		{"author", e.Author.String()},
		{"kind", string(e.Kind)},
		{"status", statusWords(e.Status, e.Outcome, e.Code)},
		{"place", placeWords(e.Place)},
		{"ordered", clock(e.Time)},
	}
	if plain {
		rows = append(rows, []string{"tag", tag}, []string{"bytes", strconv.Itoa(len(body))}, []string{"data", printable(body)})
	} else if len(e.Data) > 0 {
		rows = append(rows, []string{"data", printable(e.Data)})
	}
	s.table(rows)
	return nil
}

func (s *shell) showMessage(m client.Message) error {
	if s.json {
		return s.printJSON(m)
	}
	position := "-"
	if m.Position != nil {
		position = strconv.FormatUint(uint64(*m.Position), 10)
	}
	rows := [][]string{
		{"message", m.ID.String()},
		{"class", m.Class},
		{"author", m.Author.String()},
		{"seq", fmt.Sprintf("%d in epoch %d", m.Seq, m.Epoch)},
		{"sent", clock(&m.Time)},
		{"status", string(m.Status)},
		{"position", position},
		{"ordered", clock(m.Ordered)},
		{"parents", strconv.Itoa(len(m.Parents))},
	}
	for _, p := range m.Parents {
		rows = append(rows, []string{"", p.String()})
	}
	rows = append(rows, []string{"entries", strconv.Itoa(len(m.Entries))})
	for _, e := range m.Entries {
		words := strings.TrimSuffix(fmt.Sprintf("%s, %d bytes, %s", e.Kind, e.Size, statusWords("", e.Outcome, e.Code)), ", ")
		rows = append(rows, []string{"", e.EntryHash.String() + "  " + words})
	}
	s.table(rows)
	return nil
}

func statusWords(status client.Status, outcome, code string) string {
	words := strings.Trim(string(status)+", "+outcome, ", ")
	if code != "" {
		words += " (" + code + ")"
	}
	return words
}

func placeWords(p *client.Place) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("position %d, entry %d", p.Position, p.Index)
}

// printable is text as it is, and anything that could confuse a terminal as base64url.
func printable(b []byte) string {
	text := strings.TrimRight(string(b), "\n")
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' }) < 0 {
		return strings.ReplaceAll(text, "\n", "\n\t")
	}
	return base64.RawURLEncoding.EncodeToString(b) + " (base64url)"
}
