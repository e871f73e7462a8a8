package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rewrite reads a response that may name brokers or tell of an error, and encodes it again when it names brokers.
// What it cannot read passes as it came.
func (k *kafka) rewrite(frame []byte, r kafkaRequest, m *Message) {
	m.Unread = true
	request := kmsg.RequestForKey(r.key)
	if r.version > request.MaxVersion() {
		return
	}
	request.SetVersion(r.version)
	body := request.ResponseKind()
	rest := frame[8:]
	if body.IsFlexible() {
		if rest = skipTags(rest); rest == nil {
			return
		}
	}
	header := frame[4 : len(frame)-len(rest)]
	if body.ReadFrom(rest) != nil {
		return
	}
	m.Unread = false
	m.Status = errorName(errorCode(body))
	changed := false
	node := func(id int32, host *string, port *int32) {
		if k.options.Broker == nil {
			return
		}
		if h, p, ok := k.options.Broker(id); ok {
			*host, *port, changed = h, p, true
		}
	}
	switch body := body.(type) {
	case *kmsg.MetadataResponse:
		k.options.Topics.learn(body)
		for i := range body.Brokers {
			b := &body.Brokers[i]
			node(b.NodeID, &b.Host, &b.Port)
		}
	case *kmsg.FindCoordinatorResponse:
		if r.version < 4 && body.ErrorCode == 0 {
			node(body.NodeID, &body.Host, &body.Port)
		}
		for i := range body.Coordinators {
			if c := &body.Coordinators[i]; c.ErrorCode == 0 {
				node(c.NodeID, &c.Host, &c.Port)
			}
		}
	case *kmsg.DescribeClusterResponse:
		for i := range body.Brokers {
			b := &body.Brokers[i]
			node(b.NodeID, &b.Host, &b.Port)
		}
	case *kmsg.ProduceResponse:
		k.produced(body, r, m)
		for i := range body.Brokers {
			b := &body.Brokers[i]
			node(b.NodeID, &b.Host, &b.Port)
		}
	case *kmsg.FetchResponse:
		k.delivered(body, m)
		for i := range body.Brokers {
			b := &body.Brokers[i]
			node(b.NodeID, &b.Host, &b.Port)
		}
	case *kmsg.ShareFetchResponse:
		for i := range body.NodeEndpoints {
			b := &body.NodeEndpoints[i]
			node(b.NodeID, &b.Host, &b.Port)
		}
	case *kmsg.ShareAcknowledgeResponse:
		for i := range body.NodeEndpoints {
			b := &body.NodeEndpoints[i]
			node(b.NodeID, &b.Host, &b.Port)
		}
	}
	if changed {
		m.Data = encodeResponse(header, body)
	}
}

// encodeResponse frames a response whose header (correlation id and tags) stays as it came.
func encodeResponse(header []byte, body kmsg.Response) []byte {
	out := make([]byte, 4, 1024)
	out = append(out, header...)
	out = body.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

// highest is, for the APIs whose responses name brokers or are looked into, the version that this program can
// encode: no client may use a later one.
var highest = func() map[int16]int16 {
	versions := map[int16]int16{}
	for _, key := range []kmsg.Key{
		kmsg.ApiVersions, kmsg.Metadata, kmsg.FindCoordinator, kmsg.DescribeCluster, kmsg.Produce, kmsg.Fetch,
		kmsg.ShareFetch, kmsg.ShareAcknowledge, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.JoinGroup, kmsg.SyncGroup,
		kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat, kmsg.InitProducerID, kmsg.EndTxn,
	} {
		versions[key.Int16()] = kmsg.RequestForKey(key.Int16()).MaxVersion()
	}
	return versions
}()

// unsupportedVersion is the error that a broker answers in version 0 whatever was asked.
const unsupportedVersion = 35

// capVersions lowers what an ApiVersions response offers. Its header never has tags.
func (k *kafka) capVersions(frame []byte, version int16, m *Message) []byte {
	body := kmsg.NewPtrApiVersionsResponse()
	if len(frame) >= 10 && binary.BigEndian.Uint16(frame[8:]) == unsupportedVersion {
		version = 0
	}
	body.SetVersion(version)
	if version > body.MaxVersion() || body.ReadFrom(frame[8:]) != nil {
		m.Unread = true
		return frame
	}
	changed := false
	for i := range body.ApiKeys {
		api := &body.ApiKeys[i]
		if most, ok := highest[api.ApiKey]; ok && api.MaxVersion > most && api.MinVersion <= most {
			api.MaxVersion, changed = most, true
		}
	}
	if !changed {
		return frame
	}
	return encodeResponse(frame[4:8], body)
}
