package node

import (
	"unicode/utf8"

	"weft/plugins"
	"weft/tangle"
)

// Data is an entry of kind data: plain bytes under a tag, with the member's signature alone.
type Data struct {
	Tag   string
	Bytes []byte
}

// MaxTagBytes bounds a tag.
const MaxTagBytes = 64

// Encode is the entry's data: tag length u8, tag, bytes.
func (d Data) Encode() []byte {
	b := append(make([]byte, 0, 1+len(d.Tag)+len(d.Bytes)), byte(len(d.Tag)))
	b = append(b, d.Tag...)
	return append(b, d.Bytes...)
}

// ParseData reads an entry of kind data; the bytes are not copied.
func ParseData(b []byte) (Data, error) {
	if len(b) == 0 || int(b[0]) > MaxTagBytes || int(b[0]) > len(b)-1 {
		return Data{}, plugins.Reject("bad_value", "tag of at most %d bytes expected", MaxTagBytes)
	}
	tag := b[1 : 1+b[0]]
	if !utf8.Valid(tag) {
		return Data{}, plugins.Reject("bad_value", "tag is not UTF-8")
	}
	return Data{Tag: string(tag), Bytes: b[1+len(tag):]}, nil
}

// dataPlugin owns kind data. It keeps no state: the entries are their own record.
func dataPlugin() plugins.Plugin {
	return plugins.Plugin{
		Kinds: []tangle.Kind{tangle.KindData},
		Check: func(_ tangle.Kind, data []byte) (plugins.Op, error) {
			_, err := ParseData(data)
			return nil, err
		},
	}
}
