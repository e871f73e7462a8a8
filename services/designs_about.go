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
	"read-modify-write": {
		about:   "Stock is read, checked in the program, and written back, as an object mapper does by default.",
		source:  "saleor#543; Warszawski and Bailis, ACIDRain (SIGMOD 2017): lost updates of inventories under READ COMMITTED",
		expects: "Broken by contention alone: concurrent orders for one product overwrite each other and oversell.",
		breaks:  []string{"lost-update", "conservation-broken", "oversell", "negative-stock"},
	},
	"version-column": {
		about:   "Stock is written back only where its version is still the one that was read; else it is read again, five times at most.",
		source:  "Fowler, Patterns of Enterprise Application Architecture: Optimistic Offline Lock; JPA's @Version",
		expects: "Holds under contention, with retries; one that has used them up must say so, and is tried again later.",
	},
	"select-for-update": {
		about:   "Stock is read under row locks, taken in the order of products, checked, and written back.",
		source:  "Fowler, Patterns of Enterprise Application Architecture: Pessimistic Offline Lock; PostgreSQL's SELECT ... FOR UPDATE",
		expects: "Holds under contention, and slows down with it; orders of several products deadlock unless everybody locks in one order.",
	},
	"single-writer": {
		about:   "All orders come over one partition; its owner keeps stock in memory and alone writes it, fenced by the generation of its consumer group.",
		source:  "Thompson, Single Writer Principle; Kleppmann, Designing Data-Intensive Applications, chapter 8: fencing tokens",
		expects: "Holds under contention, which there is none; a paused owner that comes back is stopped by the fence alone.",
	},
	"redis-counter": {
		about:   "A script in Redis takes all lines of an order at once; the database follows, and what a rolled-back transaction took is given back.",
		source:  "Redis: Lua scripts run atomically; dtm's flash-sale example, deduction of stock in Redis",
		expects: "Holds under contention; aborts and crashes between Redis and the database part the two unless every take is written down and reconciled.",
	},
}
