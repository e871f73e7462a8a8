package conformance_test

import (
	"context"
	"testing"
)

// The group protocols, as the Java client spells them.
const (
	classic  = "classic"
	nextGen  = "consumer" // KIP-848: the broker assigns partitions
	noCodec  = "none"
	everyKey = 60 // records that one step produces: enough that no partition stays empty
)

// library is one Kafka client library, and what it offers. What it lacks is not asked of it.
type library struct {
	name         string
	protocols    []string
	transactions bool // kafka-go has none, not even an idempotent producer (its issues 797, 233)
	// start makes a client that knows the brokers by these addresses alone.
	start func(t *testing.T, bootstrap []string) client
}

var libraries = []library{
	{name: "kafka-go", protocols: []string{classic}, start: startKafkaGo},
	{name: "franz-go", protocols: []string{classic, nextGen}, transactions: true, start: startFranzGo},
	{name: "java", protocols: []string{classic, nextGen}, transactions: true, start: startJava},
	{name: "librdkafka", protocols: []string{classic, nextGen}, transactions: true, start: startPython},
}

// codecs are all that Kafka has.
var codecs = []string{"gzip", "snappy", "lz4", "zstd"}

// client does what it is asked with one library. It is used by one goroutine at a time, and ended by the
// cleanup of the test that started it.
type client interface {
	// do carries out one request; a client that never answers ends with ctx.
	do(ctx context.Context, r request) (answer, error)
	// dialled are the addresses of all connections that the client tried to make, each as often as it did.
	dialled() []string
}

// The operations.
const (
	produce  = "produce"  // Records to Topic with Codec and acks=all; answers where each went
	transact = "transact" // the same in one transaction of Transaction, which ends as Commit says
	join     = "join"     // Member joins Group and consumes Topic from its start, committing after each poll
	received = "received" // answers all that Member received and committed
	leave    = "leave"    // Member leaves its group
	admin    = "admin"    // creates Topic, produces Records to it; answers the brokers and the topic's end
)

// request is one operation, and one line of the protocol that programs speak.
type request struct {
	Op          string   `json:"op"`
	Topic       string   `json:"topic"`
	Records     []record `json:"records"`
	Codec       string   `json:"codec"`
	Transaction string   `json:"transaction"`
	Commit      bool     `json:"commit"`
	Member      string   `json:"member"`
	Group       string   `json:"group"`
	Protocol    string   `json:"protocol"`
	Committed   bool     `json:"committed"` // read committed
	Partitions  int      `json:"partitions"`
	Replicas    int      `json:"replicas"`
}

// answer is what came of a request.
type answer struct {
	Error   string   `json:"error"`
	Records []record `json:"records"`
	Brokers []string `json:"brokers"` // host:port, as the cluster describes them to the client
	End     int64    `json:"end"`     // sum of the end offsets of all partitions
}

// record is one Kafka record; where it lies counts only in answers.
type record struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       string `json:"key"`
	Value     string `json:"value"`
}
