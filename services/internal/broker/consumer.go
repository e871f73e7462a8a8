package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

const (
	joinBackoff  = 100 * time.Millisecond
	leaveTimeout = 500 * time.Millisecond
	stopTimeout  = 500 * time.Millisecond // for the record in progress

	readBackoffMin = 20 * time.Millisecond
	readBackoffMax = 250 * time.Millisecond
	// leaderAge is how long a silent leader is believed in. One that was cut off from the others and replaced
	// goes on answering that there is nothing new, and kafka-go never looks for another by itself.
	leaderAge = 3 * time.Second
)

// ConsumerConfig describes a consumer. All fields but Acks, Guards and Transactions are required.
type ConsumerConfig struct {
	Brokers        []string
	ClientID       string
	Group          string
	Topics         []string
	SessionTimeout time.Duration // also the rebalance timeout
	Acks           Acks
	Guards         *guard.Set
	// Handle does what a record asks for. It returns nil when the record is done with, and an error only when
	// ctx ended first, because the partition was taken away or the program stops: then it should return within half
	// a second. Records of one partition come one at a time, in order.
	Handle func(context.Context, Record) error
	// Transactions, if not nil, says that records may be of Kafka transactions.
	Transactions *Transactions
	Log          *slog.Logger
}

// Consumer is a member of a consumer group. It commits an offset after the record's effect (but for auto-commit), so a record can come
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
	commits := newCommits(c.cfg.Acks, generation.CommitOffsets)
	var workers sync.WaitGroup
	partitions := 0
	for topic, assignments := range generation.Assignments {
		partitions += len(assignments)
		workers.Add(len(assignments))
		for _, assignment := range assignments {
			generation.Start(func(ctx context.Context) {
				defer workers.Done()
				c.work(withOwner(ctx, Owner{int32(assignment.ID), generation.ID}), topic, assignment, commits)
			})
		}
	}
	generation.Start(func(ctx context.Context) {
		ticker := time.NewTicker(c.cfg.Acks.tick())
		defer ticker.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				workers.Wait()
				c.committed(commits.ended())
			case <-ticker.C:
				c.committed(commits.ticked())
			}
		}
	})
	c.cfg.Log.Info("joined consumer group", "group", c.cfg.Group, "generation", generation.ID, "partitions", partitions)
}

// committed notes how a commit ended. An error needs no answer: the position is sent again, or the generation is over
// and records come again.
func (c *Consumer) committed(err error) {
	if err != nil {
		c.cfg.Log.Warn("commit offsets", "group", c.cfg.Group, "error", err)
	}
}

// work handles the records of one partition until the generation ends.
func (c *Consumer) work(generation context.Context, topic string, assignment kafka.PartitionAssignment, commits *commits) {
	// The context of a generation is of kafka-go's own type, for which each derived one would start a goroutine.
	ctx, cancel := context.WithCancel(generation)
	defer cancel()
	next, backoff := assignment.Offset, readBackoffMin
	if next == kafka.FirstOffset && c.cfg.Guards.Lacks(services.ResetEarliest) { // nothing was ever committed
		next = kafka.LastOffset
	}
	for ctx.Err() == nil {
		from := next
		err := c.read(ctx, part{topic, assignment.ID}, &next, commits)
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

// part is one partition of a topic.
type part struct {
	topic  string
	number int
}

// errSilent is that of a leader who had nothing to say for a while.
var errSilent = errors.New("leader is silent")

// read looks for the leader of a partition and handles its records from offset next on, which it advances, until the
// leader is silent or fails, or ctx is done.
func (c *Consumer) read(ctx context.Context, from part, next *int64, commits *commits) error {
	sockets := newSockets(c.brokers)
	stopSockets := context.AfterFunc(ctx, sockets.Close) // ends reads at once, which kafka-go would let wait for seconds
	defer stopSockets()
	reader, err := c.reader(from.topic, from.number, *next, sockets)
	if err != nil {
		return err
	}
	defer reader.close()
	defer sockets.Close() // first: the reader may wait for a broker that is paused
	for {
		poll, err := c.poll(ctx, reader)
		if len(poll) > 0 && c.cfg.Acks.Part == services.AutoCommit {
			c.committed(commits.done(from.topic, from.number, poll[len(poll)-1].Offset+1))
		}
		for _, record := range poll {
			if err := c.handle(ctx, record, commits); err != nil {
				return err
			}
			*next = record.Offset + 1
		}
		if len(poll) > 0 {
			c.committed(commits.polled())
		}
		if err != nil {
			return err
		}
	}
}

// poll waits for a record and returns it with those that came with it, even beside an error.
func (c *Consumer) poll(ctx context.Context, reader reader) ([]Record, error) {
	var records []Record
	for {
		record, err := fetch(ctx, reader)
		if err != nil {
			return records, err
		}
		records = append(records, record)
		if len(records) == maxPoll || reader.waiting() == 0 {
			return records, nil
		}
	}
}

// handle hands over one record and acknowledges it as the mode wants.
func (c *Consumer) handle(ctx context.Context, record Record, commits *commits) error {
	acks := c.cfg.Acks
	if acks.Part != services.AutoCommit && c.cfg.Guards.Lacks(services.AckAfterEffect) {
		c.committed(commits.now(record.Topic, int(record.Partition), record.Offset+1))
	}
	done := func() { c.committed(commits.done(record.Topic, int(record.Partition), record.Offset+1)) }
	if acks.manual() {
		record.acknowledge = done
	}
	if err := c.cfg.Handle(ctx, record); err != nil {
		return err
	}
	if !acks.manual() && acks.Part != services.AutoCommit {
		done()
	}
	return nil
}

func fetch(ctx context.Context, reader reader) (Record, error) {
	waiting, cancel := context.WithTimeout(ctx, leaderAge)
	defer cancel()
	record, err := reader.fetch(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		err = errSilent
	}
	return record, err
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
