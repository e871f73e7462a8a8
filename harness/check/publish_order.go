package check

import (
	"fmt"
)

var publishedAfterCommit = Guarantee{
	ID: "I8", Name: "published-after-commit",
	Statement: "No event leaves its service before the COMMIT of the transaction that wrote it was sent.",
	Check:     checkPublishedAfterCommit,
}

// announcedBy maps each announced event to the producer of its topic. Its messages are looked for on that
// service's links only: consumers carry the same event id in the commits that insert it into their
// inbox, and in the produces of its dead letter.
func (v *View) announcedBy() map[symbol]string {
	byTopic := make(map[string]string)
	for _, topic := range []string{orderTopic, stockTopic, paymentTopic} {
		byTopic[topic] = v.producer(topic)
	}
	services := make(map[symbol]string)
	for _, event := range v.Events {
		if event.Announces == nil {
			continue
		}
		if service := byTopic[event.Announces.topic()]; service != "" {
			services[v.symbols.known(event.ID)] = service
		}
	}
	return services
}

func checkPublishedAfterCommit(v *View) (f Finding) {
	services := v.announcedBy()
	owned := newOwnership(v)

	// The first commit that may have succeeded: one that was rolled back, or that never left the tap,
	// wrote nothing. One without an answer may have, so that a produce after it proves nothing.
	commits := make(map[symbol]*commit)
	for i := range v.commits {
		c := &v.commits[i]
		if c.undone || c.sent().Seq == 0 {
			continue
		}
		for _, token := range v.carried(c.tokens) {
			if service, ok := services[token]; ok && commits[token] == nil && owned.by(c.link, service) {
				commits[token] = c
			}
		}
	}
	produced := make(map[symbol]bool)
	for i := range v.produces {
		p := &v.produces[i]
		for _, token := range v.carried(p.tokens) {
			service, ok := services[token]
			if !ok || produced[token] || !owned.by(p.link, service) {
				continue
			}
			produced[token] = true // only the first can be too early
			c := commits[token]
			if c == nil {
				continue
			}
			f.Examined++
			if p.reached.Seq < c.sent().Seq {
				f.Anomalies = append(f.Anomalies, v.tooEarly(token, p, c))
			}
		}
	}
	return f
}

// sent is when the request went on to the server; where the tap did not record that but an answer
// came, it is when the request reached the tap.
func (c *commit) sent() Mark {
	if c.forwarded.Seq == 0 && c.answered.Seq != 0 {
		return c.reached
	}
	return c.forwarded
}

func (v *View) tooEarly(token symbol, p *produce, c *commit) Anomaly {
	event := v.events[v.symbols.name(token)]
	events := []int64{p.reached.Seq, c.sent().Seq, c.answered.Seq}
	if event.Announces.Reservation == nil {
		events = append(events, event.Announces.seq())
	}
	return Anomaly{
		Name: PublishedBeforeCommit, Subject: "event " + event.ID,
		Detail: fmt.Sprintf("its Produce reached %s before the COMMIT that wrote it went on through %s (order %s)",
			v.symbols.name(p.link), v.symbols.name(c.link), event.Order),
		Events: events,
	}
}

// ownership remembers which links start at which service.
type ownership struct {
	view  *View
	known map[linkService]bool
}

type linkService struct {
	link    symbol
	service string
}

func newOwnership(v *View) *ownership {
	return &ownership{view: v, known: make(map[linkService]bool)}
}

func (o *ownership) by(link symbol, service string) bool {
	key := linkService{link, service}
	owned, ok := o.known[key]
	if !ok {
		owned = clientOf(o.view.symbols.name(link), service)
		o.known[key] = owned
	}
	return owned
}
