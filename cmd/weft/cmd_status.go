package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	statuslist "weft/plugins/identity/status"
	"weft/plugins/identity/vc"
	"weft/tangle"
)

func newStatusCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "status lists: what is revoked or suspended",
		Long: `A status list is a list of bits on the ledger, one for each credential of an issuer and
purpose. Changing a bit is a signed operation, so every node knows of it and anyone can
prove it. A revocation is for good; a suspension can be taken back.`,
	}
	c.AddCommand(newStatusCreateCommand(s), newStatusSetCommand(s), newStatusCloseCommand(s), newStatusShowCommand(s),
		newStatusChangeCommand(s, "revoke", statuslist.Revocation, true), newStatusChangeCommand(s, "suspend", statuslist.Suspension, true),
		newStatusChangeCommand(s, "reinstate", statuslist.Suspension, false))
	return c
}

func newStatusCreateCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	terms := statuslist.ListTerms{}
	purpose, home := "", ""
	c := &cobra.Command{
		Use:     "create --keys FILE --purpose revocation|suspension",
		Short:   "make a list; its ID is printed",
		Example: "  weft status create --keys bank.keys --purpose revocation",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			terms.Purpose = statuslist.Purpose(purpose)
			if terms.Home, err = s.homeMember(c, home); err != nil {
				return err
			}
			return a.act(c.Context(), false, func(h operation.Header) (did.Object, error) { return statuslist.NewCreateList(h, terms), nil })
		},
	}
	a.add(c)
	f := c.Flags()
	f.StringVar(&purpose, "purpose", string(statuslist.Revocation), "revocation or suspension")
	f.IntVar(&terms.Size, "size", statuslist.MinSize, "number of credentials it has room for: 131072, or 2, 4 or 8 times it")
	f.StringArrayVar(&terms.Writers, "writer", nil, "another DID that may change it; may be repeated")
	f.StringVar(&home, "home", "", "member whose node keeps the book of used indexes; default: the node's own")
	return c
}

// homeMember takes the flag, or the member of the node.
func (s *shell) homeMember(c *cobra.Command, text string) (tangle.Member, error) {
	if text != "" {
		m, err := tangle.ParseMember(text)
		if err != nil {
			return m, usage("--home: %s", err)
		}
		return m, nil
	}
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return tangle.Member{}, err
	}
	info, err := node.Node(c.Context())
	return info.Member, remote(node, err)
}

func newStatusSetCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	on, off := "", ""
	c := &cobra.Command{
		Use:     "set LIST --keys FILE --on INDEXES",
		Short:   "set and clear bits by their numbers",
		Example: "  weft status set zQm… --keys bank.keys --on 17,4711-4720 --off 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			set, err := parseIndexes("--on", on)
			if err != nil {
				return err
			}
			clear, err := parseIndexes("--off", off)
			if err != nil {
				return err
			}
			if n := len(set) + len(clear); n == 0 || n > statuslist.MaxIndexes {
				return usage("%d indexes: want 1 to %d", n, statuslist.MaxIndexes)
			}
			return a.act(c.Context(), true, func(h operation.Header) (did.Object, error) { return statuslist.NewSet(h, args[0], set, clear), nil })
		},
	}
	a.add(c)
	c.Flags().StringVar(&on, "on", "", "numbers of the bits to set, such as 17,4711-4720")
	c.Flags().StringVar(&off, "off", "", "numbers of the bits to clear; a suspension list only")
	return c
}

// parseIndexes reads numbers and spans between commas.
func parseIndexes(flag, text string) (list []int, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, span := strings.Cut(strings.TrimSpace(part), "-")
		from, err1 := strconv.Atoi(first)
		to := from
		var err2 error
		if span {
			to, err2 = strconv.Atoi(last)
		}
		if err1 != nil || err2 != nil || from < 0 || to < from || to-from >= statuslist.MaxIndexes || len(list) > statuslist.MaxIndexes {
			return nil, usage("%s %s: want at most %d numbers and spans such as 17,4711-4720", flag, text, statuslist.MaxIndexes)
		}
		for i := from; i <= to; i++ {
			list = append(list, i)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func newStatusCloseCommand(s *shell) *cobra.Command {
	a := &acting{shell: s}
	c := &cobra.Command{
		Use:   "close LIST --keys FILE",
		Short: "let nothing in a list change any more",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.act(c.Context(), true, func(h operation.Header) (did.Object, error) { return statuslist.NewCloseList(h, args[0]), nil })
		},
	}
	a.add(c)
	return c
}

func newStatusShowCommand(s *shell) *cobra.Command {
	index := -1
	c := &cobra.Command{
		Use:     "show LIST [--index N]",
		Short:   "show a list as the ledger has it",
		Example: "  weft status show zQm… --index 4711",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			list, err := node.StatusList(c.Context(), args[0], time.Time{})
			if err != nil {
				return remote(node, err)
			}
			return s.showList(list, index)
		},
	}
	c.Flags().IntVar(&index, "index", -1, "say what one bit is")
	return c
}

