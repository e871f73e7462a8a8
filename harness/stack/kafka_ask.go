package stack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// plainDial connects for the harness outside of any environment.
func plainDial(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, addr)
}

// askKafka sends one request, whose version must be set, to one broker, on a connection of its own, and
// returns the answer.
func askKafka(ctx context.Context, dial dialFunc, addr string, request kmsg.Request) (_ kmsg.Response, err error) {
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	defer func() {
		if err = errors.Join(err, conn.Close()); err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("ordeal")).AppendRequest(nil, request, 1)
	if _, err := conn.Write(frame); err != nil {
		return nil, err
	}
	var head [8]byte // size and correlation id
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", addr, err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > 100<<20 {
		return nil, fmt.Errorf("read answer of %s: a size of %d", addr, size)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", addr, err)
	}
	response := request.ResponseKind()
	if response.IsFlexible() {
		if len(body) == 0 || body[0] != 0 {
			return nil, fmt.Errorf("read answer of %s: its header has tags", addr)
		}
		body = body[1:]
	}
	if err := response.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", addr, err)
	}
	return response, nil
}

// metadataOf returns what one broker knows about the brokers and these topics, or all where topics is nil.
func metadataOf(ctx context.Context, dial dialFunc, addr string, topics []Topic) (*kmsg.MetadataResponse, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Version = 8
	if topics != nil {
		request.Topics = []kmsg.MetadataRequestTopic{}
	}
	for _, topic := range topics {
		wanted := kmsg.NewMetadataRequestTopic()
		wanted.Topic = &topic.Name
		request.Topics = append(request.Topics, wanted)
	}
	response, err := askKafka(ctx, dial, addr, request)
	if err != nil {
		return nil, err
	}
	return response.(*kmsg.MetadataResponse), nil
}

// brokersSeen returns the ids of the brokers that the broker offers to clients: those that are registered
// and not fenced.
func brokersSeen(ctx context.Context, dial dialFunc, addr string) (map[int32]bool, error) {
	metadata, err := metadataOf(ctx, dial, addr, []Topic{})
	if err != nil {
		return nil, err
	}
	seen := map[int32]bool{}
	for _, b := range metadata.Brokers {
		seen[b.NodeID] = true
	}
	return seen, nil
}

// led says whether the broker knows a leader and all replicas in sync for every partition of the topics.
func led(metadata *kmsg.MetadataResponse, topics []Topic) bool {
	partitions := map[string]int{}
	for _, topic := range metadata.Topics {
		if kerr.ErrorForCode(topic.ErrorCode) != nil || topic.Topic == nil {
			continue
		}
		for _, p := range topic.Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 && len(p.ISR) == len(p.Replicas) {
				partitions[*topic.Topic]++
			}
		}
	}
	for _, topic := range topics {
		if partitions[topic.Name] != int(topic.Partitions) {
			return false
		}
	}
	return true
}
