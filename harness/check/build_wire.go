package check

import (
	"strconv"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// span is a range of a view's wire tokens.
type span struct{ from, to uint32 }

// commit is one COMMIT, its request and answer joined. Seqs are zero for what was not seen.
type commit struct {
	reached, forwarded, answered Mark
	conn, msg                    int64
	link                         symbol
	undone                       bool // the answer says that nothing was committed
	tokens                       span
}

// produce is one Produce request.
type produce struct {
	reached Mark
	link    symbol
	tokens  span
}

// ack is one batch that a Produce response acknowledged.
type ack struct {
	Mark
	link   symbol
	at     Position
	tokens span
	told   bool // the response went on to the client: one that the tap kept from it acknowledged nothing to anybody
}

// answered is the last Produce response seen on a connection, which comes up to three times.
type answered struct {
	msg      int64
	from, to int // of the view's acks
}

// offsetCommit is one partition of an OffsetCommit request.
type offsetCommit struct {
	Mark
	link symbol
	next Position // the first record that the consumer has not handled
}

// hold is one step of a message that the tap held.
type hold struct {
	Mark
	link, direction, kind, step symbol
	tokens                      span
}

// post is one exchange that placed an order or reserved stock: the ids that request and response carried.
type post struct {
	Mark
	request, response span
}

// wireBuilder pairs requests with answers on each connection.
type wireBuilder struct {
	commits  map[connection]int // index of the COMMIT that awaits its answer
	produced map[connection]int64
	answered map[connection]answered
	posts    map[connection]post
}

type connection struct {
	link symbol
	conn int64
}

func newWireBuilder() wireBuilder {
	return wireBuilder{
		commits:  make(map[connection]int),
		produced: make(map[connection]int64),
		answered: make(map[connection]answered),
		posts:    make(map[connection]post),
	}
}

// Requests that make something, once for each idempotency key.
const (
	placeKind   = "POST /api/v1/orders"
	reserveKind = "POST /api/v1/stocks"
)

func makes(kind string) bool { return kind == placeKind || kind == reserveKind }

func (b *Builder) message(mark Mark, w *history.Wire) {
	v := b.view
	link := connection{v.symbols.of(w.Link), w.Conn}
	if w.Held != "" {
		v.holds = append(v.holds, hold{
			mark, link.link, v.symbols.of(w.Direction), v.symbols.of(w.Kind), v.symbols.of(w.Held), b.tokens(w.Tokens),
		})
	}
	request := w.Direction == history.Request
	switch {
	case request && w.Kind == "COMMIT":
		b.commitRequest(mark, link, w)
	case !request && w.Held == "" && (w.Kind == "COMMIT" || w.Kind == "ROLLBACK" || w.Kind == "Error"):
		b.commitAnswer(mark, link, w)
	case request && w.Kind == "Produce":
		// A message is seen up to three times; the first is when it reached the tap. Messages of one
		// connection are numbered from one, so that a number not above the last was seen before.
		if w.Msg != 0 && w.Msg <= b.wire.produced[link] {
			return
		}
		b.wire.produced[link] = w.Msg
		v.produces = append(v.produces, produce{mark, link.link, b.tokens(w.Tokens)})
	case request && w.Kind == "OffsetCommit" && !w.Forwarded && (w.Held == "" || w.Held == "held"):
		for _, text := range w.Records {
			if next, ok := parsePosition(text); ok {
				next.Topic = b.text(next.Topic)
				v.offsets = append(v.offsets, offsetCommit{mark, link.link, next})
			}
		}
	case !request && w.Kind == "Produce":
		b.acknowledge(mark, link, w)
	case request && makes(w.Kind) && !w.Forwarded && w.Held == "":
		b.wire.posts[link] = post{Mark: mark, request: b.tokens(w.Tokens)}
	case !request && makes(w.Kind):
		// The first sight of the answer will do: one that the tap held and dropped was given all the same.
		// A refusal names orders that it did not make.
		if open, ok := b.wire.posts[link]; ok {
			delete(b.wire.posts, link)
			if strings.HasPrefix(w.Status, "2") {
				open.response = b.tokens(w.Tokens)
				v.posts = append(v.posts, open)
			}
		}
	}
}

func (b *Builder) commitRequest(mark Mark, link connection, w *history.Wire) {
	v := b.view
	i, open := b.wire.commits[link]
	if !open || v.commits[i].msg != w.Msg {
		if w.Held != "" && w.Held != "held" {
			return // the end of a hold, after the COMMIT was answered or its connection ended
		}
		i = len(v.commits)
		b.wire.commits[link] = i
		v.commits = append(v.commits, commit{
			reached: mark, link: link.link, conn: w.Conn, msg: w.Msg, tokens: b.tokens(w.Tokens),
		})
	}
	if (w.Forwarded || w.Held == "forwarded") && v.commits[i].forwarded.Seq == 0 {
		v.commits[i].forwarded = mark
	}
}

// commitAnswer ties an answer to the COMMIT that waits on its connection: services send COMMIT as a
// message of its own, so that the next of these answers is its.
func (b *Builder) commitAnswer(mark Mark, link connection, w *history.Wire) {
	i, open := b.wire.commits[link]
	if !open {
		return
	}
	commit := &b.view.commits[i]
	commit.answered, commit.undone = mark, w.Kind != "COMMIT" || w.Status == "ROLLBACK"
	delete(b.wire.commits, link)
}

func (b *Builder) acknowledge(mark Mark, link connection, w *history.Wire) {
	v := b.view
	last, seen := b.wire.answered[link]
	if !seen || w.Msg == 0 || last.msg != w.Msg {
		last = answered{msg: w.Msg, from: len(v.acks)}
		tokens := b.tokens(w.Tokens)
		for _, text := range w.Records {
			if at, ok := parsePosition(text); ok && at.Offset >= 0 {
				at.Topic = b.text(at.Topic)
				v.acks = append(v.acks, ack{Mark: mark, link: link.link, at: at, tokens: tokens})
			}
		}
		last.to = len(v.acks)
		b.wire.answered[link] = last
	}
	if w.Held == "held" {
		return // what became of it is still to come
	}
	for i := last.from; i < last.to; i++ {
		v.acks[i].told = w.Held == "" || w.Held == "forwarded"
	}
}

func parsePosition(text string) (Position, bool) {
	slash, at := strings.LastIndexByte(text, '/'), strings.LastIndexByte(text, '@')
	if slash < 0 || at < slash {
		return Position{}, false
	}
	partition, err := strconv.ParseInt(text[slash+1:at], 10, 32)
	if err != nil {
		return Position{}, false
	}
	offset, err := strconv.ParseInt(text[at+1:], 10, 64)
	if err != nil {
		return Position{}, false
	}
	return Position{text[:slash], int32(partition), offset}, true
}

// tokens stores the tokens of a message.
func (b *Builder) tokens(texts []string) span {
	v := b.view
	from := uint32(len(v.tokens))
	for _, text := range texts {
		v.tokens = append(v.tokens, v.symbols.of(text))
	}
	return span{from, uint32(len(v.tokens))}
}

func (v *View) carried(s span) []symbol { return v.tokens[s.from:s.to] }

// carries says whether a message carried the token.
func (v *View) carries(s span, token symbol) bool {
	for _, carried := range v.carried(s) {
		if carried == token {
			return true
		}
	}
	return false
}
