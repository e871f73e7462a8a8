package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// resetTimeout bounds a reset: a new cluster is there soon enough.
const resetTimeout = 5 * time.Second

// Topics that brokers make for themselves.
var coordinatorTopics = []struct {
	coordinator int8 // as FindCoordinator names it
	topic       Topic
}{
	{0, Topic{"__consumer_offsets", 5}},
	{1, Topic{"__transaction_state", 5}},
}

// fit returns an error when the cluster is not as it was started.
func (c *cluster) fit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.brokers {
		switch r := b.alive(); {
		case !c.started:
			return fmt.Errorf("%s did not become ready", b.Name())
		case r == nil:
			return fmt.Errorf("%s does not run", b.Name())
		case b.isPaused(r):
			return fmt.Errorf("%s is paused", b.Name())
		case c.isolated[b.Name()]:
			return fmt.Errorf("%s is isolated", b.Name())
		}
	}
	return nil
}

// reset brings a used cluster to the state of a new one. It deletes every topic: with their own topics go
// the groups, whose members may be dead and not yet missed, the committed offsets and the transactions.
func (c *cluster) reset(ctx context.Context) error {
	if len(c.brokers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, resetTimeout, fmt.Errorf("not done after %s", resetTimeout))
	defer cancel()
	if err := c.fit(); err != nil {
		return err
	}
	err := c.everywhere(ctx, "all brokers in sight", func(addr string) (bool, error) {
		seen, err := brokersSeen(ctx, c.dialer(), addr)
		return len(seen) == len(c.brokers), err
	})
	if err != nil {
		return err
	}
	if err := c.deleteTopics(ctx); err != nil {
		return err
	}
	return c.warm(ctx)
}

func (c *cluster) deleteTopics(ctx context.Context) error {
	first := c.brokers[0].address(clientPort)
	metadata, err := metadataOf(ctx, c.dialer(), first, nil)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.Version, request.TimeoutMillis = 3, int32(resetTimeout.Milliseconds())
	for _, topic := range metadata.Topics {
		request.TopicNames = append(request.TopicNames, *topic.Topic)
	}
	if len(request.TopicNames) == 0 {
		return nil
	}
	response, err := askKafka(ctx, c.dialer(), first, request)
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	for _, topic := range response.(*kmsg.DeleteTopicsResponse).Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("delete topic %s: %w", *topic.Topic, err)
		}
	}
	return c.everywhere(ctx, "topics to be gone", func(addr string) (bool, error) {
		metadata, err := metadataOf(ctx, c.dialer(), addr, nil)
		return err == nil && len(metadata.Topics) == 0, err
	})
}

// warm makes the coordinators' topics, so that the first group and the first transaction need not wait
// for them, and returns when the coordinators serve and brokers can give out producer ids.
func (c *cluster) warm(ctx context.Context) error {
	for _, t := range coordinatorTopics {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.Version, request.CoordinatorType, request.CoordinatorKey = 2, t.coordinator, "ordeal"
		var last error
		err := await(ctx, "coordinators", func() (bool, error) {
			response, err := askKafka(ctx, c.dialer(), c.brokers[0].address(clientPort), request)
			if err != nil {
				return false, err
			}
			last = kerr.ErrorForCode(response.(*kmsg.FindCoordinatorResponse).ErrorCode)
			return last == nil, nil
		})
		if err != nil {
			return errors.Join(err, last)
		}
	}
	for _, t := range coordinatorTopics {
		if err := c.awaitLed(ctx, []Topic{t.topic}); err != nil {
			return err
		}
	}
	groups, transactions, producer := kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrListTransactionsRequest(), kmsg.NewPtrInitProducerIDRequest()
	groups.Version = 2
	producer.Version = 1 // brokers have no producer ids until the first one asks
	return c.everywhere(ctx, "coordinators to serve", func(addr string) (bool, error) {
		for _, request := range []kmsg.Request{groups, transactions, producer} {
			response, err := askKafka(ctx, c.dialer(), addr, request)
			if err != nil || errorCode(response) != 0 {
				return false, err
			}
		}
		return true, nil
	})
}

func errorCode(response kmsg.Response) int16 {
	switch r := response.(type) {
	case *kmsg.ListGroupsResponse:
		return r.ErrorCode
	case *kmsg.ListTransactionsResponse:
		return r.ErrorCode
	case *kmsg.InitProducerIDResponse:
		return r.ErrorCode
	}
	return 0
}

// create creates the topics and returns when every broker knows their leaders.
func (c *cluster) create(ctx context.Context, topics []Topic) error {
	if len(topics) == 0 {
		return nil
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Version, request.TimeoutMillis = 4, int32(resetTimeout.Milliseconds())
	for _, topic := range topics {
		wanted := kmsg.NewCreateTopicsRequestTopic()
		wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic.Name, topic.Partitions, -1
		request.Topics = append(request.Topics, wanted)
	}
	response, err := askKafka(ctx, c.dialer(), c.brokers[0].address(clientPort), request)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, topic := range response.(*kmsg.CreateTopicsResponse).Topics {
		// There was none before: a broker that lost touch with the controller asks again.
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", topic.Topic, err)
		}
	}
	return c.awaitLed(ctx, topics)
}

func (c *cluster) awaitLed(ctx context.Context, topics []Topic) error {
	return c.everywhere(ctx, "leaders of topics", func(addr string) (bool, error) {
		metadata, err := metadataOf(ctx, c.dialer(), addr, topics)
		return err == nil && led(metadata, topics), err
	})
}

// everywhere polls one broker after the other until the condition holds for each.
func (c *cluster) everywhere(ctx context.Context, what string, condition func(addr string) (bool, error)) error {
	for _, b := range c.brokers {
		err := await(ctx, what, func() (bool, error) { return condition(b.address(clientPort)) })
		if err != nil {
			return fmt.Errorf("ask %s: %w", b.Name(), err)
		}
	}
	return nil
}
