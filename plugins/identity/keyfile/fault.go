package keyfile

import (
	"errors"
	"fmt"
)

// The codes that callers branch on; the others are bad_key_file, bad_value, too_large, already_exists, unknown_key and
// wrong_algorithm.
const (
	CodePassphrase   = "passphrase"     // none was given, or it is the wrong one
	CodeLocked       = "locked"         // a key file that was not unlocked
	CodeIssuerLocked = "issuer_locked"  // a keystore that was not unlocked
	CodeOpenToOthers = "open_to_others" // others on this machine may read the file
)

// Fault is an error with a stable code and a sentence for people.
type Fault struct {
	Code   string
	Detail string
}

func (f *Fault) Error() string { return f.Detail }

// Code is the code of the fault in err, or "".
func Code(err error) string {
	var f *Fault
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}

func fault(code, format string, args ...any) error {
	return &Fault{code, fmt.Sprintf(format, args...)}
}

func locked() error { return fault(CodeLocked, "the key file is locked") }
