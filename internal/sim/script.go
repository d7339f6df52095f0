package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"weft/config/genesis"
	"weft/node"
	"weft/tangle"
)

// Script runs a directed schedule: lines of commands, and below a line of dashes what they print. It returns the text with
// the output that this run gives; equal texts mean that the script passes.
//
//	nodes 4 [observers 1] [seed 7] [twin 0] [equivocator 1] ...   the network; must come first
//	submit 0 20             20 entries at node 0, one by one
//	load 100ms | load off   entries at random nodes, one in so long on average
//	run 500ms               virtual time passes
//	round 12                time passes until some node has attached a witness of round 12
//	crash 2 | crash leader 7 | crash 2 in step lost|kept
//	restart 2
//	cut 0 1 | 2 3           frames pass inside groups only; cut alone ends it
//	oneway 0 2              frames from 0 do not reach 2
//	hold|lose 3-9 of 0|leader|any to 1 2|any [for 300ms]   witnesses of these rounds come later, or never
//	clear                   ends oneway, hold and lose
//	clock 0 -2s             moves a clock
//	final 3s                runs until everything submitted is final on all nodes that are up, at most so long
//	progress 2s             says whether commits come in that time
//	pace 2s                 says whether rounds in that time come at full speed, slower, or idle
//	level                   says who is behind in commits
//	slots 3-9               says what became of these rounds
//	parked                  says who has parked messages
//	check                   all oracles, with the slow reference
func Script(text string) string {
	s := &script{}
	var out []string
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		s.out = nil
		for line := range strings.Lines(commands) {
			s.line(strings.TrimSpace(line))
		}
		if len(s.out) > 0 {
			commands += "\n----\n" + strings.Join(s.out, "\n")
		}
		out = append(out, strings.TrimSuffix(commands, "\n"))
	}
	return strings.Join(out, "\n\n") + "\n"
}

type script struct {
	world    *World
	out      []string
	violated bool
}

func (s *script) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

func (s *script) line(line string) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, "#") || s.violated {
		return
	}
	if words[0] == "nodes" {
		s.open(words)
		return
	}
	if err := s.command(words); err != nil {
		s.say("%s: %v", line, err)
	}
	if v := s.world.violation; v != nil {
		s.say("violation: %s", v)
		s.violated = true
	}
}

// open makes the world.
func (s *script) open(words []string) {
	c := Config{Seed: 1, Faults: Mild(), Consensus: genesis.DefaultConsensus(), Tuning: Tuning(), Reference: true}
	c.Consensus.CheckpointMillis = 100
	for k := 0; k+1 < len(words); k += 2 {
		n, _ := strconv.Atoi(words[k+1])
		switch words[k] {
		case "nodes":
			c.Nodes = n
		case "observers":
			c.Observers = n
		case "seed":
			c.Seed = uint64(n)
		default:
			for len(c.Byzantine) <= n {
				c.Byzantine = append(c.Byzantine, Correct)
			}
			c.Byzantine[n] = Behaviour(words[k])
		}
	}
	s.world = New(c)
	s.world.wires.shuffleTwins()
	s.world.forever(c.Faults.Twins, s.world.wires.shuffleTwins)
	s.world.RunUntil(50 * time.Millisecond)
}

func (s *script) command(words []string) error {
	w := s.world
	switch words[0] {
	case "submit":
		for range number(words, 2) {
			w.submit(number(words, 1), []tangle.Entry{w.dataEntry()})
		}
	case "load":
		w.clients.stopped = words[1] == "off"
		if !w.clients.stopped {
			w.load(duration(words, 1))
		}
	case "run":
		w.RunUntil(w.now + duration(words, 1))
	case "round":
		s.untilRound(tangle.Round(number(words, 1)))
	case "crash", "restart":
		return s.life(words)
	case "cut":
		s.cut(words[1:])
	case "oneway":
		w.wires.rules = append(w.wires.rules, rule{from: []int{number(words, 1)}, to: []int{number(words, 2)}, everything: true})
	case "hold", "lose":
		return s.rule(words)
	case "clear":
		w.wires.rules = nil
	case "clock":
		w.instances[number(words, 1)].offset += duration(words, 2)
	default:
		return s.question(words)
	}
	return nil
}

