package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	joinBackoff  = 100 * time.Millisecond
	leaveTimeout = 500 * time.Millisecond
	stopTimeout  = 500 * time.Millisecond // for the record in progress
	commitEvery  = 20 * time.Millisecond

	readBackoffMin = 20 * time.Millisecond
	readBackoffMax = 250 * time.Millisecond
	// leaderAge is how long a silent leader is believed in. One that was cut off from the others and replaced
	// goes on answering that there is nothing new, and kafka-go never looks for another by itself.
	leaderAge = 3 * time.Second
)

// ConsumerConfig describes a consumer. All fields are required.
type ConsumerConfig struct {
	Brokers        []string
	ClientID       string
	Group          string
	Topics         []string
	SessionTimeout time.Duration // also the rebalance timeout
	// Handle does what a record asks for. It returns nil when the record is done with, and an error only when
	// ctx ended first, because the partition was taken away or the program stops: then it should return within half
	// a second. Records of one partition come one at a time, in order.
	Handle func(context.Context, Record) error
	Log    *slog.Logger
}

// Consumer is a member of a consumer group. It commits an offset after the record's effect, so a record can come
// again. It uses kafka.ConsumerGroup and not a group kafka.Reader: a Reader sends the commits of an ended
// generation under the next one, where they rewind what the new owner of the partition committed (kafka-go #1308).
type Consumer struct {
	cfg     ConsumerConfig
	brokers *bootstrap
	joined  atomic.Bool
}

// NewConsumer returns a consumer that starts with Run.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	return &Consumer{cfg: cfg, brokers: &bootstrap{addresses: cfg.Brokers}}
}

// Joined reports whether the group was joined at least once.
func (c *Consumer) Joined() bool { return c.joined.Load() }

// Run consumes until ctx is done, through every error, and then leaves the group. The topic must exist: a group
// that is joined before has no partitions and is not told when they appear.
func (c *Consumer) Run(ctx context.Context) {
	sockets := newSockets(c.brokers)
	defer sockets.Close()
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                c.cfg.Group,
		Brokers:           []string{anyBroker},
		Topics:            c.cfg.Topics,
		Dialer:            &kafka.Dialer{ClientID: c.cfg.ClientID, Timeout: dialTimeout, DialFunc: sockets.Dial},
		HeartbeatInterval: c.cfg.SessionTimeout / 10,
		SessionTimeout:    c.cfg.SessionTimeout,
		RebalanceTimeout:  c.cfg.SessionTimeout,
		JoinGroupBackoff:  joinBackoff,
		StartOffset:       kafka.FirstOffset,
		Timeout:           c.cfg.SessionTimeout,
	})
	if err != nil {
		c.cfg.Log.Error("configure consumer group", "error", err)
		return
	}
	for {
		generation, err := group.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			c.cfg.Log.Warn("join consumer group", "group", c.cfg.Group, "error", err)
			continue // the group pauses for joinBackoff itself
		}
		c.serve(generation)
		c.joined.Store(true)
	}
	// Leaving lets the others take over at once, but a stalled link must not keep the program from ending.
	abandon := time.AfterFunc(stopTimeout+leaveTimeout, sockets.Close)
	defer abandon.Stop()
	_ = group.Close() // always nil
}

// serve starts one worker for each partition of a generation, and a committer. The generation ends, and the next can
// begin, when all of them have returned.
func (c *Consumer) serve(generation *kafka.Generation) {
	positions := newPositions()
	var workers sync.WaitGroup
	partitions := 0
	for topic, assignments := range generation.Assignments {
		partitions += len(assignments)
		workers.Add(len(assignments))
		for _, assignment := range assignments {
			generation.Start(func(ctx context.Context) {
				defer workers.Done()
				c.work(withOwner(ctx, Owner{int32(assignment.ID), generation.ID}), topic, assignment, positions)
			})
		}
	}
	generation.Start(func(ctx context.Context) {
		ticker := time.NewTicker(commitEvery)
		defer ticker.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				workers.Wait()
			case <-ticker.C:
			}
			// Errors need no answer: the position stays dirty, or the generation is over and records come again.
			if err := positions.commit(generation.CommitOffsets); err != nil {
				c.cfg.Log.Warn("commit offsets", "group", c.cfg.Group, "error", err)
			}
		}
	})
	c.cfg.Log.Info("joined consumer group", "group", c.cfg.Group, "generation", generation.ID, "partitions", partitions)
}

// work handles the records of one partition until the generation ends.
func (c *Consumer) work(generation context.Context, topic string, assignment kafka.PartitionAssignment, positions *positions) {
	// The context of a generation is of kafka-go's own type, for which each derived one would start a goroutine.
	ctx, cancel := context.WithCancel(generation)
	defer cancel()
	next, backoff := assignment.Offset, readBackoffMin
	for ctx.Err() == nil {
		from := next
		err := c.read(ctx, topic, assignment.ID, &next, positions)
		switch {
		case err == nil || errors.Is(err, errSilent):
			continue
		case ctx.Err() != nil:
			return
		case next != from:
			backoff = readBackoffMin
		}
		c.cfg.Log.Warn("fetch", "topic", topic, "partition", assignment.ID, "error", err)
		pause(ctx, backoff)
		backoff = min(2*backoff, readBackoffMax)
	}
}

// errSilent is that of a leader who had nothing to say for a while.
var errSilent = errors.New("leader is silent")

// read looks for the leader of a partition and handles its records from offset next on, which it advances, until the
// leader is silent or fails, or ctx is done.
func (c *Consumer) read(ctx context.Context, topic string, partition int, next *int64, positions *positions) error {
	sockets := newSockets(c.brokers)
	stopSockets := context.AfterFunc(ctx, sockets.Close) // ends reads at once, which kafka-go would let wait for seconds
	defer stopSockets()
	reader := kafka.NewReader(kafka.ReaderConfig{
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
	defer reader.Close()  //nolint:errcheck // always nil
	defer sockets.Close() // first: the reader may wait for a broker that is paused
	if err := reader.SetOffset(*next); err != nil {
		return fmt.Errorf("set offset: %w", err)
	}
	for {
		message, err := fetch(ctx, reader)
		if err != nil {
			return err
		}
		if err := c.cfg.Handle(ctx, toRecord(message)); err != nil {
			return err
		}
		*next = message.Offset + 1
		positions.advance(topic, partition, *next)
	}
}

func fetch(ctx context.Context, reader *kafka.Reader) (kafka.Message, error) {
	waiting, cancel := context.WithTimeout(ctx, leaderAge)
	defer cancel()
	message, err := reader.FetchMessage(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		err = errSilent
	}
	return message, err
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

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

// positions are the offsets to commit, by topic and partition.
type positions struct {
	mu   sync.Mutex
	next map[string]map[int]int64 // not committed yet
}

func newPositions() *positions { return &positions{next: map[string]map[int]int64{}} }

// advance says where a partition goes on.
func (p *positions) advance(topic string, partition int, offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next[topic] == nil {
		p.next[topic] = map[int]int64{}
	}
	p.next[topic][partition] = offset
}

// commit sends what advanced since the last time. After an error it will be sent again, unless it advanced meanwhile.
func (p *positions) commit(send func(map[string]map[int]int64) error) error {
	p.mu.Lock()
	dirty := p.next
	p.next = map[string]map[int]int64{}
	p.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	err := send(dirty)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		for topic, partitions := range p.next {
			if dirty[topic] == nil {
				dirty[topic] = map[int]int64{}
			}
			for partition, offset := range partitions {
				dirty[topic][partition] = offset
			}
		}
		p.next = dirty
	}
	return err
}
