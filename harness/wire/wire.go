// Package wire understands the bytes of Postgres, Kafka and HTTP/1.1 connections: it cuts them into
// messages, says what each message does and which ids it carries, and rewrites Kafka's broker addresses.
package wire

import (
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Protocol says how the bytes of a connection are framed. The zero value is [Raw].
type Protocol int

// The protocols.
const (
	Raw      Protocol = iota // no framing: every chunk is a fragment
	Postgres                 // frontend/backend protocol 3
	Kafka
	HTTP // HTTP/1.1
)

// String names the protocol as error messages and reports show it.
func (p Protocol) String() string {
	switch p {
	case Postgres:
		return "postgres"
	case Kafka:
		return "kafka"
	case HTTP:
		return "http"
	default:
		return "raw"
	}
}

// Message is one protocol message of one direction of a connection.
type Message struct {
	// Direction is [history.Request] or [history.Response].
	Direction string
	// Kind is what the message does: "COMMIT", "Bind", "Produce", "POST /api/v1/orders". It is empty for a fragment.
	Kind string
	// Status is the SQLSTATE of an Error, the transaction status of a ReadyForQuery, "implicit" or
	// "ROLLBACK" of a COMMIT, the status code of an HTTP response, the name of the first error in a Kafka response
	// ("NOT_ENOUGH_REPLICAS", as package kerr spells it; its number when that is not known).
	Status string
	// Tokens are the ids that the message carries; those of a COMMIT are its whole transaction's, those of a
	// Produce response what was produced to the partitions it acknowledges, or to all when it acknowledges none. A
	// transactional id is one too.
	Tokens []string
	// Records are "topic/partition" (Produce requests), "topic/partition@first offset" (Produce
	// responses, of what they acknowledge) or "topic/partition@offset" of every data record (Fetch responses).
	Records []string
	// Began is when the transaction of a COMMIT began, on the clock of [Options].Now.
	Began time.Duration
	// Size is the number of bytes that came.
	Size int
	// Data are the bytes to forward. They differ from those that came only where an address or version
	// was rewritten, and are valid until the buffer given to [Codec.Next] changes.
	Data []byte
	// Fragment marks bytes that are no whole message: part of a frame too large to hold, or of a
	// connection that could not be understood.
	Fragment bool
	// Unread marks a message that passes as it came although the codec looks into its kind: of a later
	// version than it knows, damaged, or with records that it cannot unpack.
	Unread bool
	// Opens and Closes number the exchange (a request and its answer, a Postgres batch and its
	// ReadyForQuery) that the message begins or ends; 0 for neither. Kafka requests that wait on purpose
	// (Fetch, JoinGroup, SyncGroup) belong to none.
	Opens, Closes int64
}

// Options are what a codec needs besides bytes. The zero value is usable.
type Options struct {
	// Now is the clock for [Message].Began. Nil means that Began stays 0.
	Now func() time.Duration
	// Broker maps a Kafka node to the address that clients shall use. Nil, or false for a node, leaves
	// what the broker advertises.
	Broker func(node int32) (host string, port int32, ok bool)
	// Topics is where the ids of Kafka topics are learnt. Share one among the links of one process or
	// stack: ids learnt on one connection are used on others. Nil means one of the codec's own.
	Topics *Topics
}

// Codec parses the two directions of one connection, which share state. It is not safe for concurrent use.
type Codec interface {
	// Next parses the message at the start of data, the bytes of one direction not yet consumed, into m
	// and returns how many bytes it takes; 0 means that more must be read first. The next call for
	// the direction must begin after those bytes; after a 0 it must begin with the same ones. Bytes that
	// cannot be understood make the connection opaque: they, and all later ones, are fragments.
	Next(direction string, data []byte, m *Message) int
	// Opaque says that the codec has given up understanding the connection.
	Opaque() bool
}

// maxFrame bounds the message that is parsed as a whole; what is larger passes in fragments.
const maxFrame = 64 << 20

// maxUninspected does the same for frames that nothing looks into.
const maxUninspected = 1 << 20

// New returns a codec for one connection.
func New(p Protocol, o Options) Codec {
	if o.Now == nil {
		o.Now = func() time.Duration { return 0 }
	}
	if o.Topics == nil {
		o.Topics = new(Topics)
	}
	switch p {
	case Postgres:
		return newPostgres(o)
	case Kafka:
		return newKafka(o)
	case HTTP:
		return newHTTP()
	default:
		return &raw{}
	}
}

// raw passes everything.
type raw struct{ opaque bool }

// Next implements [Codec].
func (r *raw) Next(direction string, data []byte, m *Message) int {
	return fragment(direction, data, m)
}

// Opaque implements [Codec].
func (r *raw) Opaque() bool { return r.opaque }

// fragment makes m all of data, not understood.
func fragment(direction string, data []byte, m *Message) int {
	*m = Message{Direction: direction, Fragment: true, Size: len(data), Data: data}
	return len(data)
}

// passing counts the bytes left of frames that pass in fragments, per direction.
type passing struct{ request, response int }

func (p *passing) left(direction string) *int {
	if direction == history.Request {
		return &p.request
	}
	return &p.response
}

// next makes m the next fragment of a frame that passes in fragments, if one does.
func (p *passing) next(direction string, data []byte, m *Message) int {
	left := p.left(direction)
	if *left == 0 || len(data) == 0 {
		return 0
	}
	n := min(*left, len(data))
	*left -= n
	return fragment(direction, data[:n], m)
}
