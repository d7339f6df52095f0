// Command soc tells the story of package audittrail against a network that runs, such as 'weft testnet --dir net': name its
// genesis file, a log, and the URLs of its nodes.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"weft/client"
	"weft/examples/soc/audittrail"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "soc:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) < 3 {
		return errors.New("usage: soc GENESIS LOG URL [URL]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	tour := audittrail.Tour{Say: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	if tour.Genesis, err = os.ReadFile(args[0]); err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text[:min(len(text), 1<<20)]) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			tour.Lines = append(tour.Lines, line[:min(len(line), 8<<10)])
		}
	}
	for _, url := range args[2:] {
		c, err := client.New(client.Config{URL: url})
		if err != nil {
			return err
		}
		defer c.Close()
		tour.Nodes = append(tour.Nodes, c)
	}
	return tour.Run(ctx)
}
