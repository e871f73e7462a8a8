package faults

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/observe"
)

// onTopic is the part that the faults which append records share.
type onTopic struct{ topic string }

func (f onTopic) Target() string { return f.topic }

func (f onTopic) Validate(t harness.Topology) error { return t.CheckTopic(f.topic) }

type poison struct{ onTopic }

// Poison appends a record that no consumer can decode to a partition of the topic.
func Poison(topic string) harness.Fault { return poison{onTopic{topic}} }

func (poison) Name() string { return "poison" }

func (f poison) Prepare(env *harness.Env) harness.Injection {
	return &appending{env: env, topic: f.topic, events: env.Since(), make: func(context.Context, *kgo.Client) ([]*kgo.Record, error) {
		return []*kgo.Record{{
			Topic: f.topic, Key: []byte("poison"), Value: []byte("{\"orderId\": \xff\xfe not json"),
			Headers: []kgo.RecordHeader{{Key: observe.InjectedHeader, Value: []byte("poison")}},
		}}, nil
	}}
}

// appending is an injection of records, which bites when a consumer was given one of them.
type appending struct {
	env    *harness.Env
	topic  string
	events func() []history.Event
	make   func(context.Context, *kgo.Client) ([]*kgo.Record, error)
	added  []string // "topic/partition@offset"
}

func (a *appending) Inject(ctx context.Context) error {
	client, err := a.env.Kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	records, err := a.make(ctx, client)
	if err != nil {
		return err
	}
	for _, record := range records {
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return fmt.Errorf("append to %s: %w", a.topic, err)
		}
		a.added = append(a.added, fmt.Sprintf("%s/%d@%d", record.Topic, record.Partition, record.Offset))
	}
	return nil
}

// Heal does nothing: a log is never unwritten.
func (a *appending) Heal(context.Context) error { return nil }

func (a *appending) Evidence() harness.Evidence {
	delivered := map[string]bool{}
	for _, event := range a.events() {
		if event.Wire == nil || event.Wire.Kind != "Fetch" {
			continue
		}
		for _, record := range event.Wire.Records {
			if slices.Contains(a.added, record) {
				delivered[record] = true
			}
		}
	}
	return harness.Evidence{
		Bit:    len(delivered) > 0,
		Effect: fmt.Sprintf("%d of %d appended records were delivered to a consumer", len(delivered), len(a.added)),
	}
}
