package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Admin opens an observer's administrative client to the brokers, which crosses no link. What it tells is
// at most 10 ms old. The caller closes it.
func (e *Env) Admin() (*kadm.Client, error) {
	client, err := e.Kafka(kgo.MetadataMinAge(10 * time.Millisecond)) // else it answers from its cache
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

// Isolate cuts a broker from the other brokers; clients still reach it. It wraps [stack.ErrNotApart] where
// the brokers are one process, which [Topology.CheckApart] tells beforehand.
func (e *Env) Isolate(ctx context.Context, broker string) error { return e.stack.Isolate(ctx, broker) }

// Rejoin undoes Isolate.
func (e *Env) Rejoin(ctx context.Context, broker string) error { return e.stack.Rejoin(ctx, broker) }

// Leader names the broker that leads the partition. It is an error when there is none at the moment, or
// none can be asked, as during an election: callers that expect one to come [Await] it.
func (e *Env) Leader(ctx context.Context, topic string, partition int32) (string, error) {
	leaders, err := e.ask(ctx, metadataOf(topic), readPartition(topic, partition, func(p kmsg.MetadataResponseTopicPartition) []int32 {
		return []int32{p.Leader}
	}))
	if err != nil {
		return "", fmt.Errorf("find leader of %s/%d: %w", topic, partition, err)
	}
	return leaders[0], nil
}

// InSync names the brokers that hold all of the partition, by number, as the cluster believes.
func (e *Env) InSync(ctx context.Context, topic string, partition int32) ([]string, error) {
	members, err := e.ask(ctx, metadataOf(topic), readPartition(topic, partition, func(p kmsg.MetadataResponseTopicPartition) []int32 {
		return slices.Sorted(slices.Values(p.ISR))
	}))
	if err != nil {
		return nil, fmt.Errorf("find replicas in sync of %s/%d: %w", topic, partition, err)
	}
	return members, nil
}

// Controller names the broker that leads the controllers' quorum. It is an error when there is none at
// the moment.
func (e *Env) Controller(ctx context.Context) (string, error) {
	names, err := e.ask(ctx, describeQuorum, readQuorum)
	if errors.Is(err, errNoSuchRequest) { // the embedded broker, whose metadata tells
		names, err = e.ask(ctx, metadataOf(), readController)
	}
	if err != nil {
		return "", fmt.Errorf("find controller: %w", err)
	}
	return names[0], nil
}

// Coordinator names the broker that coordinates the consumer group. It is an error when there is none at
// the moment.
func (e *Env) Coordinator(ctx context.Context, group string) (string, error) {
	names, err := e.ask(ctx, func() kmsg.Request {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.CoordinatorKey, request.CoordinatorKeys = group, []string{group}
		return request
	}, readCoordinator)
	if err != nil {
		return "", fmt.Errorf("find coordinator of group %s: %w", group, err)
	}
	return names[0], nil
}

func metadataOf(topics ...string) func() kmsg.Request {
	return func() kmsg.Request {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
		for _, topic := range topics {
			asked := kmsg.NewMetadataRequestTopic()
			asked.Topic = kmsg.StringPtr(topic)
			request.Topics = append(request.Topics, asked)
		}
		return request
	}
}

func describeQuorum() kmsg.Request {
	request := kmsg.NewPtrDescribeQuorumRequest()
	partition := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	return request
}

func readPartition(topic string, number int32, nodes func(kmsg.MetadataResponseTopicPartition) []int32) func(kmsg.Response) (view, error) {
	return func(response kmsg.Response) (view, error) {
		for _, t := range response.(*kmsg.MetadataResponse).Topics {
			if t.Topic == nil || *t.Topic != topic {
				continue
			}
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
				return view{}, err
			}
			for _, p := range t.Partitions {
				if p.Partition == number {
					return view{p.LeaderEpoch, nodes(p)}, nil
				}
			}
		}
		return view{}, kerr.UnknownTopicOrPartition
	}
}

func readQuorum(response kmsg.Response) (view, error) {
	quorum := response.(*kmsg.DescribeQuorumResponse)
	if err := kerr.ErrorForCode(quorum.ErrorCode); err != nil {
		return view{}, err
	}
	for _, topic := range quorum.Topics {
		for _, p := range topic.Partitions {
			return view{p.LeaderEpoch, []int32{p.LeaderID}}, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return view{}, errors.New("the answer tells of no quorum")
}

func readController(response kmsg.Response) (view, error) {
	return view{nodes: []int32{response.(*kmsg.MetadataResponse).ControllerID}}, nil
}

func readCoordinator(response kmsg.Response) (view, error) {
	found := response.(*kmsg.FindCoordinatorResponse)
	for _, c := range found.Coordinators {
		return view{nodes: []int32{c.NodeID}}, kerr.ErrorForCode(c.ErrorCode)
	}
	return view{nodes: []int32{found.NodeID}}, kerr.ErrorForCode(found.ErrorCode)
}
