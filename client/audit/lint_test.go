package audit

import (
	"slices"
	"testing"

	"weft/plugins/identity/did"
)

func TestLint(t *testing.T) {
	for text, want := range map[string]string{
		"ask anna.meier@example.org":         "an e-mail address",
		"jörg@bücher.example":                "an e-mail address",
		"DE89 3704 0044 0532 0130 00":        "an IBAN",
		"paid to GB82WEST12345698765432 now": "an IBAN",
		"+49 (151) 234-56789":                "a phone number",
		"call 0043 1 234 5678":               "a phone number",
		"030/1234567-0":                      "a phone number",
		"tel:+4915123456789":                 "a phone number",
		"2026-11-22T17:00:00+02:00":          "",
		"serial 0912345678":                  "",
		"GB82WEST12345698765433":             "", // another check digit
		"2026-11-22T17:00:00.000Z":           "",
		"22.11.2026 17:00":                   "",
		"10.0.0.1:8080":                      "",
		"malware, severity 9 of 10":          "",
		"container MSKU 123456 7":            "",
		"0012345678":                         "",
		"-0.123 456 789":                     "",
		"3f2504e0-4f89-11d3-9a0c-0305e82c":   "",
		"user@host":                          "",
		"0x00ff 12 34 56 78":                 "",
	} {
		got := Lint(did.Object{"a": []any{did.Object{"b": text}}})
		if want != "" {
			want = "public.a[0].b looks like " + want
		}
		if len(got) > 1 || len(got) == 1 && got[0] != want || len(got) == 0 && want != "" {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	got := Lint(did.Object{"z": "a@b.example", "n": int64(4915123456789), "c": "x@y.example"})
	if want := []string{"public.c looks like an e-mail address", "public.z looks like an e-mail address"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
