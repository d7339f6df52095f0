// Command notary is a node with a plugin of the member's own: notary.go is the whole plugin, this file the node around it.
//
// It is an example, compiled and tested with everything else. It has none of weft's other commands: make the data folder
// with 'weft init', and let genesis name the plugin ('weft init genesis --plugin notary').
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"weft/config"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/node"
	"weft/plugins"
)

// makers is the list of plugins: a member adds a line.
func makers() []plugins.Maker { return []plugins.Maker{Maker()} }

func main() {
	dir := flag.String("dir", "weft", "the node's data folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, config.Dir(*dir), func(n *node.Node) { slog.Info("node started", "api", n.APIAddr()) }); err != nil {
		fmt.Fprintln(os.Stderr, "notary:", err)
		os.Exit(1)
	}
}

// run runs the node of a data folder until ctx ends.
func run(ctx context.Context, dir config.Dir, started func(*node.Node)) error {
	c, err := read(dir)
	if err != nil {
		return err
	}
	disk, err := store.OpenBadger(store.BadgerConfig{Dir: dir.Store(), Log: c.Log})
	if err != nil {
		return err
	}
	c.Store = disk
	n, err := node.Open(c)
	if err == nil {
		started(n)
		err = n.Run(ctx)
	}
	return errors.Join(err, disk.Close())
}

// read makes the node's configuration out of the files of the folder.
func read(dir config.Dir) (node.Config, error) {
	settings, err := dir.Load(os.Environ(), nil)
	if err != nil {
		return node.Config{}, err
	}
	c := node.Config{
		Dir: string(dir), Listen: settings.Listen, MDNS: settings.MDNS, Tuning: node.DefaultTuning(), Makers: makers(),
		Sections: settings.Plugins, API: node.APIConfig{API: settings.API, Version: "notary"}, Log: slog.Default(),
	}
	for _, p := range settings.Peers {
		c.Peers = append(c.Peers, wire.Peer{Member: p.Member, Addrs: p.Addrs})
	}
	if settings.Operator.Socket {
		c.API.Socket = dir.Socket()
	}
	var faults [3]error
	c.Genesis, faults[0] = config.LoadGenesis(dir.Genesis())
	c.Key, faults[1] = config.ReadKey(dir.Key(), nil)
	c.PSK, faults[2] = dir.PSK(settings)
	return c, errors.Join(faults[:]...)
}
