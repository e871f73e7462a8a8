package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Transactions says how a consumer reads records that may be of Kafka transactions.
type Transactions struct {
	// Uncommitted shows records before their transaction ended, and also when it was aborted.
	Uncommitted bool
	// OnUncommitted is called for each record of a transaction that is shown so.
	OnUncommitted func()
}

// reader reads one partition.
type reader interface {
	// fetch returns the next record, in order.
	fetch(context.Context) (Record, error)
	// waiting is how many records have been fetched and not returned yet.
	waiting() int
	close()
}

// reader returns a reader that begins at an offset.
func (c *Consumer) reader(topic string, partition int, offset int64, sockets *sockets) (reader, error) {
	if c.cfg.Transactions != nil {
		return c.transactionalReader(topic, partition, offset, sockets)
	}
	plain := kafka.NewReader(kafka.ReaderConfig{
		Brokers:          []string{anyBroker},
		Topic:            topic,
		Partition:        partition,
		Dialer:           &kafka.Dialer{ClientID: c.cfg.ClientID, Timeout: dialTimeout, DialFunc: sockets.Dial},
		MinBytes:         1,
		MaxBytes:         1 << 20,
		MaxWait:          100 * time.Millisecond,
		ReadBatchTimeout: time.Second,
		ReadBackoffMin:   readBackoffMin,
		ReadBackoffMax:   readBackoffMax,
		ReadLagInterval:  -1,
	})
	if err := plain.SetOffset(offset); err != nil {
		_ = plain.Close() // always nil
		return nil, fmt.Errorf("set offset: %w", err)
	}
	return plainReader{plain}, nil
}

// plainReader shows every record: kafka-go knows no transactions, whatever isolation level it is given (kafka-go #1332).
type plainReader struct{ reader *kafka.Reader }

func (r plainReader) fetch(ctx context.Context) (Record, error) {
	message, err := r.reader.FetchMessage(ctx)
	return toRecord(message), err
}

func (r plainReader) waiting() int { return int(r.reader.Stats().QueueLength) }

func (r plainReader) close() { _ = r.reader.Close() } // always nil

func toRecord(m kafka.Message) Record {
	headers := make([]Header, len(m.Headers))
	for i, h := range m.Headers {
		headers[i] = Header{Key: h.Key, Value: h.Value}
	}
	return Record{
		Topic: m.Topic, Partition: int32(m.Partition), Offset: m.Offset,
		Key: m.Key, Headers: headers, Value: m.Value,
	}
}

func (c *Consumer) transactionalReader(topic string, partition int, offset int64, sockets *sockets) (reader, error) {
	isolation := kgo.ReadCommitted()
	if c.cfg.Transactions.Uncommitted {
		isolation = kgo.ReadUncommitted()
	}
	client, err := kgo.NewClient(append(franzOptions(c.cfg.Brokers, c.cfg.ClientID),
		kgo.Dialer(sockets.Dial),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(partition): kgo.NewOffset().At(offset)}}),
		kgo.FetchIsolationLevel(isolation),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.MaxConcurrentFetches(1),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open reader of %s/%d: %w", topic, partition, err)
	}
	return &transactionalReader{client: client, transactions: *c.cfg.Transactions}, nil
}

// transactionalReader shows records of transactions once those were committed, or, if asked, at once.
type transactionalReader struct {
	client       *kgo.Client
	transactions Transactions
	fetched      []*kgo.Record
}

func (r *transactionalReader) fetch(ctx context.Context) (Record, error) {
	for len(r.fetched) == 0 {
		fetches := r.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return Record{}, fmt.Errorf("fetch: %w", err)
		}
		r.fetched = fetches.Records()
	}
	next := r.fetched[0]
	r.fetched = r.fetched[1:]
	if r.transactions.Uncommitted && next.Attrs.IsTransactional() {
		r.transactions.OnUncommitted()
	}
	return fromFranz(next), nil
}

func (r *transactionalReader) waiting() int { return len(r.fetched) }

func (r *transactionalReader) close() { r.client.Close() }
