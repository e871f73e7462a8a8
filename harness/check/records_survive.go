package check

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var acknowledgedRecordsSurvive = Guarantee{
	ID: "I11", Name: "acknowledged-records-survive",
	Statement: "An event whose record a broker acknowledged to its producer is in the topic at the end.",
	Check:     checkRecordsSurvive,
}

// checkRecordsSurvive looks for the events of acknowledged batches, wherever in their topic: what was produced
// several times may be lost but once. A batch of which no event is known is looked for at its offset.
func checkRecordsSurvive(v *View) (f Finding) {
	search := survivors{view: v, finding: &f, owed: make(map[eventInTopic]bool), placed: make(map[Position]bool)}
	search.atRest, search.reason = v.rest()
	for _, phase := range v.Phases {
		if phase.Name == history.Drain {
			search.drain = phase.Seq
		}
	}
	for i := range v.acks {
		if a := &v.acks[i]; a.told {
			search.batch(a)
		}
	}
	if search.open > 0 {
		f.Unknown = fmt.Sprintf("%s not in the log, and %s", plural(search.open, "acknowledged event is", "acknowledged events are"), search.reason)
	}
	return f
}

type survivors struct {
	view    *View
	finding *Finding
	atRest  bool
	reason  string
	drain   int64 // when the drain began; zero when it never did
	owed    map[eventInTopic]bool
	placed  map[Position]bool // of batches of which no event is known
	open    int
}

type eventInTopic struct{ event, topic string }

func (s *survivors) batch(a *ack) {
	known := false
	for _, token := range s.view.carried(a.tokens) {
		event := s.view.events[s.view.symbols.name(token)]
		if event == nil || !s.view.belongs(event, a.at.Topic) {
			continue
		}
		known = true
		key := eventInTopic{event.ID, a.at.Topic}
		if s.owed[key] {
			continue
		}
		s.owed[key] = true
		s.finding.Examined++
		if !event.inTopic(a.at.Topic) {
			s.lost(a, event)
		}
	}
	if known || s.placed[a.at] {
		return
	}
	s.placed[a.at] = true
	s.finding.Examined++
	if record := s.view.at(a.at); record == nil || len(s.view.carried(a.tokens)) > 0 && !s.view.sent(a.tokens, record) {
		s.lost(a, nil)
	}
}

// lost judges one acknowledged event that the topic lacks; nil means that all that is known of it is its offset.
func (s *survivors) lost(a *ack, event *Event) {
	anomaly := Anomaly{
		Name: LostAck, Subject: (&Partition{Topic: a.at.Topic, Number: a.at.Partition}).String(), Events: []int64{a.Seq},
		Detail: fmt.Sprintf("the broker acknowledged a batch at %v to %s, but the log has none of it there", a.at, s.view.symbols.name(a.link)),
	}
	if event != nil {
		for _, row := range event.Outbox {
			if row.Topic != a.at.Topic {
				continue
			}
			if row.Published.Seq == 0 {
				s.open++ // its relay has not heard of the answer, and produces it again
				s.reason = "some wait in an outbox"
				return
			}
			anomaly.Events = append(anomaly.Events, row.Seq, row.Published.Seq)
		}
		anomaly.Subject = event.subject()
		anomaly.Detail = fmt.Sprintf("the broker acknowledged event %s in a batch at %v to %s, but no record of %s has it at the end",
			event.ID, a.at, s.view.symbols.name(a.link), a.at.Topic)
		if made := event.Announces; made != nil && made.Reservation == nil {
			anomaly.Events = append(anomaly.Events, made.seq())
		}
	}
	if !s.atRest && a.Seq > s.drain {
		s.open++ // it may have come when the topics had been read
		return
	}
	if partition := s.view.partition(a.at.Topic, a.at.Partition); partition != nil {
		for _, record := range partition.cut {
			if event != nil && record.EventID == event.ID || event == nil && record.Offset == a.at.Offset {
				anomaly.Events = append(anomaly.Events, record.Seq)
			}
		}
	}
	s.finding.Anomalies = append(s.finding.Anomalies, anomaly)
}

// belongs says whether rows or records show that an event is of a topic. The id of another event in a header
// ("caused by") proves nothing.
func (v *View) belongs(event *Event, topic string) bool {
	if event.inTopic(topic) {
		return true
	}
	for _, row := range event.Outbox {
		if row.Topic == topic {
			return true
		}
	}
	made := event.Announces
	return made != nil && made.topic() == topic
}

// inTopic says whether the topic has a record of the event that no harness wrote. One of an aborted transaction
// counts: the log has it.
func (e *Event) inTopic(topic string) bool {
	for _, records := range [...][]*Record{e.Records, e.DeadLetters, e.Retries} {
		for _, record := range records {
			// The letter of an injected record bears its mark, but a service wrote it.
			if record.Topic == topic && (!record.Injected || isDeadLetterTopic(topic) || isRetryTopic(topic)) {
				return true
			}
		}
	}
	return false
}

func (e *Event) subject() string {
	if e.Order != "" {
		return "order " + e.Order
	}
	return "event " + e.ID
}
