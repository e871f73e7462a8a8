package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
)

// kafkaGo is the client of segmentio/kafka-go.
type kafkaGo struct {
	dialler
	bootstrap []string
	transport *kafka.Transport
	members   map[string]*member
}

func startKafkaGo(t *testing.T, bootstrap []string) client {
	c := &kafkaGo{bootstrap: bootstrap, members: map[string]*member{}}
	// A topic just created is unknown until the metadata is asked for again.
	c.transport = &kafka.Transport{Dial: c.dial, MetadataTTL: 500 * time.Millisecond}
	t.Cleanup(func() {
		for _, m := range c.members {
			assert.NoError(t, m.leave())
		}
		c.transport.CloseIdleConnections()
	})
	return c
}

func (c *kafkaGo) do(ctx context.Context, r request) (answer, error) {
	switch r.Op {
	case produce:
		sent, err := c.produce(ctx, r)
		return answer{Records: sent}, err
	case join:
		c.join(r)
		return answer{}, nil
	case received:
		records, err := c.members[r.Member].received()
		return answer{Records: records}, err
	case leave:
		m := c.members[r.Member]
		delete(c.members, r.Member)
		return answer{}, m.leave()
	case admin:
		return c.admin(ctx, r)
	}
	return answer{}, fmt.Errorf("unknown operation %q", r.Op)
}

func (c *kafkaGo) produce(ctx context.Context, r request) (sent []record, err error) {
	codec := map[string]kafka.Compression{
		noCodec: 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}[r.Codec]
	acknowledged := make(chan []kafka.Message, len(r.Records))
	writer := &kafka.Writer{
		Addr: kafka.TCP(c.bootstrap...), Topic: r.Topic, Balancer: &kafka.Hash{}, RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond, Compression: codec, Transport: c.transport,
		// Without idempotence, what is written again after an answer that came too late is there twice.
		WriteTimeout: bound, ReadTimeout: bound,
		Completion: func(messages []kafka.Message, err error) {
			if err == nil {
				acknowledged <- messages
			}
		},
	}
	batch := make([]kafka.Message, len(r.Records))
	for i, m := range r.Records {
		batch[i] = kafka.Message{Key: []byte(m.Key), Value: []byte(m.Value)}
	}
	err = writer.WriteMessages(ctx, batch...)
	err = errors.Join(err, writer.Close()) // no completion comes after it
	close(acknowledged)
	for messages := range acknowledged {
		for _, m := range messages {
			sent = append(sent, fromKafkaGo(m))
		}
	}
	return sent, err
}

func fromKafkaGo(m kafka.Message) record {
	return record{m.Topic, int32(m.Partition), m.Offset, string(m.Key), string(m.Value)}
}

func (c *kafkaGo) join(r request) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.bootstrap, GroupID: r.Group, Topic: r.Topic, StartOffset: kafka.FirstOffset,
		Dialer:  &kafka.Dialer{DialFunc: c.dial},
		MaxWait: 100 * time.Millisecond, HeartbeatInterval: 200 * time.Millisecond, SessionTimeout: 6 * time.Second,
		RebalanceTimeout: 6 * time.Second, JoinGroupBackoff: 100 * time.Millisecond,
		ReadBackoffMin: 20 * time.Millisecond, ReadBackoffMax: 250 * time.Millisecond,
	})
	c.members[r.Member] = startMember(func(ctx context.Context) ([]record, error) {
		m, err := reader.FetchMessage(ctx)
		var known kafka.Error
		if errors.As(err, &known) && known.Temporary() {
			return nil, nil // the coordinator is not ready: it tells us after three attempts, and goes on trying
		}
		if err != nil {
			return nil, err
		}
		return []record{fromKafkaGo(m)}, reader.CommitMessages(ctx, m)
	}, reader.Close)
}

func (c *kafkaGo) admin(ctx context.Context, r request) (answer, error) {
	client := &kafka.Client{Addr: kafka.TCP(c.bootstrap...), Transport: c.transport}
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: r.Topic, NumPartitions: r.Partitions, ReplicationFactor: r.Replicas},
	}})
	if err == nil {
		err = created.Errors[r.Topic]
	}
	if err != nil {
		return answer{}, err
	}
	sent, err := c.produce(ctx, r)
	if err != nil {
		return answer{}, err
	}
	// It has no DescribeCluster.
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return answer{}, err
	}
	a := answer{Records: sent}
	for _, b := range metadata.Brokers {
		a.Brokers = append(a.Brokers, net.JoinHostPort(b.Host, strconv.Itoa(b.Port)))
	}
	asked := make([]kafka.OffsetRequest, r.Partitions)
	for p := range asked {
		asked[p] = kafka.LastOffsetOf(p)
	}
	ends, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{r.Topic: asked}})
	if err != nil {
		return answer{}, err
	}
	for _, p := range ends.Topics[r.Topic] {
		if p.Error != nil {
			return answer{}, p.Error
		}
		a.End += p.LastOffset
	}
	return a, nil
}
