package wire

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// errorName is how Kafka's documentation names an error code, "" for none. A code of a later Kafka is its number.
func errorName(code int16) string {
	if code == 0 {
		return ""
	}
	if known := kerr.TypedErrorForCode(code); known.Code == code {
		return known.Message
	}
	return strconv.Itoa(int(code))
}

// errorCode is the first error in a response that tells a client of a failover or a lost replica; 0 for none.
func errorCode(response kmsg.Response) int16 {
	switch r := response.(type) {
	case *kmsg.MetadataResponse:
		for _, topic := range r.Topics {
			if topic.ErrorCode != 0 {
				return topic.ErrorCode
			}
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return p.ErrorCode
				}
			}
		}
	case *kmsg.ProduceResponse:
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return p.ErrorCode
				}
			}
		}
	case *kmsg.FetchResponse:
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return p.ErrorCode
				}
			}
		}
		return r.ErrorCode
	case *kmsg.OffsetCommitResponse:
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return p.ErrorCode
				}
			}
		}
	case *kmsg.OffsetFetchResponse:
		for _, group := range r.Groups {
			if group.ErrorCode != 0 {
				return group.ErrorCode
			}
		}
		return r.ErrorCode
	case *kmsg.FindCoordinatorResponse:
		for _, coordinator := range r.Coordinators {
			if coordinator.ErrorCode != 0 {
				return coordinator.ErrorCode
			}
		}
		return r.ErrorCode
	case *kmsg.JoinGroupResponse:
		return r.ErrorCode
	case *kmsg.SyncGroupResponse:
		return r.ErrorCode
	case *kmsg.HeartbeatResponse:
		return r.ErrorCode
	case *kmsg.ConsumerGroupHeartbeatResponse:
		return r.ErrorCode
	case *kmsg.InitProducerIDResponse:
		return r.ErrorCode
	case *kmsg.EndTxnResponse:
		return r.ErrorCode
	}
	return 0
}