func (s *script) question(words []string) error {
	w := s.world
	switch words[0] {
	case "final":
		s.final(duration(words, 1))
	case "progress":
		before := len(w.oracles.commits)
		w.RunUntil(w.now + duration(words, 1))
		s.say("%s", map[bool]string{true: "commits come", false: "no commits"}[len(w.oracles.commits) > before])
	case "pace":
		s.pace(duration(words, 1))
	case "level":
		s.level()
	case "parked":
		s.parked()
	case "slots":
		return s.slots(words[1])
	case "check":
		w.oracles.audit()
		if w.violation == nil {
			newReference(w.oracles).check()
		}
		if w.violation == nil {
			s.say("ok")
		}
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func number(words []string, k int) int {
	if k >= len(words) {
		return 1
	}
	n, _ := strconv.Atoi(words[k])
	return n
}

func duration(words []string, k int) time.Duration {
	if k >= len(words) {
		return time.Second
	}
	d, _ := time.ParseDuration(words[k])
	return d
}

// dataEntry is a plain entry that no rule rejects.
func (w *World) dataEntry() tangle.Entry {
	w.clients.next++
	data := node.Data{Tag: "script", Bytes: fmt.Append(nil, w.clients.next)}
	return tangle.NewEntry(tangle.KindData, tangle.Salt{}, data.Encode())
}

// MaxScriptWait bounds how long a script waits for a round.
const MaxScriptWait = 30 * time.Second

func (s *script) untilRound(r tangle.Round) {
	for end := s.world.now + MaxScriptWait; s.world.now < end && s.world.violation == nil; {
		for _, i := range s.world.instances {
			if !i.down && i.core.Status().Round >= r {
				return
			}
		}
		s.world.RunUntil(s.world.now + time.Millisecond)
	}
	s.say("round %d does not come", r)
}

func (s *script) life(words []string) error {
	w := s.world
	k := number(words, 1)
	if words[1] == "leader" {
		k = w.indexOf(w.oracles.leader(tangle.Round(number(words, 2))))
	}
	i := w.instances[k]
	switch {
	case words[0] == "restart":
		w.restart(i)
	case len(words) > 4 && words[4] == "lost":
		i.disk.failing = diskLosesBatch
	case len(words) > 4:
		i.disk.failing = diskKeepsBatch
	default:
		w.halt(i)
	}
	return nil
}

func (w *World) indexOf(key tangle.Member) int {
	for k, m := range w.members {
		if m.self == key {
			return k
		}
	}
	return -1
}

func (s *script) cut(words []string) {
	group, side := 0, map[int]int{}
	for _, word := range words {
		if word == "|" {
			group++
			continue
		}
		k, _ := strconv.Atoi(word)
		side[k] = group
	}
	w := s.world
	w.wires.cutBy(func(from, to int) bool { return side[w.instances[from].index] != side[w.instances[to].index] })
	w.wires.notice(true)
}

// rule reads: hold 3-9 of leader to 1 2 for 300ms.
func (s *script) rule(words []string) error {
	var r rule
	if _, err := fmt.Sscanf(words[1], "%d-%d", &r.low, &r.high); err != nil {
		return err
	}
	r.witnesses = true
	part := ""
	for _, word := range words[2:] {
		k, err := strconv.Atoi(word)
		switch {
		case word == "of", word == "to", word == "for":
			part = word
		case word == "leader":
			r.leader = true
		case word == "any":
		case part == "of" && err == nil:
			r.author = append(r.author, k)
		case part == "to" && err == nil:
			r.to = append(r.to, k)
		case part == "for":
			r.delay, err = time.ParseDuration(word)
			fallthrough
		default:
			if err != nil {
				return err
			}
		}
	}
	s.world.wires.rules = append(s.world.wires.rules, r)
	return nil
}

func (s *script) final(within time.Duration) {
	w := s.world
	for end := w.now + within; w.violation == nil; w.RunUntil(w.now + 10*time.Millisecond) {
		n, why := w.oracles.pending()
		if n == 0 {
			s.say("all final")
			return
		}
		if w.now >= end {
			s.say("%d entries are not final: %s", n, strings.TrimRight(why, "0123456789.mµs "))
			return
		}
	}
}

// pace compares the rounds of the fastest node with what the tuning allows.
func (s *script) pace(d time.Duration) {
	before := s.highest()
	s.world.RunUntil(s.world.now + d)
	rounds := int(s.highest() - before)
	full := int(d / s.world.config.Tuning.Pace.MinRound)
	switch {
	case rounds <= int(d/time.Second)+1:
		s.say("idle")
	case rounds >= full/2:
		s.say("full speed")
	default:
		s.say("slower")
	}
}

func (s *script) highest() (r tangle.Round) {
	for _, i := range s.world.instances {
		if !i.down {
			r = max(r, i.core.Status().Round)
		}
	}
	return r
}

// level says who is more than a handful of commits behind the first.
func (s *script) level() {
	const handful = 8
	all := true
	for _, i := range s.world.instances {
		switch {
		case i.down:
			s.say("%s is down", i)
		case i.correct() && i.ledger.Head().Commit+handful < uint64(len(s.world.oracles.commits)):
			s.say("%s is behind", i)
			all = false
		}
	}
	if all {
		s.say("level")
	}
}

func (s *script) parked() {
	none := true
	for _, i := range s.world.instances {
		if !i.down && i.correct() && i.core.Status().Parked > 0 {
			s.say("%s has parked messages", i)
			none = false
		}
	}
	if none {
		s.say("nothing parked")
	}
}

// slots says for each round whose witness was committed, and whether an earlier commit had ordered it as a tip.
func (s *script) slots(span string) error {
	var low, high tangle.Round
	if _, err := fmt.Sscanf(span, "%d-%d", &low, &high); err != nil {
		return err
	}
	o := s.world.oracles
	for r := low; r <= high; r++ {
		state := "not committed"
		for _, c := range o.commits {
			switch {
			case c.Round != r:
			case o.placed[c.Leader] < c.Index:
				state = fmt.Sprintf("n%d, ordered before", s.world.indexOf(o.messages[c.Leader].Header.Author))
			default:
				state = fmt.Sprintf("n%d", s.world.indexOf(o.messages[c.Leader].Header.Author))
			}
		}
		s.say("round %d: %s", r, state)
	}
	return nil
}
