// Package app owns the life of a service process: configuration, start, readiness, and the stop of everything
// that was started.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/config"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
	"github.com/ordeal-chaos/ordeal/services/internal/inbox"
	"github.com/ordeal-chaos/ordeal/services/internal/outbox"
)

const (
	exitOK    = 0
	exitError = 1

	startBackoff = 50 * time.Millisecond
	stopTimeout  = 500 * time.Millisecond
)

// Core is what every service builds on.
type Core struct {
	Config    config.Config
	DB        *db.DB
	Publisher *outbox.Publisher
	Guards    *guard.Set
	Log       *slog.Logger
}

// Parts are what makes one service different from another.
type Parts struct {
	Effect inbox.Effect         // of the consumed events
	Routes func(*http.ServeMux) // of the API
	Loops  []Loop
	// Background, if there is one, is work of another rhythm. It runs until its context is done.
	Background func(context.Context)
}

// Loop is work that is done again and again, Every after the last time.
type Loop struct {
	Name  string
	Every time.Duration
	Do    func(context.Context) error
}

// Service describes one service. All fields are required.
type Service struct {
	Name     string                        // also its consumer group
	Consumes func(services.Parts) []string // topics; none: it is in no group
	Schema   string
	Assemble func(Core) Parts
}

// Run runs the service until ctx is done and returns the exit code of the process: 0 after a stop that was asked
// for, 64 when the configuration is wrong, else 1. It logs to w.
func (s Service) Run(ctx context.Context, getenv func(string) string, w io.Writer) int {
	cfg, err := config.Load(s.Name, getenv)
	if err != nil {
		fmt.Fprintln(w, err)
		return config.ExitUsage
	}
	log := slog.New(slog.NewTextHandler(w, nil)).With("instance", cfg.Instance)
	if err := s.run(ctx, cfg, log); err != nil {
		log.Error("service failed", "error", err)
		return exitError
	}
	return exitOK
}

func (s Service) run(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	database, err := db.Open(ctx, cfg.DatabaseURL, db.Options{Name: cfg.Instance, LockTimeout: cfg.LockTimeout})
	if err != nil {
		return err
	}
	defer closeIn(stopTimeout, database.Close)
	guards := guard.New(cfg.Without, log)
	producer := broker.NewProducer(broker.ProducerConfig{
		Brokers: cfg.Brokers, ClientID: cfg.Instance, LeaderOnly: guards.Lacks(services.AcksAll),
	})
	defer producer.Close()
	publisher, err := outbox.Open(ctx, outbox.Config{
		Parts: cfg.Parts, Guards: guards, Producer: producer, Brokers: cfg.Brokers, Instance: cfg.Instance,
		DatabaseURL: cfg.DatabaseURL, Poll: cfg.RelayPoll, Log: log,
	})
	if err != nil {
		return err
	}
	defer closeIn(stopTimeout, publisher.Close)
	parts := s.Assemble(Core{Config: cfg, DB: database, Publisher: publisher, Guards: guards, Log: log})
	processor := &inbox.Processor{
		Group: s.Name, Topics: s.Consumes(cfg.Parts), Failures: cfg.Parts.Failures, DB: database, Publisher: publisher,
		Producer: producer, Guards: guards, Effect: parts.Effect, Log: log,
		Retry: inbox.Retry{Attempts: cfg.RetryAttempts, Backoff: cfg.RetryBackoff, Fixed: cfg.Parts.Backoff == services.FixedBackoff},
	}
	defer processor.Close()
	topics := append(slices.Clip(processor.Topics), cfg.Parts.Retries(s.Name)...)
	if cfg.Parts.Failures == services.Redrive && len(topics) > 0 {
		redrive := &inbox.Redrive{Processor: processor, Producer: producer}
		parts.Loops = append(parts.Loops, Loop{Name: "redrive dead letters", Every: cfg.RedriveInterval, Do: redrive.Do})
	}
	consumer := broker.NewConsumer(broker.ConsumerConfig{
		Brokers: cfg.Brokers, ClientID: cfg.Instance, Group: s.Name, Topics: topics,
		SessionTimeout: cfg.SessionTimeout, Handle: processor.Handle, Guards: guards, Log: log,
		Acks:         broker.Acks{Part: cfg.Parts.Ack, Count: cfg.AckCount, Time: cfg.AckTime, Interval: cfg.AutoCommit},
		Transactions: transactions(cfg.Parts, guards),
	})
	var migrated atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		answerReady(r.Context(), w, database, migrated.Load(), len(topics) == 0 || consumer.Joined())
	})
	parts.Routes(mux)

	var running sync.WaitGroup
	defer running.Wait()
	defer cancel() // before the wait
	running.Go(func() {
		if !until(ctx, log, "apply schema", func(ctx context.Context) error { return database.ApplySchema(ctx, s.Schema) }) {
			return
		}
		migrated.Store(true)
		log.Info("database is up", "parts", cfg.Parts.String(), "without", cfg.Without.String())
		running.Go(func() { publisher.Run(ctx) })
		if parts.Background != nil {
			running.Go(func() { parts.Background(ctx) })
		}
		for _, loop := range parts.Loops {
			running.Go(func() { loop.run(ctx, log) })
		}
		for _, topic := range topics {
			if !until(ctx, log, "find topic "+topic, func(ctx context.Context) error {
				_, err := producer.Partitions(ctx, topic)
				return err
			}) {
				return
			}
		}
		if len(topics) > 0 {
			consumer.Run(ctx)
		}
	})
	return serve(ctx, cfg.HTTPAddr, mux)
}

// transactions says how records are read in designs that produce them in Kafka transactions, and else nil.
func transactions(parts services.Parts, guards *guard.Set) *broker.Transactions {
	if parts.Publishing != services.KafkaTransaction {
		return nil
	}
	return &broker.Transactions{
		Uncommitted:   guards.Removed(services.ReadCommitted),
		OnUncommitted: func() { guards.Lacks(services.ReadCommitted) },
	}
}

func closeIn(limit time.Duration, closer func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	closer(ctx)
}

// until repeats do until it succeeds, and returns false when ctx ended first.
func until(ctx context.Context, log *slog.Logger, what string, do func(context.Context) error) bool {
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := do(attempt)
		cancel()
		if err == nil {
			return true
		}
		if !pause(ctx, startBackoff) {
			return false
		}
		log.Warn("wait to "+what, "error", err)
	}
}

func (l Loop) run(ctx context.Context, log *slog.Logger) {
	for pause(ctx, l.Every) {
		if err := l.Do(ctx); err != nil && ctx.Err() == nil {
			log.Warn(l.Name, "error", err)
		}
	}
}

// pause waits for d, and returns false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func answerReady(ctx context.Context, w http.ResponseWriter, database *db.DB, migrated, joined bool) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := database.Ping(ctx)
	switch {
	case err == nil && !migrated:
		err = errors.New("schema is not applied")
	case err == nil && !joined:
		err = errors.New("consumer group is not joined")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
