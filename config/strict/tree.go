package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// MaxDepth bounds the nesting of arrays and objects.
const MaxDepth = 32

// node is a JSON value and where it stood in the text.
type node struct {
	kind    byte // '{', '[', '"', '0' a number, 'b' a boolean, 'n' null
	raw     []byte
	members []member
	items   []*node
}

type member struct {
	name  string
	value *node
}

func (n *node) text() string {
	var s string
	if json.Unmarshal(n.raw, &s) != nil {
		return ""
	}
	return s
}

// parse builds the tree of the one value in data. Duplicate members are faults, with their paths; what breaks the syntax
// ends the reading, with its line.
func parse(data []byte) (*node, error) {
	if !utf8.Valid(data) {
		return nil, Faults{{"", "not valid UTF-8"}}
	}
	p := parser{data: data, tokens: json.NewDecoder(bytes.NewReader(data))}
	p.tokens.UseNumber()
	root, err := p.value("", 0)
	if err == nil {
		if _, more := p.tokens.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("text after the value")
		}
	}
	if err != nil {
		p.faults.Add(p.line(), "%s", err)
	}
	return root, p.faults.Err()
}

type parser struct {
	data   []byte
	tokens *json.Decoder
	faults Faults
}

func (p *parser) line() string {
	offset := min(p.tokens.InputOffset(), int64(len(p.data)))
	return fmt.Sprintf("line %d", 1+bytes.Count(p.data[:offset], []byte("\n")))
}

func (p *parser) value(path string, depth int) (*node, error) {
	token, err := p.tokens.Token()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the text ends too early")
	}
	if err != nil {
		return nil, err
	}
	if depth > MaxDepth {
		return nil, fmt.Errorf("%s: nested deeper than %d", path, MaxDepth)
	}
	n := &node{}
	end := p.tokens.InputOffset()
	start := end - 1
	switch t := token.(type) {
	case json.Delim:
		n.kind = byte(t)
		if err := p.inside(path, n, depth); err != nil {
			return nil, err
		}
		end = p.tokens.InputOffset()
	case string:
		n.kind, start = '"', p.stringStart(end)
	case json.Number:
		n.kind, start = '0', end-int64(len(t))
	case bool:
		n.kind, start = 'b', end-int64(len(fmt.Sprint(t)))
	default:
		n.kind, start = 'n', end-int64(len("null"))
	}
	n.raw = p.data[start:end]
	return n, nil
}

// stringStart finds the opening quote of the string that ends at end: the nearest one before that is not escaped.
func (p *parser) stringStart(end int64) int64 {
	for at := end - 2; at >= 0; at-- {
		if p.data[at] != '"' {
			continue
		}
		slashes := int64(0)
		for at-slashes > 0 && p.data[at-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
	}
	return 0
}

func (p *parser) inside(path string, n *node, depth int) error {
	seen := map[string]bool{}
	for p.tokens.More() {
		if n.kind == '[' {
			item, err := p.value(fmt.Sprintf("%s[%d]", path, len(n.items)), depth+1)
			if err != nil {
				return err
			}
			n.items = append(n.items, item)
			continue
		}
		token, err := p.tokens.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return errors.New("want the name of a member")
		}
		if seen[name] {
			p.faults.Add(Join(path, name), "given twice")
		}
		seen[name] = true
		value, err := p.value(Join(path, name), depth+1)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{name, value})
	}
	_, err := p.tokens.Token() // the closing bracket
	return err
}
