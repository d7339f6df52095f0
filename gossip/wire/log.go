package wire

import (
	"context"
	"log/slog"

	"github.com/libp2p/go-libp2p/gologshim"
)

// takeLibraryLog sends what libp2p logs into the host's log. libp2p has one log per process, so the last Host opened
// before libp2p's first line gets it.
func takeLibraryLog(to *slog.Logger) { gologshim.SetDefaultHandler(demoted{to.Handler()}) }

// demoted passes warnings and errors on as debug: libp2p reports an error when a listener is closed on purpose, and
// what concerns a peer this package reports itself.
type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }
