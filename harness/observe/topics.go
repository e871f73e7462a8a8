package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// InjectedHeader marks the records that the harness itself writes: duplicates and poison records.
const InjectedHeader = "ordeal-injected"

// TopicConfig says which topics a [Topics] taps. They exist before the tap starts.
type TopicConfig struct {
	Brokers  []string
	Topics   []string
	Recorder *history.Recorder
	Dial     DialFunc // nil dials directly
	// OnRecord is called with every record after it was recorded, in order. It must be quick and must not
	// call the tap. It may be nil.
	OnRecord func(history.Record)
}

// Topics records every data record of every partition as it comes to the log, whether its transaction
// commits or not. It outlives crashes, restarts and pauses of brokers.
type Topics struct {
	config TopicConfig
	live   *kgo.Client
	admin  *kadm.Client
	stop   context.CancelFunc
	done   chan struct{}

	mu         sync.Mutex
	partitions map[string]map[int32]*partition
	changed    chan struct{} // closed and replaced after every fetch
	lost       error         // what the last fetch complained of
}

// partition is what one reader saw of one partition.
type partition struct {
	next    int64           // the offset to be read next
	seen    []sighting      // data records, in offset order: the log as it was read last
	cut     []sighting      // what the log lost since it was read, with repetitions
	visible int64           // after the last record that read_committed shows
	open    map[int64]int64 // producer id → its last record in a transaction without an end
}

// sighting is one data record: where it stood, and a hash of what it said.
type sighting struct {
	offset int64
	hash   uint64
}

