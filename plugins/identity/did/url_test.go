package did

import (
	"strings"
	"testing"

	"weft/plugins/plugintest"
	"weft/tangle"
)

const vectorDID = "did:weft:t2iac44k:zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom"

func TestParse(t *testing.T) {
	d, err := Parse(vectorDID)
	if err != nil || d.String() != vectorDID || d.Network() != "t2iac44k" || d.SCID() != vectorDID[18:] || len(vectorDID) != didLength {
		t.Fatalf("%v, %v", d, err)
	}
	if NetworkLabel(testNetwork()) != "t2iac44k" || NetworkLabel(tangle.ID{}) != "aaaaaaaa" {
		t.Error("network labels")
	}
	for _, s := range []string{
		"", "did:weft:", vectorDID[:64], vectorDID + "a", strings.ToUpper(vectorDID), "DID" + vectorDID[3:], "did:Weft" + vectorDID[8:],
		strings.Replace(vectorDID, "t2iac44k", "T2iac44k", 1), strings.Replace(vectorDID, "t2iac44k", "t0iac44k", 1), strings.Replace(vectorDID, "t2iac44k:", "t2iac44kk", 1),
		strings.Replace(vectorDID, "zQmW", "zQm0", 1), strings.Replace(vectorDID, "zQmW", "zQnW", 1), vectorDID[:18] + "zQm" + strings.Repeat("z", 44),
		strings.Replace(vectorDID, ":t2", "%3At2", 1), vectorDID[:64] + "#", " " + vectorDID[1:],
	} {
		if _, err := Parse(s); plugintest.Code(t, err) != "bad_value" {
			t.Errorf("%q passes", s)
		}
	}
	if (DID{}).SCID() != "" || (DID{}).Network() != "" {
		t.Error("the zero value")
	}
}

func TestParseURL(t *testing.T) {
	u, err := ParseURL("did:example:a:b%20c/path/x?service=files&relativeRef=%2Fa%3Fb&plus=a+b&empty#frag-1")
	if err != nil {
		t.Fatal(err)
	}
	if u.DID != "did:example:a:b%20c" || u.Method != "example" || u.Path != "/path/x" || u.Fragment != "frag-1" || len(u.Query) != 4 {
		t.Errorf("%+v", u)
	}
	for name, want := range map[string]string{"service": "files", "relativeRef": "/a?b", "plus": "a+b", "empty": ""} {
		if got, there := u.Get(name); got != want || !there {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, good := range []string{"did:a:b", "did:3:b", "did:a::b", "did:web:example.com%3A3000", "did:a:b/", "did:a:b?", "did:a:b?a=b=c"} {
		if _, err := ParseURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "did", "did:", "did:a", "did:a:", "did::b", "did:A:b", "not-a-did", "did:example", "did:a:b:", "did:a:b#", "did:a:b#x#y", "did:a:b c", "did:a:é",
		"did:a:b%", "did:a:b%2", "did:a:b%zz", "did:a:b?x=%", "did:a:b#%2", "did:a:b\n", "did:a:b?x=\"", "http://a", "did:a:" + strings.Repeat("b", MaxURL),
	} {
		if _, err := ParseURL(bad); plugintest.Code(t, err) != "bad_value" {
			t.Errorf("%q passes", bad)
		}
	}
}
