package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	// transactionTimeout is when the broker aborts what nobody ended. It bounds how long readers of committed
	// records wait behind a process that died and was not started again.
	transactionTimeout = 10 * time.Second
	endTimeout         = 5 * time.Second
)

// Transactional produces in Kafka transactions, one at a time. The broker fences whoever used the transactional id
// before, and aborts what that left open.
type Transactional struct{ client *kgo.Client }

// TransactionalConfig describes a transactional producer. Brokers, ClientID and ID are required.
type TransactionalConfig struct {
	Brokers  []string
	ClientID string
	ID       string // transactional id
	// OneEpoch keeps to the protocol before KIP-890, in which all transactions of a producer have the same epoch.
	OneEpoch bool
}

// OpenTransactional fences earlier users of a transactional id and returns a producer under it.
func OpenTransactional(ctx context.Context, cfg TransactionalConfig) (*Transactional, error) {
	id := cfg.ID
	options := append(producerOptions(cfg.Brokers, cfg.ClientID),
		kgo.TransactionalID(id), kgo.TransactionTimeout(transactionTimeout))
	if cfg.OneEpoch {
		options = append(options, kgo.MaxVersions(beforeKIP890()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("open transactional producer %s: %w", id, err)
	}
	if _, _, err := client.ProducerID(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("fence transactional id %s: %w", id, err)
	}
	return &Transactional{client}, nil
}

// beforeKIP890 are the highest versions of requests of a client that does not know KIP-890: it adds partitions to its
// transaction itself, and an EndTxn gives it no new epoch.
func beforeKIP890() *kversion.Versions {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	versions.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	return versions
}

// Produce begins a transaction and produces messages in it. After an error the transaction can only be aborted.
func (t *Transactional) Produce(ctx context.Context, messages []Message) error {
	if err := t.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	outcomes := make(chan error, len(messages))
	for _, m := range messages {
		t.client.Produce(ctx, toFranz(m), func(_ *kgo.Record, err error) { outcomes <- err })
	}
	var errs []error
	for range messages {
		select {
		case err := <-outcomes:
			errs = append(errs, err)
		case <-ctx.Done():
			return fmt.Errorf("produce in transaction: %w", ctx.Err())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("produce in transaction: %w", err)
	}
	return nil
}

// Commit ends the transaction and shows its messages to readers of committed records. After an error its outcome is
// unknown, and the producer must be closed and opened again, which aborts what is still open.
func (t *Transactional) Commit() error { return t.end(kgo.TryCommit) }

// Abort ends the transaction. Its messages stay in the log, and only readers of uncommitted records see them. After an
// error the producer must be closed and opened again.
func (t *Transactional) Abort() error { return t.end(kgo.TryAbort) }

func (t *Transactional) end(how kgo.TransactionEndTry) error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if how == kgo.TryAbort {
		if err := t.client.AbortBufferedRecords(ctx); err != nil {
			return fmt.Errorf("abort transaction: %w", err)
		}
	}
	if err := t.client.EndTransaction(ctx, how); err != nil {
		return fmt.Errorf("end transaction: %w", err)
	}
	return nil
}

// Close gives up the producer, and leaves a transaction that is open to whoever opens its id next.
func (t *Transactional) Close() { t.client.Close() }
