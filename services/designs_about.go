package services

// describe fills in what is known of a named design from publications.
func describe(d *Design) {
	about, ok := published[d.Name]
	if !ok {
		return
	}
	if about.about != "" {
		d.About = about.about
	}
	d.Source, d.Expects, d.Breaks = about.source, about.expects, about.breaks
}

type publication struct {
	about, source, expects string
	breaks                 []string
}

// published says of each design where it is described and what the literature expects. Expectations are never edited to fit a measurement;
// docs/matrix.md explains where they differ.
var published = map[string]publication{
	"rollback-compensation": {
		about:   "Stock is taken over REST before the order is written; a rollback announces that it is to be given back, a commit announces the order.",
		source:  "Spring's @TransactionalEventListener, phases AFTER_COMMIT and AFTER_ROLLBACK",
		expects: "Holds while transactions end in this process; a kill between commit and send loses the event, a kill or a lost answer between taking and writing keeps the stock, and nobody notices.",
		breaks:  []string{"lost-event", "stuck-order", "leaked-reservation", "stuck-reservation"},
	},
	"choreography": {
		about:   "Order, stock and payment react to each other's events: stock that is reserved is paid for, what is paid is confirmed, and a cancellation gives both back.",
		source:  "The saga pattern by choreography (C. Richardson, microservices.io)",
		expects: "Nobody owns the outcome: aborts and reordering leak stock or money unless each edge has an outbox, an inbox and a sweeper behind it. With all three, nothing.",
	},
	"tcc-rest": {
		about:   "The order service tries stock and payment over REST, decides the order once, and confirms or cancels at both over REST until each has answered.",
		source:  "Try-Confirm-Cancel (article-tcc; dtm; Seata's TCC mode with its tcc_fence_log)",
		expects: "Holds under contention if Try truly reserves, and under delays and reordering if a fence provides for empty rollback, suspension and repetition; what was decided must never expire.",
	},
	"tcc-kafka": {
		about:   "The order service tries stock and payment over REST and decides the order once; both learn the decision from its events.",
		source:  "Try-Confirm-Cancel with confirmation over Kafka (article-tcc)",
		expects: "As TCC over REST; the confirmation is never lost, because the outbox announces what was decided.",
	},
}
