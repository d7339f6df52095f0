package strict

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	On   bool   `json:"on"`
	Free string `json:"free,omitempty"`
}

type outer struct {
	N     int                        `json:"n"`
	Words []string                   `json:"words"`
	In    inner                      `json:"in"`
	Raw   map[string]json.RawMessage `json:"raw"`
	Not   int                        `json:"-"`
}

func TestDecode(t *testing.T) {
	v := outer{In: inner{Free: "kept"}}
	err := Decode([]byte(` {"n":-3, "words":["a\"","\\"], "in":{"on":true}, "raw":{"x":[1, {"y":null}]}} `), &v, true)
	if err != nil {
		t.Fatal(err)
	}
	want := outer{N: -3, Words: []string{`a"`, `\`}, In: inner{On: true, Free: "kept"}, Raw: map[string]json.RawMessage{"x": json.RawMessage(`[1, {"y":null}]`)}}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		``:                              "line 1: the text ends too early",
		"{\n\"n\": }":                   "line 2: invalid character",
		`{"n":1} {}`:                    "text after the value",
		"{\"n\":\"\xff\"}":              "not valid UTF-8",
		`[]`:                            "want an object, have []",
		`{"n":1.5}`:                     "n: want a whole number in range, have 1.5",
		`{"n":1e99}`:                    "n: want a whole number in range",
		`{"n":null}`:                    "n: want a whole number, have null",
		`{"in":{"on":1}}`:               "in.on: want true or false, have 1",
		`{"words":["a",2]}`:             "words[1]: want a string, have 2",
		`{"Not":1}`:                     "Not: no such member; known are n, words, in, raw",
		`{"raw":{"x":1,"x":2}}`:         "raw.x: given twice",
		`{"raw":{"x":[{"a":1,"a":1}]}}`: "raw.x[0].a: given twice",
		strings.Repeat(`{"n":`, 100):    "nested deeper",
		`{"n":"` + strings.Repeat("x", 99) + `"}`: "xxx...",
	} {
		err := Decode([]byte(text), &outer{}, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestCompleteWantsAllMembers(t *testing.T) {
	err := Decode([]byte(`{"n":1,"in":{}}`), &outer{}, true)
	if want := "in.on: missing\nwords: missing\nraw: missing"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	err := Decode([]byte(`{"words":[`+strings.Repeat("1,", 1000)+`1]}`), &outer{}, false)
	if n := len(err.(Faults)); n != MaxFaults {
		t.Errorf("%d faults, want %d", n, MaxFaults)
	}
}
