package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// minInSync is the setting of a topic that says how many replicas must be in sync for acks=all.
const minInSync = "min.insync.replicas"

type minISR struct{ onTopic }

// MinISR makes a topic demand as many replicas in sync as there are brokers, and ends the last broker by SIGKILL: acks=all
// is refused, acks=1 is not. When healed, the topic's setting is as it was and the broker started again.
func MinISR(topic string) harness.Fault { return minISR{onTopic{topic}} }

func (minISR) Name() string { return "min-isr" }

func (f minISR) Validate(t harness.Topology) error {
	if err := t.CheckApart(); err != nil {
		return err
	}
	return f.onTopic.Validate(t)
}

func (f minISR) Prepare(env *harness.Env) harness.Injection {
	return &shortage{env: env, topic: f.topic}
}

// shortage is a topic with fewer replicas in sync than it demands.
type shortage struct {
	env     *harness.Env
	topic   string
	restore []kadm.AlterConfig // what makes the setting what it was; empty until it is known
	struck  *exit
	events  func() []history.Event
}

func (s *shortage) Inject(ctx context.Context) error {
	brokers := s.env.Brokers()
	s.events = s.env.Since()
	if err := s.demand(ctx, strconv.Itoa(len(brokers))); err != nil {
		return err
	}
	s.struck = newExit(s.env, killed, []stack.Node{brokers[len(brokers)-1]}, "killed")
	return s.struck.Inject(ctx)
}

// demand changes the setting and keeps what it was.
func (s *shortage) demand(ctx context.Context, replicas string) error {
	admin, err := s.env.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	described, err := admin.DescribeTopicConfigs(ctx, s.topic)
	if err != nil {
		return fmt.Errorf("read settings of %s: %w", s.topic, err)
	}
	settings, err := described.On(s.topic, nil)
	if err = errors.Join(err, settings.Err); err != nil {
		return fmt.Errorf("read settings of %s: %w", s.topic, err)
	}
	restore := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: minInSync} // a default, unless the topic has its own
	for _, setting := range settings.Configs {
		if setting.Key == minInSync && setting.Source == kmsg.ConfigSourceDynamicTopicConfig {
			restore = kadm.AlterConfig{Op: kadm.SetConfig, Name: minInSync, Value: setting.Value}
		}
	}
	s.restore = []kadm.AlterConfig{restore}
	return s.alter(ctx, admin, kadm.AlterConfig{Op: kadm.SetConfig, Name: minInSync, Value: &replicas})
}

func (s *shortage) alter(ctx context.Context, admin *kadm.Client, change ...kadm.AlterConfig) error {
	answers, err := admin.AlterTopicConfigs(ctx, change, s.topic)
	if err == nil {
		_, err = answers.On(s.topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		return fmt.Errorf("change %s of %s: %w", minInSync, s.topic, err)
	}
	return nil
}

// Heal starts the broker and restores the setting, each whatever became of the other.
func (s *shortage) Heal(ctx context.Context) error {
	var errs []error
	if s.struck != nil {
		errs = append(errs, s.struck.Heal(ctx))
	}
	if len(s.restore) > 0 {
		admin, err := s.env.Admin()
		if err == nil {
			err = s.alter(ctx, admin, s.restore...)
			admin.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Evidence demands the exit, and a refusal for want of replicas at the tap of a producer.
func (s *shortage) Evidence() harness.Evidence {
	if s.struck == nil {
		return harness.Evidence{Effect: "no broker was hit"}
	}
	evidence := s.struck.Evidence()
	refused := refusals(s.events())
	evidence.Bit = evidence.Bit && len(refused) > 0
	evidence.Effect += "; Produce requests refused for want of replicas: " + tally(refused)
	return evidence
}

// refusals counts, by client, the Produce requests that were refused for want of replicas in sync.
func refusals(events []history.Event) map[string]int {
	refused := map[string]int{}
	for _, event := range events {
		w := event.Wire
		if w == nil || w.Kind != "Produce" || w.Direction != history.Response || w.Held != "" {
			continue
		}
		switch w.Status {
		case kerr.NotEnoughReplicas.Message, kerr.NotEnoughReplicasAfterAppend.Message:
			client, _, _ := strings.Cut(w.Link, "->")
			refused[client]++
		}
	}
	return refused
}

// tally lists counts by name: "order 12, stock 3".
func tally(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}
