package metrics

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weft/plugins"
)

// scrape opens the plugin on a host with these facts and asks for its page.
func scrape(t *testing.T, list ...plugins.Fact) (int, string) {
	t.Helper()
	p, err := Maker().Open(plugins.Host{Facts: func() []plugins.Fact { return list }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.HTTP.List) != 1 || p.HTTP.List[0].Auth != plugins.AuthOperator || p.HTTP.List[0].Path != Path || len(p.Kinds) != 0 {
		t.Fatalf("routes %+v, kinds %v: want a local plugin at %s for the operator", p.HTTP, p.Kinds, Path)
	}
	w := httptest.NewRecorder()
	if err := p.HTTP.List[0].Serve(w, httptest.NewRequest(http.MethodGet, Path, nil)); err != nil {
		t.Fatal(err)
	}
	return w.Code, w.Body.String()
}

func TestFactsBecomeMetrics(t *testing.T) {
	code, page := scrape(t,
		plugins.Fact{Name: "weft_tips", Help: "Attached messages without attached children.", Value: 7},
		plugins.Fact{Name: "weft_commits_total", Help: "Commits.", Value: 3, Counter: true},
		plugins.Fact{Name: "weft_peer_connected", Help: "1 if connected.", Value: 1, Label: "peer=aa"},
		plugins.Fact{Name: "weft_peer_connected", Help: "1 if connected.", Value: 0, Label: "peer=bb"},
	)
	if code != http.StatusOK {
		t.Fatalf("status %d: %s", code, page)
	}
	for _, want := range []string{
		"# HELP weft_tips Attached messages without attached children.\n# TYPE weft_tips gauge\nweft_tips 7\n",
		"# TYPE weft_commits_total counter\nweft_commits_total 3\n",
		"weft_peer_connected{peer=\"aa\"} 1\nweft_peer_connected{peer=\"bb\"} 0\n",
		"go_goroutines ",
		"process_start_time_seconds ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q:\n%.2000s", want, page)
		}
	}
}

func TestOneBadFactSpoilsNoOther(t *testing.T) {
	code, page := scrape(t,
		plugins.Fact{Name: "weft_tips", Help: "Tips.", Value: 7},
		plugins.Fact{Name: "not a name", Help: "Bad.", Value: 1},
	)
	if code != http.StatusOK || !strings.Contains(page, "weft_tips 7\n") {
		t.Errorf("status %d, want the good facts: %.500s", code, page)
	}
}

func TestTwoNodesInOneProcess(t *testing.T) {
	for _, value := range []float64{1, 2} {
		if code, page := scrape(t, plugins.Fact{Name: "weft_tips", Help: "Tips.", Value: value}); code != http.StatusOK {
			t.Errorf("status %d: %.500s", code, page)
		}
	}
}