// TapTopics starts a tap at the first offset of every partition. It fails when a topic is not there.
// The context bounds only the start.
func TapTopics(ctx context.Context, config TopicConfig) (*Topics, error) {
	live, err := kgo.NewClient(append(kafkaOptions(config.Brokers, config.Dial),
		kgo.ConsumeTopics(config.Topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, fmt.Errorf("tap topics: %w", err)
	}
	t := &Topics{
		config: config, live: live, done: make(chan struct{}), changed: make(chan struct{}),
		partitions: make(map[string]map[int32]*partition),
	}
	admin, err := kgo.NewClient(kafkaOptions(config.Brokers, config.Dial)...)
	if err != nil {
		live.Close()
		return nil, fmt.Errorf("tap topics: %w", err)
	}
	t.admin = kadm.NewClient(admin)
	starts, err := t.starts(ctx)
	if err != nil {
		live.Close()
		t.admin.Close()
		return nil, fmt.Errorf("tap topics: %w", err)
	}
	for where, start := range starts {
		t.at(where.topic, where.partition).next = start
	}
	running, stop := context.WithCancel(context.Background())
	t.stop = stop
	go t.run(running)
	return t, nil
}

// Close ends the tap and waits until it ended.
func (t *Topics) Close() error {
	t.stop()
	<-t.done
	t.live.Close()
	t.admin.Close()
	return nil
}

// starts reads the first offset of every partition, as soon as all have a leader: a cluster may be electing.
func (t *Topics) starts(ctx context.Context) (partitionOffsets, error) {
	ctx, cancel := context.WithTimeout(ctx, leadersWithin)
	defer cancel()
	for {
		starts, err := offsets(t.admin.ListStartOffsets(ctx, t.config.Topics...))
		if err == nil || !kerr.IsRetriable(err) || errors.Is(err, kerr.UnknownTopicOrPartition) {
			return starts, err
		}
		select {
		case <-time.After(electing):
		case <-ctx.Done():
			return nil, err
		}
	}
}

const (
	// leadersWithin bounds the wait until every partition has a leader.
	leadersWithin = 15 * time.Second
	// electing is the pause between two questions.
	electing = 100 * time.Millisecond
)

// CatchUp waits until the tap is at the end of every partition, as the brokers say at the call.
func (t *Topics) CatchUp(ctx context.Context) error {
	ends, err := offsets(t.admin.ListEndOffsets(ctx, t.config.Topics...))
	if err != nil {
		return fmt.Errorf("read ends of topics: %w", err)
	}
	for {
		t.mu.Lock()
		behind, changed, lost := t.behind(ends), t.changed, t.lost
		t.mu.Unlock()
		if behind == "" {
			return nil
		}
		select {
		case <-changed:
		case <-t.done:
			return fmt.Errorf("await topic tap: %s: %w", behind, errClosed)
		case <-ctx.Done():
			return fmt.Errorf("await topic tap: %s: %w", behind, errors.Join(ctx.Err(), lost))
		}
	}
}

// behind says which partition the tap has not read to its end.
func (t *Topics) behind(ends partitionOffsets) string {
	for at, end := range ends {
		if p := t.at(at.topic, at.partition); p.next < end {
			return fmt.Sprintf("tap of %s/%d is at offset %d of %d", at.topic, at.partition, p.next, end)
		}
	}
	return ""
}

// VisibleEnd is the offset after the last record of a partition that a read_committed consumer is shown.
// A consumer that is done has committed at least this: what follows are control records and records of
// aborted transactions.
func (t *Topics) VisibleEnd(topic string, number int32) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at(topic, number).visible
}

func (t *Topics) run(ctx context.Context) {
	defer close(t.done)
	for {
		fetches := t.live.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		err := fetches.Err()
		t.mu.Lock()
		fetches.EachRecord(t.record)
		close(t.changed)
		t.changed, t.lost = make(chan struct{}), err
		t.mu.Unlock()
		// An error that the client does not retry by itself comes back at once: do not spin on it.
		if err != nil && !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

func (t *Topics) record(r *kgo.Record) {
	if data := t.at(r.Topic, r.Partition).take(r); !data {
		return
	}
	record := describe(r)
	t.config.Recorder.Append(history.Event{Record: &record})
	if t.config.OnRecord != nil {
		t.config.OnRecord(record)
	}
}

// describe is the record as the history holds it.
func describe(r *kgo.Record) history.Record {
	record := history.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value,
	}
	if len(r.Headers) > 0 {
		record.Headers = make(map[string]string, len(r.Headers))
	}
	for _, header := range r.Headers {
		record.Headers[header.Key] = string(header.Value)
	}
	_, record.Injected = record.Headers[InjectedHeader]
	return record
}

func (t *Topics) at(topic string, number int32) *partition { return at(t.partitions, topic, number) }

func at(partitions map[string]map[int32]*partition, topic string, number int32) *partition {
	numbers, ok := partitions[topic]
	if !ok {
		numbers = make(map[int32]*partition)
		partitions[topic] = numbers
	}
	p, ok := numbers[number]
	if !ok {
		p = &partition{open: make(map[int64]int64)}
		numbers[number] = p
	}
	return p
}

// take notes one record. It says whether it is a data record that was not there before.
func (p *partition) take(r *kgo.Record) bool {
	if r.Offset < p.next { // read again after a broker was lost
		if !p.rewritten(r) {
			return false
		}
		p.truncate(r.Offset)
	}
	p.next = r.Offset + 1
	if r.Attrs.IsControl() {
		var key kmsg.ControlRecordKey
		if last, ok := p.open[r.ProducerID]; ok && key.ReadFrom(r.Key) == nil && key.Type == kmsg.ControlRecordKeyTypeCommit {
			p.visible = max(p.visible, last+1)
		}
		delete(p.open, r.ProducerID)
		return false
	}
	if r.Attrs.IsTransactional() {
		p.open[r.ProducerID] = r.Offset
	} else {
		p.visible = r.Offset + 1
	}
	p.seen = append(p.seen, sighting{r.Offset, hashOf(r)})
	return true
}

// rewritten says that r is not the record that was read at its offset before. A broker that was elected without
// having all of the log goes on from where its own ends.
func (p *partition) rewritten(r *kgo.Record) bool {
	i, found := p.search(r.Offset)
	return found && (r.Attrs.IsControl() || p.seen[i].hash != hashOf(r))
}

// truncate forgets what was read from an offset on.
func (p *partition) truncate(offset int64) {
	i, _ := p.search(offset)
	p.cut = append(p.cut, p.seen[i:]...)
	p.seen = p.seen[:i:i]
	p.visible = min(p.visible, offset)
	maps.DeleteFunc(p.open, func(_, last int64) bool { return last >= offset })
}

// search returns the index of the first sighting at or above an offset, and whether it is at that offset.
func (p *partition) search(offset int64) (int, bool) {
	return slices.BinarySearchFunc(p.seen, offset, func(s sighting, offset int64) int { return cmp.Compare(s.offset, offset) })
}

var seed = maphash.MakeSeed()

// hashOf tells records apart by all that their producer wrote.
func hashOf(r *kgo.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	write := func(b []byte) {
		maphash.WriteComparable(&h, len(b))
		_, _ = h.Write(b) // never fails
	}
	write(r.Key)
	write(r.Value)
	for _, header := range r.Headers {
		write([]byte(header.Key))
		write(header.Value)
	}
	return h.Sum64()
}

// partitionOffsets is one offset for each partition of some topics.
type partitionOffsets map[topicPartition]int64

type topicPartition struct {
	topic     string
	partition int32
}

func (p partitionOffsets) sorted() []topicPartition {
	return slices.SortedFunc(maps.Keys(p), func(a, b topicPartition) int {
		if a.topic == b.topic {
			return int(a.partition) - int(b.partition)
		}
		if a.topic < b.topic {
			return -1
		}
		return 1
	})
}

// offsets takes the answer of a kadm listing. It fails when any partition's offset is not known.
func offsets(listed kadm.ListedOffsets, err error) (partitionOffsets, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	all := make(partitionOffsets)
	listed.Each(func(o kadm.ListedOffset) { all[topicPartition{o.Topic, o.Partition}] = o.Offset })
	return all, nil
}

// kafkaOptions are those of every client of an observer: quick to notice that a broker is back.
func kafkaOptions(brokers []string, dial DialFunc) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.Dialer(dialer(dial)),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second),
		kgo.RequestTimeoutOverhead(2 * time.Second),
		kgo.RetryBackoffFn(func(failures int) time.Duration {
			return min(20*time.Millisecond<<min(failures, 4), 250*time.Millisecond)
		}),
	}
}
