package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
)

func newLoginCommand(s *shell) *cobra.Command {
	keys := keyFlags{}
	audience, out, key := "", "", ""
	c := &cobra.Command{
		Use:   "login --keys FILE",
		Short: "log in at a node with a DID; prints a token for --token-file",
		Long: `Proves with a document key that you hold a DID, and gets a token for at most 15 minutes.
The key stays here; the node gets one signature that is good for nothing else.`,
		Example: `  weft login --keys me.keys --out token
  weft vc draft … --token-file token`,
		RunE: func(c *cobra.Command, _ []string) error { return s.login(c.Context(), keys, key, audience, out) },
	}
	keys.add(c.Flags())
	f := c.Flags()
	f.StringVar(&key, "key", "", "the document key to use, such as key-1; default: the first one that signs")
	f.StringVar(&audience, "audience", "", "whom the token is for; default: this node")
	f.StringVar(&out, "out", "-", "file for the token, mode 0600, never overwritten; - prints it")
	return c
}

func (s *shell) login(ctx context.Context, keys keyFlags, key, audience, out string) error {
	ring, err := s.openKeys(keys)
	if err != nil {
		return err
	}
	defer ring.close()
	file, public, err := ring.documentKey(key)
	if err != nil {
		return err
	}
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	who := client.LoginKey{DID: file.DID, Method: file.DID + public.ID, Sign: func(m []byte) ([]byte, error) { return file.Sign(public.Public, m) }}
	token, err := node.Login(ctx, who, audience, time.Now())
	if err != nil {
		return remote(node, err)
	}
	if out == "-" {
		if s.json {
			return s.printJSON(token)
		}
		s.print("%s\n", token.Token)
		return nil
	}
	if err := writeSecret(out, token.Token); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(map[string]any{"file": out, "did": file.DID, "expiresIn": token.ExpiresIn, "roles": token.Roles})
	}
	s.print("%s: token of %s for %d s\n", out, file.DID, token.ExpiresIn)
	return nil
}
