package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"weft/config/genesis"
	"weft/internal/store"
)

func newVersionCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version of this program",
		RunE: func(*cobra.Command, []string) error {
			v := version()
			if s.json {
				return s.printJSON(v)
			}
			s.print("weft %s\nprotocol %d, data folder %d\n%s %s/%s\n", v.Version, v.Protocol, v.Schema, v.Go, runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

// versions are the numbers that decide what this program works with.
type versions struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"` // of genesis and messages
	Schema   uint32 `json:"schema"`   // of the data folder
	Go       string `json:"go"`
}

// version reads what the Go tool wrote into the binary: a tag, or the commit it was built from.
func version() versions {
	v := versions{Version: "unknown", Protocol: genesis.Version, Schema: store.SchemaVersion, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version = info.Main.Version; v.Version != "" && v.Version != "(devel)" {
		return v
	}
	v.Version = "devel"
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			v.Version += "-" + setting.Value[:min(12, len(setting.Value))]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			v.Version += "-changed"
		}
	}
	return v
}
