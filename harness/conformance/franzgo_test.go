package conformance_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// dialler notes what a Go client dials.
type dialler struct {
	mu  sync.Mutex
	all []string
}

func (d *dialler) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.all = append(d.all, addr)
	d.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func (d *dialler) dialled() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.all...)
}

// franzGo is the client of franz-go.
type franzGo struct {
	dialler
	bootstrap     []string
	transactional map[string]*kgo.Client
	members       map[string]*member
}

func startFranzGo(t *testing.T, bootstrap []string) client {
	c := &franzGo{bootstrap: bootstrap, transactional: map[string]*kgo.Client{}, members: map[string]*member{}}
	t.Cleanup(func() {
		for _, m := range c.members {
			assert.NoError(t, m.leave())
		}
		for _, producer := range c.transactional {
			producer.Close()
		}
	})
	return c
}

func (c *franzGo) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(c.bootstrap...), kgo.Dialer(c.dial),
		// It asks for metadata before each retry, by default 5 s after it last did.
		kgo.MetadataMinAge(100*time.Millisecond))...)
}

func (c *franzGo) do(ctx context.Context, r request) (answer, error) {
	switch r.Op {
	case produce:
		codec := map[string]kgo.CompressionCodec{
			noCodec: kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
			"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
		}[r.Codec]
		producer, err := c.client(kgo.ProducerBatchCompression(codec))
		if err != nil {
			return answer{}, err
		}
		defer producer.Close()
		sent, err := send(ctx, producer, r)
		return answer{Records: sent}, err
	case transact:
		sent, err := c.transact(ctx, r)
		return answer{Records: sent}, err
	case join:
		return answer{}, c.join(r)
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

func send(ctx context.Context, producer *kgo.Client, r request) ([]record, error) {
	batch := make([]*kgo.Record, len(r.Records))
	for i, m := range r.Records {
		batch[i] = &kgo.Record{Topic: r.Topic, Key: []byte(m.Key), Value: []byte(m.Value)}
	}
	if err := producer.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		return nil, err
	}
	var sent []record
	for _, m := range batch {
		sent = append(sent, fromFranzGo(m))
	}
	return sent, nil
}

func fromFranzGo(m *kgo.Record) record {
	return record{m.Topic, m.Partition, m.Offset, string(m.Key), string(m.Value)}
}

func (c *franzGo) transact(ctx context.Context, r request) ([]record, error) {
	producer := c.transactional[r.Transaction]
	if producer == nil {
		var err error
		if producer, err = c.client(kgo.TransactionalID(r.Transaction)); err != nil {
			return nil, err
		}
		c.transactional[r.Transaction] = producer
	}
	if err := producer.BeginTransaction(); err != nil {
		return nil, err
	}
	sent, err := send(ctx, producer, r)
	if err != nil {
		return nil, err
	}
	return sent, producer.EndTransaction(ctx, kgo.TransactionEndTry(r.Commit))
}

func (c *franzGo) join(r request) error {
	isolation := kgo.ReadUncommitted()
	if r.Committed {
		isolation = kgo.ReadCommitted()
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(isolation), kgo.FetchMaxWait(100 * time.Millisecond),
	}
	if r.Protocol == nextGen {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	} else {
		options = append(options, kgo.HeartbeatInterval(200*time.Millisecond))
	}
	consumer, err := c.client(options...)
	if err != nil {
		return err
	}
	c.members[r.Member] = startMember(func(ctx context.Context) ([]record, error) {
		fetched := consumer.PollFetches(ctx)
		var batch []record
		fetched.EachRecord(func(m *kgo.Record) { batch = append(batch, fromFranzGo(m)) })
		if err := fetched.Err(); err != nil {
			return nil, err
		}
		return batch, consumer.CommitUncommittedOffsets(ctx)
	}, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		defer consumer.Close()
		return consumer.LeaveGroupContext(ctx)
	})
	return nil
}

func (c *franzGo) admin(ctx context.Context, r request) (answer, error) {
	client, err := c.client()
	if err != nil {
		return answer{}, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	if _, err := adm.CreateTopic(ctx, int32(r.Partitions), int16(r.Replicas), nil, r.Topic); err != nil {
		return answer{}, err
	}
	sent, err := send(ctx, client, r)
	if err != nil {
		return answer{}, err
	}
	described, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, client)
	if err != nil {
		return answer{}, err
	}
	a := answer{Records: sent}
	for _, b := range described.Brokers {
		a.Brokers = append(a.Brokers, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	ends, err := adm.ListEndOffsets(ctx, r.Topic)
	if err == nil {
		err = ends.Error()
	}
	ends.Each(func(o kadm.ListedOffset) { a.End += o.Offset })
	return a, err
}

// member is one member of a consumer group in this process.
type member struct {
	cancel context.CancelFunc
	done   chan struct{}
	end    func() error

	mu      sync.Mutex
	records []record
	failed  error
}

// startMember calls poll, which receives and commits, until leave; then end.
func startMember(poll func(context.Context) ([]record, error), end func() error) *member {
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{cancel: cancel, done: make(chan struct{}), end: end}
	go func() {
		defer close(m.done)
		for {
			batch, err := poll(ctx)
			m.mu.Lock()
			m.records = append(m.records, batch...)
			if ctx.Err() == nil {
				m.failed = err
			}
			m.mu.Unlock()
			if err != nil || ctx.Err() != nil {
				return
			}
		}
	}()
	return m
}

func (m *member) received() ([]record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]record(nil), m.records...), m.failed
}

func (m *member) leave() error {
	m.cancel()
	<-m.done
	if err := m.end(); err != nil {
		return err
	}
	_, err := m.received()
	return err
}
