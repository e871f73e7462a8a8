package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SequencedConfig describes a sequenced producer. Brokers and ClientID are required.
type SequencedConfig struct {
	Brokers  []string
	ClientID string
	// Unnumbered leaves the sequence numbers out, so that a batch whose acknowledgement was lost lands again.
	Unnumbered bool
	// OnLostAnswer, if not nil, is called for each Produce that was sent and not answered.
	OnLostAnswer func()
}

// Sequenced is an idempotent producer: it numbers its batches, sends one again whose acknowledgement did not come
// (acks=all), and the broker keeps the first. Messages of a partition stay in the order in which they were given.
type Sequenced struct{ client *kgo.Client }

// NewSequenced returns a producer. It connects on demand.
func NewSequenced(cfg SequencedConfig) (*Sequenced, error) {
	options := append(producerOptions(cfg.Brokers, cfg.ClientID), kgo.WithHooks(lostAnswers(cfg.OnLostAnswer)))
	if cfg.Unnumbered {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("open producer: %w", err)
	}
	return &Sequenced{client}, nil
}

// Produce gives a message to the producer, and returns where its outcome will be: nil once it was acknowledged. When ctx
// ends, a message that was never sent fails; one that was is tried on, because it may be in the log.
func (s *Sequenced) Produce(ctx context.Context, m Message) <-chan error {
	outcome := make(chan error, 1)
	s.client.Produce(ctx, toFranz(m), func(_ *kgo.Record, err error) {
		if err != nil {
			err = fmt.Errorf("produce to %s: %w", m.Topic, err)
		}
		outcome <- err
	})
	return outcome
}

// Close gives up on what was not acknowledged, after waiting for it until ctx is done.
func (s *Sequenced) Close(ctx context.Context) {
	_ = s.client.Flush(ctx) // its error is that of ctx
	s.client.Close()
}

type lostAnswers func()

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (lost lostAnswers) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if lost != nil && key == int16(kmsg.Produce) && e.WriteErr == nil && e.ReadErr != nil {
		lost()
	}
}
