package audit

import (
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"weft/plugins/identity/did"
)

// Lint finds what looks like personal data in the public part of a record: that stays readable for all members, for good. It is
// for a warning: it misses most of what is personal, and can be wrong.
func Lint(public did.Object) (found []string) {
	l := linter{
		email: regexp.MustCompile(`[\pL\pN._%+-]+@[\pL\pN-]+(\.[\pL\pN-]+)*\.\pL{2,}`),
		iban:  regexp.MustCompile(`\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b`),
		phone: regexp.MustCompile(`(?:(?:^|[^\pL\pN+])\+[1-9]|(?:^|[^\pL\pN.:+-])(?:00[1-9]|\(?0[1-9]))[0-9]*(?:[ ()/-]{1,2}[0-9]+)*`),
	}
	l.look("public", public)
	return l.found
}

type linter struct {
	email, iban, phone *regexp.Regexp
	found              []string
}

func (l *linter) look(path string, v any) {
	switch v := v.(type) {
	case did.Object:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			l.look(path+"."+name, v[name])
		}
	case []any:
		for i, one := range v {
			l.look(fmt.Sprintf("%s[%d]", path, i), one)
		}
	case string:
		if kind := l.kind(v); kind != "" {
			l.found = append(l.found, path+" looks like "+kind)
		}
	}
}

func (l *linter) kind(text string) string {
	switch {
	case l.email.MatchString(text):
		return "an e-mail address"
	case slices.ContainsFunc(l.iban.FindAllString(text, -1), isIBAN):
		return "an IBAN"
	case slices.ContainsFunc(l.phone.FindAllString(text, -1), isPhone):
		return "a phone number"
	}
	return ""
}

// isIBAN checks the check digits (ISO 7064, mod 97-10): few other words pass.
func isIBAN(text string) bool {
	text = strings.ReplaceAll(text, " ", "")
	var digits strings.Builder
	for _, c := range text[4:] + text[:4] {
		if c >= 'A' {
			fmt.Fprint(&digits, c-'A'+10)
		} else {
			digits.WriteRune(c)
		}
	}
	n, ok := new(big.Int).SetString(digits.String(), 10)
	return ok && n.Mod(n, big.NewInt(97)).Int64() == 1
}

// isPhone wants as many digits as a number with its area has, and something between them or a country in front: plain
// digits are amounts and serial numbers.
func isPhone(text string) bool {
	digits := 0
	for _, c := range text {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	return digits >= 8 && digits <= 15 && (strings.Contains(text, "+") || strings.ContainsAny(text[1:], " /-()"))
}
