package services

import (
	"fmt"
	"slices"
	"strings"
)

// Sound is the name of the design that keeps every guarantee of the catalogue.
const Sound = "sound"

// Design is one assembly of the reference services: a choice of parts, and the guards that it does without.
type Design struct {
	Name    string
	About   string   // one sentence
	Source  string   // where the design is described: the publications that users know it from
	Parts   Parts    // complete
	Lacks   []string // guards that the design does not have, where others with these parts do
	Breaks  []string // anomalies that the literature expects of it under some fault; none for a sound design
	Expects string   // under which faults what is expected, in one sentence
}

// Designs returns every named design, in the order of the documentation.
func Designs() []Design {
	designs := []Design{
		{Name: Sound, About: "Outbox by polling, inbox, conditional update, compare-and-set, sweeper, dead letters, idempotency keys."},

		{Name: "in-transaction", Parts: Parts{Publishing: InTransaction}, Lacks: []string{Sweeper}},
		{Name: "after-commit", Parts: Parts{Publishing: AfterCommit}, Lacks: []string{Sweeper}},
		{Name: "rollback-compensation", Parts: Parts{Publishing: RollbackCompensation, Coordination: StockFirst}, Lacks: []string{Sweeper}},
		{Name: "timeout-compensation", Parts: Parts{Publishing: TimeoutCompensation}, Lacks: []string{Sweeper}},
		{Name: "timeout-compensation-sweeper", Parts: Parts{Publishing: TimeoutCompensation}},
		{Name: "outbox-cursor", Parts: Parts{Publishing: OutboxCursor}},
		{Name: "outbox-notify", Parts: Parts{Publishing: OutboxNotify}},
		{Name: "outbox-logical", Parts: Parts{Publishing: OutboxLogical}},
		{Name: "kafka-transaction", Parts: Parts{Publishing: KafkaTransaction}},

		{Name: "choreography", Parts: Parts{Payment: Payment}},
		{Name: "saga", Parts: Parts{Coordination: Saga, Payment: Payment}},
		{Name: "tcc-rest", Parts: Parts{Coordination: TCCRest, Payment: Payment}},
		{Name: "tcc-kafka", Parts: Parts{Coordination: TCCKafka, Payment: Payment}},

		{Name: "read-modify-write", Parts: Parts{Stock: ReadModifyWrite}},
		{Name: "version-column", Parts: Parts{Stock: VersionColumn}},
		{Name: "select-for-update", Parts: Parts{Stock: SelectForUpdate}},
		{Name: "single-writer", Parts: Parts{Stock: SingleWriter}},
		{Name: "redis-counter", Parts: Parts{Stock: RedisCounter}},

		{Name: "ack-record", Parts: Parts{Ack: AckRecord}},
		{Name: "ack-batch", Parts: Parts{Ack: AckBatch}},
		{Name: "ack-count", Parts: Parts{Ack: AckCount}},
		{Name: "ack-count-time", Parts: Parts{Ack: AckCountTime}},
		{Name: "ack-manual", Parts: Parts{Ack: AckManual}},
		{Name: "ack-manual-immediate", Parts: Parts{Ack: AckManualImmediate}},
		{Name: "auto-commit", Parts: Parts{Ack: AutoCommit}},
		{Name: "fixed-backoff", Parts: Parts{Backoff: FixedBackoff}},
		{Name: "direct-dead-letter", Parts: Parts{Failures: DirectDeadLetter}},
		{Name: "retry-topics", Parts: Parts{Failures: RetryTopics}},
		{Name: "redrive", Parts: Parts{Failures: Redrive}},
	}
	for i := range designs {
		designs[i].Parts = designs[i].Parts.withDefaults()
		describe(&designs[i])
	}
	return designs
}

// FindDesign returns the design of that name, or the one that consists of the named parts, joined by +, and of the
// sound design's where none is named. It refuses what is neither, and parts that contradict each other.
func FindDesign(name string) (Design, error) {
	designs := Designs()
	for _, design := range designs {
		if design.Name == name {
			return design, nil
		}
	}
	named := partNames()
	if !strings.Contains(name, "+") && !slices.Contains(named, name) {
		for _, design := range designs {
			named = append(named, design.Name)
		}
		return Design{}, fmt.Errorf("no design %q: did you mean %q?", name, nearest(name, named))
	}
	parts, err := ParseParts(name)
	if err != nil {
		return Design{}, err
	}
	return Design{Name: name, About: "Chosen by parts.", Parts: parts}, nil
}

// Guards returns the guards that the design has.
func (d Design) Guards() []Guard {
	var guards []Guard
	for _, guard := range Guards() {
		if guard.in(d.Parts) && !slices.Contains(d.Lacks, guard.Name) {
			guards = append(guards, guard)
		}
	}
	return guards
}

// Remove checks a list of guards to remove from the design, comma-separated names in each, and returns them sorted.
// It refuses a name that is no guard, a guard that the design does not have, and a list that contradicts itself.
func (d Design) Remove(list string) (Without, error) {
	without, err := ParseGuards(list)
	if err != nil {
		return nil, err
	}
	have := d.Guards()
	for _, name := range without {
		if slices.ContainsFunc(have, func(g Guard) bool { return g.Name == name }) {
			continue
		}
		var names []string
		for _, guard := range have {
			names = append(names, guard.Name)
		}
		return nil, fmt.Errorf("design %s has no guard %q to remove; it has: %s", d.Name, name, strings.Join(names, ", "))
	}
	return without, nil
}
