package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weft/config"
)

// MaxPassphraseBytes bounds a passphrase.
const MaxPassphraseBytes = 1 << 10

func newKeyCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "make and show key files",
		Long: `A key file holds an Ed25519 key: PKCS #8 in PEM, as openssl reads it; with a passphrase
inside an armored age file. Only its owner may read it (mode 0600). The public half, 64
hex digits, is the member's identity.`,
	}
	c.AddCommand(newKeyNewCommand(s), newKeyShowCommand(s))
	return c
}

func newKeyNewCommand(s *shell) *cobra.Command {
	var passphraseFile string
	c := &cobra.Command{
		Use:     "new FILE",
		Short:   "make a key; an existing file is never overwritten",
		Example: "  weft key new member.key\n  weft key new member.key --passphrase-file words.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			words, err := s.readPassphrase(passphraseFile)
			if err != nil {
				return err
			}
			key, err := config.NewKey()
			if err != nil {
				return err
			}
			if err := config.WriteKey(args[0], key, words); err != nil {
				return err
			}
			return s.showKey(args[0], config.MemberOf(key).String())
		},
	}
	c.Flags().StringVar(&passphraseFile, "passphrase-file", "", "encrypt with the passphrase in this file (- for standard input)")
	return c
}

func newKeyShowCommand(s *shell) *cobra.Command {
	var passphraseFile string
	c := &cobra.Command{
		Use:     "show [FILE]",
		Short:   "print the public half of a key: of a file, or with --dir of a node",
		Example: "  weft key show weft/node.key\n  weft key show --dir weft",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := config.Dir(s.dir).Key()
			if len(args) > 0 {
				file = args[0]
			} else if s.dir == "" {
				return usage("which key? Name its file, or a data folder with --dir")
			}
			key, err := config.ReadKey(file, func() (string, error) { return s.readPassphrase(passphraseFile) })
			if err != nil {
				return needPassphrase(err)
			}
			return s.showKey(file, config.MemberOf(key).String())
		},
	}
	c.Flags().StringVar(&passphraseFile, "passphrase-file", os.Getenv("WEFT_PASSPHRASE_FILE"), "file with the key's passphrase (- for standard input); also WEFT_PASSPHRASE_FILE")
	return c
}

func (s *shell) showKey(file, member string) error {
	if s.json {
		return s.printJSON(map[string]string{"file": file, "member": member})
	}
	s.print("%s\n", member)
	return nil
}

// needPassphrase adds what to do to an error that a passphrase would have prevented.
func needPassphrase(err error) error {
	if errors.Is(err, config.ErrPassphrase) {
		return fmt.Errorf("%w: give it with --passphrase-file FILE", err)
	}
	return err
}

// readPassphrase reads the first line of a file, or of standard input for "-". No file means no passphrase. It is not
// asked for on the terminal and never a flag: both would show it to others.
func (s *shell) readPassphrase(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	in := s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usage("--passphrase-file: %s", err)
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, MaxPassphraseBytes)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", usage("--passphrase-file: the passphrase is empty")
	}
	return line, nil
}
