package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	dialTimeout    = time.Second
	produceTimeout = 2 * time.Second
	// metadataTTL bounds how long a moved leader is looked for at its old place when nothing tells of the move.
	metadataTTL = 500 * time.Millisecond
	// refreshEvery bounds how often connections are given up for fresh metadata.
	refreshEvery = 100 * time.Millisecond
)

// ProducerConfig describes a producer.
type ProducerConfig struct {
	Brokers  []string
	ClientID string
	// LeaderOnly is acks=1: the leader acknowledges alone, and its followers may never have the records. Else the
	// acknowledgement is that of all in-sync replicas.
	LeaderOnly bool
}

// Producer produces and awaits acknowledgements, one request at a time for each partition. It uses kafka.Client
// and not kafka.Writer, because a Writer goes on sending after its context ended and so overtakes what comes later.
// It tries nothing twice: who calls it knows what must come first, and when to try again.
type Producer struct {
	client    *kafka.Client
	transport *kafka.Transport
	acks      kafka.RequiredAcks
	stop      context.CancelFunc

	mu         sync.Mutex
	partitions map[string]int32 // by topic; known ones only
	refreshed  time.Time
}

// NewProducer returns a producer. It connects on demand.
func NewProducer(cfg ProducerConfig) *Producer {
	ctx, stop := context.WithCancel(context.Background())
	transport := &kafka.Transport{
		Dial:        (&bootstrap{addresses: cfg.Brokers}).Dial,
		DialTimeout: dialTimeout,
		MetadataTTL: metadataTTL,
		ClientID:    cfg.ClientID,
		Context:     ctx,
	}
	acks := kafka.RequireAll
	if cfg.LeaderOnly {
		acks = kafka.RequireOne
	}
	return &Producer{
		client:     &kafka.Client{Addr: kafka.TCP(anyBroker), Timeout: produceTimeout, Transport: transport},
		transport:  transport,
		acks:       acks,
		stop:       stop,
		partitions: map[string]int32{},
	}
}

// Close ends the producer's connections.
func (p *Producer) Close() {
	p.transport.CloseIdleConnections()
	p.stop()
}

// Partitions returns how many partitions topic has; an error when that is not known, as when the topic is missing.
func (p *Producer) Partitions(ctx context.Context, topic string) (int32, error) {
	p.mu.Lock()
	n := p.partitions[topic]
	p.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	metadata, err := p.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	for _, t := range metadata.Topics {
		if t.Name == topic {
			if t.Error != nil {
				return 0, fmt.Errorf("look up topic %s: %w", topic, t.Error)
			}
			n = int32(len(t.Partitions))
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("look up topic %s: %w", topic, kafka.UnknownTopicOrPartition)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partitions[topic] = n
	return n, nil
}

// PartitionFor returns the partition that m belongs to.
func (p *Producer) PartitionFor(ctx context.Context, m Message) (int32, error) {
	n, err := p.Partitions(ctx, m.Topic)
	if err != nil {
		return 0, err
	}
	return partitionOf(m, n), nil
}

// Produce appends messages to one partition, in order, and waits for the acknowledgement.
// After an error it is unknown whether the messages are in the log, or will be.
func (p *Producer) Produce(ctx context.Context, topic string, partition int32, messages []Message) error {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	now := time.Now()
	records := make([]kafka.Record, len(messages))
	for i, m := range messages {
		headers := make([]kafka.Header, len(m.Headers))
		for j, h := range m.Headers {
			headers[j] = kafka.Header{Key: h.Key, Value: h.Value}
		}
		records[i] = kafka.Record{Time: now, Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value), Headers: headers}
	}
	response, err := p.client.Produce(ctx, &kafka.ProduceRequest{
		Topic:        topic,
		Partition:    int(partition),
		RequiredAcks: p.acks,
		Records:      kafka.NewRecordReader(records...),
	})
	if err == nil {
		err = response.Error
	}
	if err != nil {
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			p.forget(topic)
		}
		if misdirected(err) {
			p.refresh()
		}
		return fmt.Errorf("produce to %s/%d: %w", topic, partition, err)
	}
	return nil
}

// misdirected says that a request may have gone to the wrong broker: it said so, or it did not answer, as one that is
// dead or cut off from the others. A partition that has no leader or too few replicas was asked at the right place.
func misdirected(err error) bool {
	var refused kafka.Error
	if !errors.As(err, &refused) {
		return !errors.Is(err, protocol.ErrNoLeader)
	}
	switch refused {
	case kafka.NotLeaderForPartition, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.ReplicaNotAvailable,
		kafka.BrokerNotAvailable, kafka.KafkaStorageError, kafka.UnknownTopicOrPartition, kafka.RequestTimedOut, kafka.NetworkException:
		return true
	default:
		return false
	}
}

// refresh makes the next request ask for fresh metadata, at another broker than before. kafka-go keeps what it knows
// for the time to live, whatever a broker answers, and keeps asking one that is cut off (kafka-go #1221). Requests
// on their way are left alone.
func (p *Producer) refresh() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.refreshed) > refreshEvery {
		p.refreshed = now
		p.transport.CloseIdleConnections()
	}
}

// ProduceOne appends one message to the partition it belongs to.
func (p *Producer) ProduceOne(ctx context.Context, m Message) error {
	partition, err := p.PartitionFor(ctx, m)
	if err != nil {
		return err
	}
	return p.Produce(ctx, m.Topic, partition, []Message{m})
}

// ReadFrom reads the records of a partition from an offset on, as many as one answer holds, and returns the offset to go on from. It
// does not wait for records to come.
func (p *Producer) ReadFrom(ctx context.Context, topic string, partition int32, offset int64) ([]Record, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	fail := func(err error) ([]Record, int64, error) {
		return nil, offset, fmt.Errorf("read %s/%d from %d: %w", topic, partition, offset, err)
	}
	response, err := p.client.Fetch(ctx, &kafka.FetchRequest{
		Topic: topic, Partition: int(partition), Offset: offset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Millisecond,
		IsolationLevel: kafka.ReadCommitted,
	})
	if err == nil {
		err = response.Error
	}
	if err != nil {
		if misdirected(err) {
			p.refresh()
		}
		return fail(err)
	}
	var records []Record
	next := offset
	for {
		fetched, err := response.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return records, next, nil
		}
		if err != nil {
			return fail(err)
		}
		if fetched.Offset < offset {
			continue // of a batch that began earlier
		}
		record, err := readRecord(topic, partition, fetched)
		if err != nil {
			return fail(err)
		}
		records, next = append(records, record), fetched.Offset+1
	}
}

func readRecord(topic string, partition int32, fetched *kafka.Record) (Record, error) {
	record := Record{Topic: topic, Partition: partition, Offset: fetched.Offset}
	for _, h := range fetched.Headers {
		record.Headers = append(record.Headers, Header{Key: h.Key, Value: h.Value})
	}
	var err error
	if record.Key, err = kafka.ReadAll(fetched.Key); err != nil {
		return Record{}, err
	}
	record.Value, err = kafka.ReadAll(fetched.Value)
	return record, err
}

func (p *Producer) forget(topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.partitions, topic)
}
