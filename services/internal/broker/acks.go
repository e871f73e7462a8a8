package broker

import (
	"cmp"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/services"
)

const (
	// maxPoll bounds a poll (max.poll.records).
	maxPoll = 100
	// commitRetry is when an offset that could not be committed is tried again, and how often idleness is looked for.
	commitRetry = 20 * time.Millisecond
	// idleAfter is when a count that is not reached is committed nevertheless: nobody may come to complete it. spring-kafka
	// leaves such a rest until the partition is revoked.
	idleAfter = 200 * time.Millisecond
)

// Acks says when offsets are committed, as spring-kafka's ContainerProperties.AckMode does. A poll is what was
// fetched of one partition and not handed over yet: at least one record and at most 100.
type Acks struct {
	Part     string        // of the services' acknowledgement axis; empty: ack-time, every 20 ms
	Count    int           // records, of ack-count and ack-count-time
	Time     time.Duration // since the last commit, of ack-time and ack-count-time
	Interval time.Duration // of auto-commit
}

// manual says that a record is done with when its handler says so, and not when it returns.
func (a Acks) manual() bool {
	return a.Part == services.AckManual || a.Part == services.AckManualImmediate
}

// tick is how often the committer looks for what is due.
func (a Acks) tick() time.Duration {
	switch a.Part {
	case services.AutoCommit:
		return a.Interval
	case services.AckTime, services.AckCountTime, "":
		return cmp.Or(a.Time, commitRetry)
	default:
		return commitRetry
	}
}

// commits are the positions of one generation, and when they are committed.
type commits struct {
	acks Acks
	send func(map[string]map[int]int64) error

	sending sync.Mutex // one commit at a time: an older one that came later would rewind

	mu    sync.Mutex
	next  positions // done with, and not due yet
	due   positions // to be committed
	count int       // records in next
	moved time.Time // when next last moved
}

// positions say where partitions go on, by topic and partition.
type positions map[string]map[int]int64

func (p positions) set(topic string, partition int, offset int64) {
	if p[topic] == nil {
		p[topic] = map[int]int64{}
	}
	p[topic][partition] = offset
}

func (p positions) setAll(other positions) {
	for topic, partitions := range other {
		for partition, offset := range partitions {
			p.set(topic, partition, offset)
		}
	}
}

func newCommits(acks Acks, send func(map[string]map[int]int64) error) *commits {
	return &commits{acks: acks, send: send, next: positions{}, due: positions{}}
}

// done says that a record was done with, and where its partition goes on. The error is that of a commit.
func (c *commits) done(topic string, partition int, offset int64) error {
	c.mu.Lock()
	c.next.set(topic, partition, offset)
	c.count++
	c.moved = time.Now()
	at := c.acks.Part == services.AckRecord || c.acks.Part == services.AckManualImmediate
	if at {
		c.release()
	}
	c.mu.Unlock()
	if at {
		return c.commit()
	}
	return nil
}

// polled says that all records of a poll were handled.
func (c *commits) polled() error {
	c.mu.Lock()
	at := c.acks.Part == services.AckBatch || c.acks.Part == services.AckManual ||
		(c.acks.Part == services.AckCount || c.acks.Part == services.AckCountTime) && c.count >= c.acks.Count
	if at {
		c.release()
	}
	c.mu.Unlock()
	if at {
		return c.commit()
	}
	return nil
}

// now commits a position whatever the mode is.
func (c *commits) now(topic string, partition int, offset int64) error {
	c.mu.Lock()
	c.due.set(topic, partition, offset)
	c.mu.Unlock()
	return c.commit()
}

// ticked commits what time makes due.
func (c *commits) ticked() error {
	c.mu.Lock()
	switch c.acks.Part {
	case services.AckTime, services.AckCountTime, services.AutoCommit, "":
		c.release()
	case services.AckCount:
		if time.Since(c.moved) >= idleAfter {
			c.release()
		}
	}
	c.mu.Unlock()
	return c.commit()
}

// ended commits all that was done with: the generation is over.
func (c *commits) ended() error {
	c.mu.Lock()
	c.release()
	c.mu.Unlock()
	return c.commit()
}

// release makes due what was done with. The lock is held.
func (c *commits) release() {
	c.due.setAll(c.next)
	clear(c.next)
	c.count = 0
}

// commit sends what is due. After an error it stays due, unless it advanced meanwhile.
func (c *commits) commit() error {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	due := c.due
	c.due = positions{}
	c.mu.Unlock()
	if len(due) == 0 {
		return nil
	}
	err := c.send(due)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		due.setAll(c.due)
		c.due = due
	}
	return err
}
