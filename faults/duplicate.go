package faults

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/observe"
)

type duplicate struct {
	onTopic
	records int
}

// Duplicate appends copies of the topic's last records, as a producer does whose acknowledgement was
// lost: same key, value and headers, same partition. It copies so many, or as many as there are.
func Duplicate(topic string, records int) harness.Fault {
	return duplicate{onTopic{topic}, records}
}

func (duplicate) Name() string { return "duplicate" }

func (f duplicate) Prepare(env *harness.Env) harness.Injection {
	return &appending{env: env, topic: f.topic, events: env.Since(), make: func(ctx context.Context, client *kgo.Client) ([]*kgo.Record, error) {
		return f.copies(ctx, env, client, f.records)
	}}
}

// copies reads the last records of each partition, and returns so many of them at most.
func (f duplicate) copies(ctx context.Context, env *harness.Env, client *kgo.Client, most int) ([]*kgo.Record, error) {
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, f.topic)
	if err != nil {
		return nil, fmt.Errorf("list end offsets of %s: %w", f.topic, err)
	}
	from := map[int32]kgo.Offset{}
	expected := 0
	ends.Each(func(end kadm.ListedOffset) {
		share := min(end.Offset, int64(f.records))
		if share > 0 {
			from[end.Partition] = kgo.NewOffset().At(end.Offset - share)
			expected += int(share)
		}
	})
	if expected == 0 {
		return nil, fmt.Errorf("topic %s has no records to copy", f.topic)
	}
	reader, err := env.Kafka(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{f.topic: from}))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var copies []*kgo.Record
	for read := 0; read < expected && len(copies) < most; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			if len(copies) < most {
				headers := append(r.Headers[:len(r.Headers):len(r.Headers)], kgo.RecordHeader{Key: observe.InjectedHeader, Value: []byte("duplicate")})
				copies = append(copies, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: headers})
			}
		})
	}
	return copies, nil
}
