package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// franz-go does what kafka-go has no words for: producers that number their batches, transactions, and reading
// committed records only.
const (
	requestTimeout = time.Second
	metadataMinAge = 50 * time.Millisecond

	retryBackoffMin = 20 * time.Millisecond
	retryBackoffMax = 250 * time.Millisecond
)

// franzOptions are those of every client of franz-go.
func franzOptions(brokers []string, clientID string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.ClientID(clientID),
		kgo.DialTimeout(dialTimeout),
		kgo.RequestTimeoutOverhead(requestTimeout),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.MetadataMaxAge(metadataTTL),
		kgo.RetryBackoffFn(func(failures int) time.Duration {
			return min(retryBackoffMin<<min(failures, 4), retryBackoffMax)
		}),
	}
}

// producerOptions are those of every producer of franz-go: its retries have no limit but the record's own context.
func producerOptions(brokers []string, clientID string) []kgo.Opt {
	return append(franzOptions(brokers, clientID),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProduceRequestTimeout(requestTimeout),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.UnknownTopicRetries(-1),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int {
				m := Message{Key: r.Key}
				if r.Partition >= 0 {
					m.Partition = &r.Partition
				}
				return int(partitionOf(m, int32(n)))
			}
		})),
	)
}

// toFranz returns the record of a message. The partition is -1 where the key chooses it.
func toFranz(m Message) *kgo.Record {
	record := &kgo.Record{Topic: m.Topic, Partition: -1, Key: m.Key, Value: m.Value}
	if m.Partition != nil {
		record.Partition = *m.Partition
	}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return record
}

// fromFranz returns a consumed record.
func fromFranz(r *kgo.Record) Record {
	headers := make([]Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = Header{Key: h.Key, Value: h.Value}
	}
	return Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Headers: headers, Value: r.Value}
}
