package harness

import (
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// Point names one message of one order (or of one reservation) by what it carries, never by how many went before:
// relays and sweepers commit too. The order is placed for the purpose, see [At]. [ProduceRequestTo] alone is of no order.
type Point struct {
	process   string // whose link
	server    string // towards what: "postgres", "kafka", a service, or "" for the client's link to the process
	direction string
	kind      string
	prefix    bool   // kind is the beginning of the message's kind: a path may hold an id
	token     string // carried beside the order's id, may be empty
	reserves  bool   // it is of a reservation, made and confirmed for the purpose
	topic     string // that it is for, of a message of no order; may be empty
}

// CommitRequest is the COMMIT of the first transaction by which process writes the order, on its way
// to the database.
func CommitRequest(process string) Point {
	return Point{process: process, server: "postgres", direction: history.Request, kind: "COMMIT"}
}

// CommitReply is the database's answer to that COMMIT: the transaction is durable.
func CommitReply(process string) Point {
	return Point{process: process, server: "postgres", direction: history.Response, kind: "COMMIT"}
}

// ProduceRequest is the first Produce by which process sends an event of the order.
func ProduceRequest(process string) Point {
	return Point{process: process, server: "kafka", direction: history.Request, kind: "Produce"}
}

// ProduceReply is the broker's acknowledgement of that Produce.
func ProduceReply(process string) Point {
	return Point{process: process, server: "kafka", direction: history.Response, kind: "Produce"}
}

// ProduceRequestTo is the first Produce by which process sends anything to a topic, as a dead letter: no order is
// placed for it.
func ProduceRequestTo(process, topic string) Point {
	return Point{process: process, server: "kafka", direction: history.Request, kind: "Produce", topic: topic}
}

// Answer is the answer of process to the client that placed the order.
func Answer(process string) Point {
	return Point{process: process, direction: history.Response, kind: "POST /api/v1/orders"}
}

// CallRequest is the first request with a method ("POST") by which process asks another service about the order.
func CallRequest(process, service, method string) Point {
	return Point{process: process, server: service, direction: history.Request, kind: method + " ", prefix: true}
}

// CallReply is the answer of the other service to that request.
func CallReply(process, service, method string) Point {
	return Point{process: process, server: service, direction: history.Response, kind: method + " ", prefix: true}
}

// Confirmation is the answer of process to the client that confirms a reservation over REST. The reservation is made, and
// confirmed until that is answered, for the purpose.
func Confirmation(process string) Point {
	return Point{process: process, direction: history.Response, kind: "PUT /api/v1/stocks/", prefix: true, reserves: true}
}

// With demands that the message carries this token too, as "CONFIRMED" of a later transaction.
func (p Point) With(token string) Point { p.token = token; return p }

// String names the point in words.
func (p Point) String() string {
	words := []string{strings.TrimSpace(p.kind), p.direction, "of", p.process}
	if p.token != "" {
		words = append(words, "with", p.token)
	}
	if p.topic != "" {
		words = append(words, "to", p.topic)
	}
	return strings.Join(words, " ")
}

// link names the link that the message crosses.
func (p Point) link() string {
	switch p.server {
	case "":
		return "client->" + p.process
	case "kafka":
		return p.process + "->kafka-*"
	case "postgres":
		return p.process + "->postgres*"
	default:
		return p.process + "->" + p.server
	}
}

// match chooses the message of that order: it carries the order's id or, where the service chose the
// id, the idempotency key.
func (p Point) match(order marked) link.Match {
	exact := p.kind
	if p.prefix {
		exact = "" // any, as far as the link is concerned
	}
	return link.Match{Direction: p.direction, Kind: exact, Where: func(m wire.Message) bool {
		if p.prefix && !strings.HasPrefix(m.Kind, p.kind) {
			return false
		}
		if p.direction == history.Response && p.kind == "COMMIT" && m.Status == "ROLLBACK" {
			return false
		}
		if p.token != "" && !slices.Contains(m.Tokens, p.token) {
			return false
		}
		if p.topic != "" {
			return slices.ContainsFunc(m.Records, func(record string) bool { return strings.HasPrefix(record, p.topic+"/") })
		}
		return slices.ContainsFunc(m.Tokens, order.is)
	}}
}
