package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/plugins/identity"
	"weft/plugins/identity/jsonld"
)

func newContextsCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "contexts",
		Short: "JSON-LD contexts, which eddsa-rdfc-2022 needs",
		Long: `JSON-LD contexts are documents of others and not part of weft. A node takes those in
contexts/ of its data folder, if their hash is known to weft or pinned in node.json: a
context decides what signed words mean. Without them everything works but credentials by
eddsa-rdfc-2022 and of the data model 1.1.`,
	}
	r := &contextsCommand{shell: s}
	c.AddCommand(
		&cobra.Command{
			Use: "add FILE... --dir DIR", Short: "put context files into a node's data folder", Args: cobra.MinimumNArgs(1),
			Example: "  weft contexts add credentials-v2.jsonld --dir weft",
			RunE:    func(_ *cobra.Command, files []string) error { return r.addFiles(files) },
		},
		&cobra.Command{
			Use: "fetch --dir DIR", Short: "take the known contexts from where they are published", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return r.fetch(c.Context()) },
		},
		&cobra.Command{
			Use: "list --dir DIR", Short: "list the contexts of a data folder, and those that it lacks", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return r.list() },
		},
	)
	return c
}

type contextsCommand struct{ *shell }

// known are the contexts that the node of the data folder would accept.
func (r *contextsCommand) known() (*jsonld.Contexts, error) {
	n, err := r.nodeFile()
	if err != nil {
		return nil, err
	}
	return identity.KnownContexts(n.Plugins[identity.Name])
}

func (r *contextsCommand) addFiles(files []string) error {
	known, err := r.known()
	if err != nil {
		return err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err == nil {
			err = r.add(known, text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// add puts a file into the folder, under its hash.
func (r *contextsCommand) add(known *jsonld.Contexts, text []byte) error {
	urls := known.Identify(text)
	sum := sha256.Sum256(text)
	if len(urls) == 0 {
		return fmt.Errorf("no context of this hash is known; to take it anyway, pin it in plugins.identity.contexts of node.json: %x", sum)
	}
	dir := filepath.Join(r.dir, identity.ContextDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r.print("%s\n", strings.Join(urls, " "))
	return os.WriteFile(filepath.Join(dir, hex.EncodeToString(sum[:8])+".jsonld"), text, 0o644)
}

func (r *contextsCommand) fetch(ctx context.Context) error {
	known, err := r.known()
	if err != nil {
		return err
	}
	web := &http.Client{Timeout: 30 * time.Second}
	var failed []error
	for _, pin := range jsonld.Pinned() {
		text, err := fetchContext(ctx, web, pin.URL)
		if err == nil {
			err = r.add(known, text)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", pin.URL, err))
		}
	}
	return errors.Join(failed...)
}

// fetchContext gets a document from its published address. Whatever comes is judged by its hash.
func fetchContext(ctx context.Context, web *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/ld+json, application/json;q=0.9")
	response, err := web.Do(request)
	if err != nil {
		return nil, unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", response.StatusCode)
	}
	return io.ReadAll(io.LimitReader(response.Body, jsonld.MaxContextBytes))
}

func (r *contextsCommand) list() error {
	known, err := r.known()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(r.dir, identity.ContextDir, "*"))
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, url := range known.Identify(text) {
			there[url] = true
		}
	}
	if r.json {
		return r.printJSON(there)
	}
	for _, pin := range jsonld.Pinned() {
		if !there[pin.URL] {
			r.print("missing  %s\n", pin.URL)
		}
	}
	for _, url := range slices.Sorted(maps.Keys(there)) {
		r.print("there    %s\n", url)
	}
	return nil
}
