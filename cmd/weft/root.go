package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"weft/plugins"
)

// The exit codes of every command.
const (
	exitDone        = 0
	exitRefused     = 1 // the node, a check or this machine said no
	exitUsage       = 2
	exitUnreachable = 3
)

// shell is what every command gets: the streams, the shared flags and the list of plugins.
type shell struct {
	in       io.Reader
	out, err io.Writer
	plugins  []plugins.Maker

	json      bool   // --json: one JSON value (or one a line) on out, nothing else
	api       string // --api: URL of a node
	socket    string // --socket: path of a node's operator socket
	dir       string // --dir: a node's data folder on this machine
	tokenFile string // --token-file: file with the operator's token or an API key

	dirGiven bool // dir comes from the flag, not from the environment
}

// run is main without the process: it returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer, makers []plugins.Maker) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	s := &shell{in: in, out: out, err: errOut, plugins: makers}
	root := newRootCommand(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	code := exitRefused
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
	}
	if e == nil || e.err != nil {
		s.fail(err, code)
	}
	return code
}

func newRootCommand(s *shell) *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "a ledger that a consortium runs together",
		Long: `Weft is a private, permissioned ledger that a consortium runs together: each member
its own node, no coordinator, no fees, one order that all agree on, and receipts
that anyone can check offline.

Start here:
  weft testnet                     four members on this machine; Ctrl-C ends them
  weft message send note.txt       put a file on the ledger (in another terminal)
  weft init --help                 a node of your own`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.CompletionOptions.HiddenDefaultCmd = false
	flags := root.PersistentFlags()
	flags.BoolVar(&s.json, "json", false, "print JSON for programs instead of text for people")
	flags.StringVar(&s.api, "api", "", "URL of the node to talk to; also WEFT_API (default http://127.0.0.1:8080)")
	flags.StringVar(&s.socket, "socket", "", "operator socket of the node to talk to")
	flags.StringVar(&s.dir, "dir", os.Getenv("WEFT_DIR"), "data folder of a node on this machine; also WEFT_DIR")
	flags.StringVar(&s.tokenFile, "token-file", os.Getenv("WEFT_TOKEN_FILE"), "file with an operator token or API key; also WEFT_TOKEN_FILE")
	root.PersistentPreRun = func(*cobra.Command, []string) { s.dirGiven = flags.Changed("dir") }
	root.Version = version().Version
	root.SetVersionTemplate("weft {{.Version}}\n")
	root.AddCommand(commands(s)...)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage("%s\nSee '%s --help'.", err, c.CommandPath()) })
	checkArgs(root)
	return root
}

// commands is the list of verbs, in the order of the help.
func commands(s *shell) []*cobra.Command {
	return []*cobra.Command{
		newTestnetCommand(s),
		newInitCommand(s),
		newRunCommand(s),
		newMessageCommand(s),
		newFollowCommand(s),
		newReceiptCommand(s),
		newLogCommand(s),
		newNodeCommand(s),
		newPeersCommand(s),
		newHealthCommand(s),
		newDoctorCommand(s),
		newReindexCommand(s),
		newPurgeCommand(s),
		newKeyCommand(s),
		newDIDCommand(s),
		newVCCommand(s),
		newStatusCommand(s),
		newTrustCommand(s),
		newChannelCommand(s),
		newLoginCommand(s),
		newIssuerCommand(s),
		newManagedCommand(s),
		newContextsCommand(s),
		newConformanceCommand(s),
		newBenchCommand(s),
		newVersionCommand(s),
	}
}

// checkArgs makes wrong arguments of any command below c a usage error, and a verb that only groups others say so.
func checkArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		check = unknownVerb
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage("%s\nSee '%s --help'.", err, c.CommandPath())
		}
		return nil
	}
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
}

func unknownVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("%q is not a command of %s%s", args[0], c.CommandPath(), hint)
}

// exitError is an error with the exit code it means; an error without one means exitRefused. Without err, the command has
// said all there is to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// usage says that the command was called wrongly.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// unreachable says that no node answered.
func unreachable(err error) error { return &exitError{exitUnreachable, err} }

// fail tells the caller why the command ended: people on err, programs also on out.
func (s *shell) fail(err error, code int) {
	if s.json {
		s.printJSON(map[string]any{"error": err.Error(), "exit": code})
		return
	}
	fmt.Fprintf(s.err, "weft: %s\n", err)
}

// print writes what for people; it is silent under --json.
func (s *shell) print(format string, args ...any) {
	if !s.json {
		fmt.Fprintf(s.out, format, args...)
	}
}

// printJSON writes one value on one line.
func (s *shell) printJSON(v any) error { return json.NewEncoder(s.out).Encode(v) }

// endpoint is how to reach a node.
type endpoint struct {
	URL    string // base, without a path
	Socket string // if set, connections go there instead of the host in URL
	Token  string // operator token or API key; empty: none
}

// MaxTokenBytes bounds what is read from a token file.
const MaxTokenBytes = 4 << 10

// defaultAPI is where a node listens unless node.json says otherwise.
const defaultAPI = "http://127.0.0.1:8080"

// endpoint resolves the shared flags: --socket before --api before --dir, then the environment in the same order, then the
// default.
func (s *shell) endpoint() (endpoint, error) {
	var e endpoint
	var err error
	switch {
	case s.socket != "":
		e.URL, e.Socket = "http://localhost", s.socket
	case s.api != "":
		e.URL, err = apiURL("--api", s.api)
	case s.dir == "" || (!s.dirGiven && os.Getenv("WEFT_API") != ""):
		e.URL, err = apiURL("WEFT_API", cmp.Or(os.Getenv("WEFT_API"), defaultAPI))
	default:
		e, err = dirEndpoint(s.dir)
	}
	if err == nil && s.tokenFile != "" {
		e.Token, err = readToken(s.tokenFile)
	}
	return e, err
}

func apiURL(from, s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return "", usage("%s %s: want http:// or https://", from, s)
	}
	return strings.TrimRight(s, "/"), nil
}

// dirEndpoint reaches the node that runs on a data folder, by its socket.
func dirEndpoint(dir string) (endpoint, error) {
	if _, err := os.Stat(filepath.Join(dir, "node.json")); err != nil {
		return endpoint{}, usage("--dir %s: no node.json there; 'weft init --dir %s' makes a data folder", dir, dir)
	}
	return endpoint{URL: "http://localhost", Socket: filepath.Join(dir, "api.sock")}, nil
}

func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usage("--token-file: %s", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxTokenBytes))
	return strings.TrimSpace(string(b)), err
}
