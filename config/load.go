package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/knadh/koanf/v2"

	"weft/config/strict"
)

// Sources are where a node's settings come from; later ones win.
type Sources struct {
	File []byte            // node.json
	Env  []string          // as os.Environ returns it; only names that begin with WEFT_ count
	Set  map[string]string // flags: path to value, such as api.listen to 127.0.0.1:8080
}

// Parse merges the sources over the defaults. Its error lists everything wrong (strict.Faults).
func Parse(s Sources) (Node, error) {
	if len(s.File) > MaxFileBytes {
		return Node{}, fmt.Errorf("node.json has %d bytes, at most %d", len(s.File), MaxFileBytes)
	}
	l := loader{settings: settings(), merged: koanf.New(".")}
	l.file(s.File)
	l.env(s.Env)
	l.set(s.Set)
	node, err := l.node()
	if err != nil {
		return Node{}, err
	}
	return node, nil
}

// Load reads the data folder's node.json.
func (d Dir) Load(env []string, set map[string]string) (Node, error) {
	file, err := readBounded(d.Node(), MaxFileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Node{}, fmt.Errorf("%s has no node.json: 'weft init --dir %s' makes a data folder", d, d)
	}
	if err != nil {
		return Node{}, err
	}
	node, err := Parse(Sources{file, env, set})
	if err != nil {
		return Node{}, fmt.Errorf("%s is not right:\n%w", d.Node(), err)
	}
	return node, nil
}

// loader gathers the layers and what is wrong with them.
type loader struct {
	strict.Faults
	settings map[string]reflect.Type
	merged   *koanf.Koanf
}

func (l *loader) file(data []byte) {
	if data == nil {
		return
	}
	var scratch Node
	var faults strict.Faults
	if err := strict.Decode(data, &scratch, false); errors.As(err, &faults) {
		l.Faults = append(l.Faults, faults...)
	}
	var layer map[string]any
	if decode(data, &layer) == nil {
		l.merge(layer)
	}
}

// merge lays one source over those before it: objects member by member, everything else as a whole.
func (l *loader) merge(layer map[string]any) {
	if err := l.merged.Load(source(layer), nil); err != nil {
		l.Add("", "%s", err)
	}
}

func (l *loader) env(environ []string) {
	paths := map[string]string{}
	for path := range l.settings {
		paths[EnvName(path)] = path
	}
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "WEFT_") || forCommands(name) || fromCluster(name) {
			continue
		}
		path, ok := paths[name]
		if !ok {
			l.Add(name, "no such setting")
			continue
		}
		l.setting(name, path, text)
	}
}

// forCommands are the variables that package main and tests read.
func forCommands(name string) bool {
	return slices.Contains([]string{"WEFT_API", "WEFT_DIR", "WEFT_TOKEN_FILE", "WEFT_PASSPHRASE_FILE", "WEFT_VECTORS"}, name)
}

// fromCluster are the variables that Kubernetes and Docker links put beside a service called weft.
func fromCluster(name string) bool {
	return strings.Contains(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") || strings.Contains(name, "_PORT")
}

func (l *loader) set(set map[string]string) {
	for _, path := range slices.Sorted(maps.Keys(set)) {
		known := l.settings[path] != nil || strings.HasPrefix(path, "plugins.")
		if !known {
			l.Add("--set "+path, "no such setting; known are %s", strings.Join(slices.Sorted(maps.Keys(l.settings)), ", "))
			continue
		}
		l.setting("--set "+path, path, set[path])
	}
}

// setting lays one value over what is there: words as they stand, a list of words between commas, the rest as JSON.
func (l *loader) setting(place, path, text string) {
	var v any
	switch t := l.settings[path]; {
	case isText(t):
		v = text
	case t == reflect.TypeFor[[]string]():
		v = words(text)
	default:
		if err := decode([]byte(text), &v); err != nil {
			l.Add(place, "%q: want JSON", text)
			return
		}
	}
	layer := map[string]any{}
	at := layer
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		next := map[string]any{}
		at[part], at = next, next
	}
	at[parts[len(parts)-1]] = v
	if l.typed(place, path, layer) {
		l.merge(layer)
	}
}

// typed says whether a layer of one setting has the right type.
func (l *loader) typed(place, path string, layer map[string]any) bool {
	data, err := json.Marshal(layer)
	if err != nil {
		l.Add(place, "%s", err)
		return false
	}
	var scratch Node
	var faults strict.Faults
	if errors.As(strict.Decode(data, &scratch, false), &faults) {
		for _, f := range faults {
			l.Add(place+strings.TrimPrefix(f.Path, path), "%s", f.Detail)
		}
		return false
	}
	return true
}

// node makes the settings of all layers; a fault that a layer has reported is not reported again.
func (l *loader) node() (Node, error) {
	n := Default()
	data, err := json.Marshal(l.merged.Raw())
	if err != nil {
		return n, err
	}
	strict.Decode(data, &n, false) // its faults are in l already, each with the place where it was made
	n.settle()
	var faults strict.Faults
	if errors.As(n.Validate(), &faults) {
		for _, f := range faults {
			if !l.covers(f.Path) {
				l.Faults = append(l.Faults, f)
			}
		}
	}
	return n, l.Err()
}

func (l *loader) covers(path string) bool {
	return slices.ContainsFunc(l.Faults, func(f strict.Fault) bool { return strings.HasPrefix(f.Path, path) })
}

// source is a layer as koanf takes it.
type source map[string]any

func (s source) Read() (map[string]any, error) { return s, nil }
func (s source) ReadBytes() ([]byte, error)    { return nil, errors.New("not bytes") }

// Settings are the paths of all settings and, for each, the environment variable that sets it.
func Settings() map[string]string {
	all := map[string]string{}
	for path := range settings() {
		all[path] = EnvName(path)
	}
	return all
}

// EnvName is the variable that sets a path: api.limits.readsPerSecond is WEFT_API_LIMITS_READS_PER_SECOND.
func EnvName(path string) string {
	var b strings.Builder
	b.WriteString("WEFT_")
	var last rune
	for _, r := range path {
		if unicode.IsUpper(r) && unicode.IsLower(last) {
			b.WriteByte('_')
		}
		last = r
		if r == '.' {
			r = '_'
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// settings are the leaves of Node.
func settings() map[string]reflect.Type {
	leaves := map[string]reflect.Type{}
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		if t.Kind() != reflect.Struct {
			leaves[path] = t
			return
		}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			walk(strict.Join(path, name), t.Field(i).Type)
		}
	}
	walk("", reflect.TypeFor[Node]())
	return leaves
}

func isText(t reflect.Type) bool {
	return t != nil && (t.Kind() == reflect.String || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()))
}

func words(text string) []any {
	list := []any{}
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			list = append(list, word)
		}
	}
	return list
}

func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(v)
}