func (s *shell) showList(l client.StatusList, index int) error {
	if s.json && index < 0 {
		return s.printJSON(l)
	}
	bits, err := vc.DecodeList(l.Encoded)
	if err != nil {
		return fmt.Errorf("the node's answer holds no list: %w", err)
	}
	if index >= 0 {
		return s.showBit(l, bits, index)
	}
	set := 0
	for i := range bits.Len() {
		if bits.Get(uint64(i)) {
			set++
		}
	}
	rows := [][]string{{"list", l.ID}, {"issuer", l.Issuer}, {"purpose", l.Purpose}, {"set", fmt.Sprintf("%d of %d", set, bits.Len())}}
	if l.Closed != nil {
		rows = append(rows, []string{"closed", clock(l.Closed)})
	}
	s.table(rows)
	return nil
}

func (s *shell) showBit(l client.StatusList, bits vc.Bitstring, index int) error {
	if index >= bits.Len() {
		return usage("--index %d: the list has %d bits", index, bits.Len())
	}
	set := bits.Get(uint64(index))
	if s.json {
		return s.printJSON(map[string]any{"list": l.ID, "index": index, "set": set, "purpose": l.Purpose})
	}
	words := map[bool]string{true: "set", false: "not set"}
	s.print("%d is %s (%s)\n", index, words[set], l.Purpose)
	return nil
}

// newStatusChangeCommand makes revoke, suspend and reinstate: they find lists and indexes in the credentials themselves.
func newStatusChangeCommand(s *shell, verb string, purpose statuslist.Purpose, on bool) *cobra.Command {
	a := &acting{shell: s}
	c := &cobra.Command{
		Use:     verb + " CREDENTIAL... --keys FILE",
		Short:   verb + " credentials by their files: list and index are in them",
		Example: "  weft status " + verb + " anna.json --keys bank.keys",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			list, indexes, err := s.statusOf(args, string(purpose))
			if err != nil {
				return err
			}
			return a.act(c.Context(), true, func(h operation.Header) (did.Object, error) {
				if on {
					return statuslist.NewSet(h, list, indexes, nil), nil
				}
				return statuslist.NewSet(h, list, nil, indexes), nil
			})
		},
	}
	a.add(c)
	return c
}

// statusOf reads the entries of one purpose; all credentials must be in one list.
func (s *shell) statusOf(files []string, purpose string) (list string, indexes []int, err error) {
	for _, file := range files {
		doc, err := s.readCredential(file)
		if err != nil {
			return "", nil, err
		}
		url, index, err := statusEntry(doc, purpose)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", file, err)
		}
		id := url[strings.LastIndexByte(url, '/')+1:]
		if list != "" && list != id {
			return "", nil, fmt.Errorf("%s is in another list than the files before it: one operation changes one list", file)
		}
		list, indexes = id, append(indexes, index)
	}
	slices.Sort(indexes)
	return list, slices.Compact(indexes), nil
}

func statusEntry(doc did.Object, purpose string) (url string, index int, err error) {
	for _, entry := range objectsIn(doc, "credentialStatus") {
		if textIn(entry, "statusPurpose") != purpose {
			continue
		}
		index, err = strconv.Atoi(textIn(entry, "statusListIndex"))
		if err != nil || index < 0 || index >= statuslist.MaxSize || operation.CheckHash(lastSegment(textIn(entry, "statusListCredential"))) != nil {
			return "", 0, errors.New("its status entry is in no list of the ledger")
		}
		return textIn(entry, "statusListCredential"), index, nil
	}
	return "", 0, fmt.Errorf("the credential has no status for %s: it cannot be changed", purpose)
}

func lastSegment(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }
