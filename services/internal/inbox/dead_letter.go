package inbox

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// Headers that say which record a dead letter, or one in a retry topic, keeps.
const (
	headerTopic     = "dlt-original-topic"
	headerPartition = "dlt-original-partition"
	headerOffset    = "dlt-original-offset"
	headerConsumer  = "dlt-consumer"
	headerError     = "dlt-error"
)

// deadLetter moves the record to the dead-letter topic, until that succeeds: through the outbox in one transaction
// with its outcome, or directly, and then its outcome. The error is that of ctx.
func (p *Processor) deadLetter(ctx context.Context, receipt *Receipt, cause error) error {
	receipt.log().Error("give up on record", "error", cause)
	message := deadLetterOf(receipt.record, p.Group, cause)
	direct := p.Failures == services.DirectDeadLetter
	if direct {
		if err := p.produceDeadLetter(ctx, receipt, message); err != nil {
			return err
		}
	}
	return p.until(ctx, receipt, "dead-letter record", func(ctx context.Context) error {
		return p.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
			batch := tx.Batch()
			receipt.Add(batch, DeadLettered)
			if !direct {
				p.Publisher.Add(tx, batch, receipt.eventID, message)
			}
			return tx.Send(ctx, batch)
		})
	})
}

// produceDeadLetter produces until that is acknowledged. A crash before the record's outcome is written makes a
// second dead letter of it. The error is that of ctx.
func (p *Processor) produceDeadLetter(ctx context.Context, receipt *Receipt, message broker.Message) error {
	// A record that comes again must not be produced again: where it has an outcome, its dead letter was acknowledged.
	if handled, err := p.handledBefore(ctx, receipt); err != nil || handled {
		return err
	}
	if p.Guards.Lacks(services.AwaitDeadLetter) {
		p.unawaited.Go(func() {
			if err := p.Producer.ProduceOne(context.WithoutCancel(ctx), message); err != nil {
				receipt.log().Error("produce dead letter", "error", err)
			}
		})
		return nil
	}
	return p.until(ctx, receipt, "produce dead letter", func(ctx context.Context) error { return p.Producer.ProduceOne(ctx, message) })
}

// deadLetterOf returns the dead letter of record: the same partition, key, value and headers, and why it is there.
func deadLetterOf(record broker.Record, group string, cause error) broker.Message {
	headers := append(slices.Clip(record.Headers), origin(record)...)
	headers = append(headers,
		broker.Header{Key: headerConsumer, Value: []byte(group)},
		broker.Header{Key: headerError, Value: []byte(describe(cause))},
	)
	return broker.Message{
		Topic:     events.DeadLetterPrefix + record.Topic,
		Partition: &record.Partition,
		Key:       record.Key,
		Headers:   headers,
		Value:     record.Value,
	}
}

// originalOf returns the record that one in a dead-letter or retry topic keeps; false when it does not say which.
func originalOf(record broker.Record) (broker.Record, bool) {
	original := record
	original.Headers = slices.DeleteFunc(slices.Clone(record.Headers), func(h broker.Header) bool {
		return strings.HasPrefix(h.Key, "dlt-") || strings.HasPrefix(h.Key, "retry-")
	})
	partition, err := strconv.ParseInt(header(record, headerPartition), 10, 32)
	offset, err2 := strconv.ParseInt(header(record, headerOffset), 10, 64)
	original.Topic, original.Partition, original.Offset = header(record, headerTopic), int32(partition), offset
	return original, err == nil && err2 == nil && original.Topic != ""
}

func header(record broker.Record, key string) string {
	for _, h := range record.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// origin are the headers that name a record.
func origin(record broker.Record) []broker.Header {
	return []broker.Header{
		{Key: headerTopic, Value: []byte(record.Topic)},
		{Key: headerPartition, Value: strconv.AppendInt(nil, int64(record.Partition), 10)},
		{Key: headerOffset, Value: strconv.AppendInt(nil, record.Offset, 10)},
	}
}
