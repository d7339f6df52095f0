// Command eshop tells the story of package agecheck against a network that runs, such as 'weft testnet': name the URLs of
// its nodes. walkthrough.sh beside it is a part of the story in curl.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"weft/client"
	"weft/examples/eshop/agecheck"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "eshop:", err)
		os.Exit(1)
	}
}

func run(urls []string) error {
	if len(urls) == 0 {
		urls = []string{"http://127.0.0.1:8080", "http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	tour := agecheck.Tour{Say: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	for _, url := range urls {
		c, err := client.New(client.Config{URL: url})
		if err != nil {
			return err
		}
		defer c.Close()
		tour.Nodes = append(tour.Nodes, c)
	}
	return tour.Run(ctx)
}
