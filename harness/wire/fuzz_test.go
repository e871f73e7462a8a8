package wire_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// stream is a part of one direction.
type stream struct {
	direction string
	data      []byte
}

// feed parses the parts, each in pieces of the given size (0: at once), and returns the messages as text
// and the bytes to forward for each direction. Fragments are left out of the text: how bytes fall into
// them depends on the pieces.
func feed(t testing.TB, p wire.Protocol, piece int, parts []stream) (messages []string, out map[string][]byte) {
	t.Helper()
	codec := wire.New(p, wire.Options{})
	out = map[string][]byte{}
	left := map[string][]byte{}
	for _, part := range parts {
		size := piece
		if size == 0 {
			size = len(part.data) + 1
		}
		for data := part.data; len(data) > 0; {
			n := min(size, len(data))
			pending := append(left[part.direction], data[:n]...)
			data = data[n:]
			for {
				var m wire.Message
				n := codec.Next(part.direction, pending, &m)
				if n == 0 {
					break
				}
				require.LessOrEqual(t, n, len(pending))
				require.Equal(t, n, m.Size)
				require.Equal(t, part.direction, m.Direction)
				out[part.direction] = append(out[part.direction], m.Data...)
				if !m.Fragment {
					messages = append(messages, fmt.Sprintf("%s %s %q %q %q %d %d %d",
						m.Direction, m.Kind, m.Status, m.Tokens, m.Records, m.Size, m.Opens, m.Closes))
				}
				pending = pending[n:]
			}
			left[part.direction] = append([]byte(nil), pending...)
		}
	}
	for direction, rest := range left {
		out[direction] = append(out[direction], rest...)
	}
	return messages, out
}

// splits asserts that neither the messages nor the bytes depend on how the bytes arrive.
func splits(t testing.TB, p wire.Protocol, piece int, parts []stream, rewrites bool) {
	t.Helper()
	whole, out := feed(t, p, 0, parts)
	if !rewrites {
		in := map[string][]byte{}
		for _, part := range parts {
			in[part.direction] = append(in[part.direction], part.data...)
		}
		for direction := range in {
			require.True(t, bytes.Equal(in[direction], out[direction]), "bytes of the %s direction changed", direction)
		}
	}
	for _, size := range []int{1, piece} {
		again, split := feed(t, p, size, parts)
		require.Equal(t, whole, again, "pieces of %d", size)
		for direction := range out {
			require.True(t, bytes.Equal(out[direction], split[direction]), "bytes of the %s direction, pieces of %d", direction, size)
		}
	}
}

func fuzz(f *testing.F, p wire.Protocol, seeds [][2][]byte) {
	for _, seed := range seeds {
		f.Add(seed[0], seed[1], uint8(3))
	}
	f.Fuzz(func(t *testing.T, request, response []byte, piece uint8) {
		splits(t, p, int(piece)+1, []stream{{history.Request, request}, {history.Response, response}, {history.Request, request}},
			p == wire.Kafka) // versions may be capped
	})
}

func FuzzPostgres(f *testing.F) {
	var requests, responses []byte
	for _, s := range postgresSession() {
		if s.direction == history.Request {
			requests = append(requests, s.data...)
		} else {
			responses = append(responses, s.data...)
		}
	}
	fuzz(f, wire.Postgres, [][2][]byte{{requests, responses}})
}

func FuzzHTTP(f *testing.F) {
	fuzz(f, wire.HTTP, [][2][]byte{
		{[]byte(postOrder), []byte(created)},
		{[]byte("HEAD /x HTTP/1.1\r\n\r\nGET /y HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")},
		{[]byte(chunkedPost), []byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")},
	})
}

func FuzzKafka(f *testing.F) {
	produce := kmsg.NewPtrProduceRequest()
	produce.SetVersion(9)
	produce.Acks = -1
	produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "order-events", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 2, Records: recordBatch(0)}}}}
	var seeds [][2][]byte
	add := func(id int32, request kmsg.Request, response kmsg.Response) {
		response.SetVersion(request.GetVersion())
		seeds = append(seeds, [2][]byte{kafkaRequest(id, request), kafkaResponse(id, response)})
	}
	add(1, produce, produceResponse())
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.SetVersion(12)
	add(2, metadata, metadataResponse())
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.SetVersion(3)
	add(3, versions, versionsResponse())
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	add(4, fetch, fetchResponse(recordBatch(40)))
	fuzz(f, wire.Kafka, seeds)
}
