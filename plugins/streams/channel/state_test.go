package channel

import (
	"reflect"
	"testing"
)

// TestParticipantRecord: what is written is what is read, and a record that is cut short or too long is damage.
func TestParticipantRecord(t *testing.T) {
	grant := &Grant{
		Participant: "did:key:z1", Rights: Read | Order, Roles: []string{"a", "b"}, Tags: []string{"c"}, ValidFrom: 1, ValidUntil: 2,
		MaxRecords: 3, Custody: CustodyNode, Agreement: "z2",
	}
	asked := &Asked{Rights: Audit, Roles: []string{"d"}, Custody: CustodySelf, Agreement: "z3"}
	for _, p := range []Participant{
		{DID: "did:key:z1", State: Active, Event: 4, Time: 5, Grant: grant, Joined: 6, Records: 7, Rejections: 8},
		{DID: "did:key:z1", State: Requested, Event: 4, Time: 5, Asked: asked},
		{DID: "did:key:z1", State: Active, Grant: &Grant{}, Asked: &Asked{}},
		{},
	} {
		b := p.bytes()
		if got, found, err := parseParticipant(b); !found || err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("read %+v, %v, %v, want %+v", got, found, err, p)
		}
		for n := range b {
			if _, _, err := parseParticipant(b[:n]); err == nil {
				t.Errorf("%d of %d bytes were read", n, len(b))
			}
		}
		if _, _, err := parseParticipant(append(b, 0)); err == nil {
			t.Error("a byte too many was read")
		}
	}
	if _, found, err := parseParticipant(nil); found || err != nil {
		t.Errorf("nothing is %v, %v", found, err)
	}
}
