package nodetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// Call sends a request to node i, and returns the whole answer. Headers come in pairs; a body is bytes, text, or what becomes
// JSON, and its type is JSON unless a header says otherwise.
func (w *Network) Call(i int, method, path string, body any, headers ...string) (status int, header http.Header, answer []byte) {
	w.t.Helper()
	r, err := http.NewRequest(method, "http://"+w.Nodes[i].APIAddr()+path, w.reader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for k := 0; k+1 < len(headers); k += 2 {
		r.Header.Set(headers[k], headers[k+1])
	}
	response, err := w.HTTP.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, response.Header, answer
}

func (w *Network) reader(body any) io.Reader {
	w.t.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case []byte:
		return bytes.NewReader(b)
	case string:
		return strings.NewReader(b)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return bytes.NewReader(raw)
}
