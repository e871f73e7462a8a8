package check

import (
	"fmt"
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var deadLettersComplete = Guarantee{
	ID: "I14", Name: "dead-letters-complete",
	Statement: "Every record that a consumer gave up is in its dead-letter topic, whole, and was not applied as well.",
	Check:     checkDeadLetters,
}

func checkDeadLetters(v *View) (f Finding) {
	search := deadLetterSearch{view: v, finding: &f, owed: make(map[Position]bool), kept: v.keptPositions()}
	search.atRest, search.reason = v.rest()
	for _, row := range v.Inbox {
		if row.Outcome == DeadLettered {
			search.owe(Position{row.Topic, row.Partition, row.Offset}, v.events[row.EventID], row.Seq,
				fmt.Sprintf("%s gave it up at LSN %d", row.Consumer, row.LSN))
		}
	}
	for _, offset := range v.groupOffsets() {
		if partition := v.partition(offset.topic, offset.partition); partition != nil {
			search.poison(partition, offset)
		}
	}
	for _, partition := range v.Partitions {
		if isDeadLetterTopic(partition.Topic) {
			for _, record := range partition.Records {
				search.whole(record)
			}
		}
	}
	for _, event := range v.Events {
		search.applied(event)
	}
	if search.open > 0 {
		f.Unknown = fmt.Sprintf("%s not in the topic yet, and %s", plural(search.open, "dead letter is", "dead letters are"), search.reason)
	}
	return f
}

type deadLetterSearch struct {
	view    *View
	finding *Finding
	atRest  bool
	reason  string
	owed    map[Position]bool
	kept    map[Position]bool // what dead letters say they keep
	open    int
}

// keptPositions are the records that dead letters keep. A record whose event id cannot be read is found
// by them alone.
func (v *View) keptPositions() map[Position]bool {
	kept := make(map[Position]bool)
	for _, partition := range v.Partitions {
		for _, record := range partition.Records {
			if record.Origin != nil && !record.Aborted && isDeadLetterTopic(record.Topic) {
				kept[*record.Origin] = true
			}
		}
	}
	return kept
}

// owe requires a dead letter of the record that was consumed at a position.
func (s *deadLetterSearch) owe(at Position, event *Event, because int64, why string) {
	if s.owed[at] {
		return
	}
	s.owed[at] = true
	s.finding.Examined++
	if s.kept[at] {
		return
	}
	for _, letter := range event.DeadLetters { // one that does not say where it is from is damaged, not lost
		if !letter.Aborted && letter.Topic == deadLetterPrefix+at.Topic {
			return
		}
	}
	for _, row := range event.Outbox {
		if row.Topic == deadLetterPrefix+at.Topic && row.Published.Seq == 0 {
			s.open++ // it waits in the outbox: convergence says whether for too long
			s.reason = "some wait in an outbox"
			return
		}
	}
	if !s.atRest {
		s.open++
		return
	}
	anomaly := Anomaly{
		Name: DeadLetterLoss, Subject: "event " + event.ID,
		Detail: fmt.Sprintf("%s, but no record of %s%s keeps %v", why, deadLetterPrefix, at.Topic, at),
		Events: []int64{because},
	}
	if record := s.view.at(at); record != nil {
		anomaly.Events = append(anomaly.Events, record.Seq)
	}
	s.finding.Anomalies = append(s.finding.Anomalies, anomaly)
}

// poison requires dead letters of what no consumer can have applied: values that are no event.
func (s *deadLetterSearch) poison(partition *Partition, offset groupOffset) {
	for _, record := range partition.Records {
		if record.Offset >= offset.committed {
			return
		}
		if record.Payload == nil && !record.Aborted {
			s.owe(record.keeps(), s.view.events[record.EventID], offset.probe.Seq,
				fmt.Sprintf("its %s, and group %s committed offset %d past it", record.Broken, offset.group, offset.committed))
		}
	}
}

// keeps is the place of the record or, of a retry, of the record that it keeps.
func (r *Record) keeps() Position {
	if r.Origin != nil {
		return *r.Origin
	}
	return r.Position()
}

// whole compares a dead letter with the record that it says it keeps.
func (s *deadLetterSearch) whole(letter *Record) {
	if letter.Aborted { // the letter of an injected record bears its mark, but a service wrote it
		return
	}
	s.finding.Examined++
	var damage string
	events := []int64{letter.Seq}
	switch originals := s.originals(letter); {
	case letter.Origin == nil:
		damage = "its headers do not say which record it keeps"
	case len(originals) == 0:
		damage = fmt.Sprintf("%v, which it says it keeps, is not in the log", *letter.Origin)
	case !slices.ContainsFunc(originals, func(original *Record) bool { return difference(original, letter) == "" }):
		damage = difference(originals[0], letter)
		events = append(events, originals[0].Seq)
	}
	if damage != "" {
		s.finding.Anomalies = append(s.finding.Anomalies, Anomaly{
			Name: DeadLetterDamaged, Subject: "event " + letter.EventID,
			Detail: fmt.Sprintf("dead letter %v: %s", letter.Position(), damage), Events: events,
		})
	}
}

// originals are the records that were ever read where the letter says its original was.
func (s *deadLetterSearch) originals(letter *Record) []*Record {
	if letter.Origin == nil {
		return nil
	}
	partition := s.view.partition(letter.Origin.Topic, letter.Origin.Partition)
	if partition == nil {
		return nil
	}
	return partition.everAt(letter.Origin.Offset)
}

// difference says how a dead letter differs from its original; empty when it is whole.
func difference(original, letter *Record) string {
	switch {
	case letter.Topic != deadLetterPrefix+original.Topic:
		return fmt.Sprintf("it keeps a record of %s", original.Topic)
	case letter.Partition != original.Partition:
		return fmt.Sprintf("it is on another partition than %v", original.Position())
	case letter.Key != original.Key:
		return fmt.Sprintf("its key is %q, not %q", letter.Key, original.Key)
	case letter.Digest != original.Digest:
		return fmt.Sprintf("its value has other bytes than %v", original.Position())
	}
	for _, header := range original.Headers {
		if letter.Header(header.Name) != header.Value {
			return fmt.Sprintf("its header %s is %q, not %q", header.Name, letter.Header(header.Name), header.Value)
		}
	}
	return ""
}

// applied looks for events that one consumer both applied and gave up, unless a recorded replay
// brought them back.
func (s *deadLetterSearch) applied(event *Event) {
	for _, service := range s.view.services() {
		dead, effect := s.fate(event, service)
		if dead == 0 || effect == 0 || event.replayed() || event.replayedBy(service.Group) {
			continue
		}
		s.finding.Anomalies = append(s.finding.Anomalies, Anomaly{
			Name: AppliedAndDead, Subject: "event " + event.ID,
			Detail: fmt.Sprintf("%s both applied it and gave it up (order %s)", service.Group, event.Order),
			Events: []int64{dead, effect},
		})
	}
}

// fate returns what proves that a service gave an event up, and that it applied it; zero for nothing.
func (s *deadLetterSearch) fate(event *Event, service history.Service) (dead, effect int64) {
	for _, row := range event.Inbox {
		switch {
		case row.Consumer != service.Group:
		case row.Outcome == DeadLettered && dead == 0:
			dead = row.Seq
		case row.Outcome == Applied && effect == 0:
			effect = row.Seq
		}
	}
	for _, letter := range event.DeadLetters {
		if !letter.Aborted && letter.Header(headerConsumer) == service.Group && dead == 0 {
			dead = letter.Seq
		}
	}
	if len(event.Entries) > 0 && effect == 0 && dead != 0 && s.keepsLedger(service) {
		effect = event.Entries[0].Seq
	}
	return dead, effect
}

func (s *deadLetterSearch) keepsLedger(service history.Service) bool {
	return s.view.producer(stockTopic) == service.Name
}

// replayedBy says whether a consumer recorded that it replayed the event from its dead letter.
func (e *Event) replayedBy(group string) bool {
	return slices.ContainsFunc(e.Inbox, func(row *InboxRow) bool { return row.Consumer == group && row.Outcome == Replayed })
}

// replayed says whether somebody put the event back on its topic, on purpose, after it was given up.
func (e *Event) replayed() bool {
	for _, letter := range e.DeadLetters {
		for _, record := range e.Records {
			later := letter.Origin != nil && record.Topic == letter.Origin.Topic && record.Offset > letter.Origin.Offset
			if later && (record.Injected || record.Header(headerOriginalTopic) != "") {
				return true
			}
		}
	}
	return false
}
