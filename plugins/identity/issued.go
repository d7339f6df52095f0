package identity

import (
	"slices"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// issuedCredential is what a node keeps of a credential: enough to find and change its status, and no claim.
type issuedCredential struct {
	Issuer   string      `json:"issuer"`
	Subject  string      `json:"subject,omitempty"`
	Type     []string    `json:"type"`
	Template string      `json:"template,omitempty"`
	Hash     string      `json:"hash"` // multihash of its canonical form
	Issued   time.Time   `json:"issued"`
	By       string      `json:"by"` // the caller who brought it
	Status   []statusRef `json:"status"`
}

// statusRef is one entry of credentialStatus.
type statusRef struct {
	List    string `json:"list"`
	Purpose string `json:"purpose"`
	Index   uint64 `json:"index"`
	URL     string `json:"url"`
}

// refs are the entries of a purpose.
func (c issuedCredential) refs(purpose string) (list []statusRef) {
	for _, ref := range c.Status {
		if ref.Purpose == purpose {
			list = append(list, ref)
		}
	}
	return list
}

// listSet is what is changed in one list.
type listSet struct {
	list    string
	indexes []int
}

// byList groups entries by their list.
func byList(refs []statusRef) (sets []listSet) {
	for _, ref := range refs {
		at := slices.IndexFunc(sets, func(s listSet) bool { return s.list == ref.List })
		if at < 0 {
			at = len(sets)
			sets = append(sets, listSet{list: ref.List})
		}
		sets[at].indexes = append(sets[at].indexes, int(ref.Index))
	}
	return sets
}

// MaxSameID bounds the status entries that credentials of one id have together.
const MaxSameID = 64

func (x *identity) issued(id string) (c issuedCredential, found bool, err error) {
	if id == "" || len(id) > MaxCredentialID {
		return c, false, nil
	}
	_, found, err = x.records.get(sortCredential, id, &c)
	return c, found, err
}

// keepIssued records a credential. One that is issued again under the same id keeps the entries it had: whoever revokes by
// id means them all.
func (x *identity) keepIssued(id string, c issuedCredential) error {
	x.books.mu.Lock()
	defer x.books.mu.Unlock()
	before, found, err := x.issued(id)
	switch {
	case err != nil:
		return err
	case found && (before.Issuer != c.Issuer || len(before.Status)+len(c.Status) > MaxSameID):
		return plugins.Reject("already_exists", "a credential %.200q was issued already", id)
	case found:
		c.Status = append(before.Status, c.Status...)
	}
	if c.Type == nil {
		c.Type = []string{}
	}
	return x.records.put(sortCredential, id, c.Issuer, time.Time{}, c)
}

// mayKnow says whether a caller may know of a credential: its parties, who brought it, and administrators.
func (c issuedCredential) mayKnow(caller plugins.Caller) bool {
	return caller.May(plugins.ScopeAdmin) || caller.ID != "" && caller.ID == c.By || caller.DID != "" && (caller.DID == c.Issuer || caller.DID == c.Subject)
}

// hashOf names a credential by its canonical form.
func hashOf(doc did.Object) (string, error) {
	canonical, err := did.Canonical(doc)
	if err != nil {
		return "", err
	}
	return did.Multihash(canonical), nil
}
