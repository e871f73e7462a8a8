package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

const (
	postOrder = "POST /api/v1/orders?x=1 HTTP/1.1\r\nHost: a\r\nIdempotency-Key: key-1\r\nContent-Length: 61\r\n\r\n" +
		`{"orderId":"order-0001","lines":[{"productId":"p1","qty":2}]}`
	created     = "HTTP/1.1 201 Created\r\ncontent-length: 38\r\n\r\n" + `{"orderId":"order-0001","status":"OK"}`
	chunkedPost = "PUT /api/v1/stocks/r-1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{\"a\":\r\n6\r\n\"b-1\"}\r\n0\r\nT: v\r\n\r\n"
)

func http(t *testing.T, parts ...stream) []string {
	t.Helper()
	splits(t, wire.HTTP, 9, parts, false)
	messages, _ := feed(t, wire.HTTP, 0, parts)
	return messages
}

func text(direction string, parts ...string) stream {
	return stream{direction, []byte(strings.Join(parts, ""))}
}

func TestHTTPCarriesIds(t *testing.T) {
	messages := http(t, text(history.Request, postOrder), text(history.Response, created))
	assert.Equal(t, []string{
		fmt.Sprintf(`request POST /api/v1/orders "" ["api" "v1" "orders" "key-1" "order-0001" "p1"] [] %d 1 0`, len(postOrder)),
		`response POST /api/v1/orders "201" ["api" "v1" "orders" "key-1" "order-0001" "p1" "OK"] [] 82 0 1`,
	}, messages)
}

func TestHTTPFraming(t *testing.T) {
	messages := http(t,
		text(history.Request, chunkedPost, "HEAD /h HTTP/1.1\r\n\r\n", "GET /n HTTP/1.1\r\n\r\n", "GET /c HTTP/1.1\r\n\r\n", "GET /e HTTP/1.1\r\n\r\n"),
		text(history.Response, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[\"c-\r\n3\r\n2\"]\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
			"HTTP/1.0 200 OK\r\n\r\nuntil the end"))
	assert.Equal(t, []string{
		fmt.Sprintf(`request PUT /api/v1/stocks/r-1 "" ["api" "v1" "stocks" "r-1" "b-1"] [] %d 1 0`, len(chunkedPost)),
		`request HEAD /h "" ["h"] [] 20 2 0`, `request GET /n "" ["n"] [] 19 3 0`, `request GET /c "" ["c"] [] 19 4 0`, `request GET /e "" ["e"] [] 19 5 0`,
		`response PUT /api/v1/stocks/r-1 "100" ["api" "v1" "stocks" "r-1" "b-1"] [] 25 0 0`,
		`response PUT /api/v1/stocks/r-1 "200" ["api" "v1" "stocks" "r-1" "b-1" "c-2"] [] 69 0 1`,
		`response HEAD /h "200" ["h"] [] 39 0 2`, `response GET /n "204" ["n"] [] 27 0 3`, `response GET /c "404" ["c"] [] 47 0 4`,
		`response GET /e "200" ["e"] [] 19 0 5`,
	}, messages)
}

func TestHTTPThatIsNoneBecomesOpaque(t *testing.T) {
	for _, bad := range []string{"\x16\x03\x01 x y\r\n\r\n", "CONNECT a HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		codec := wire.New(wire.HTTP, wire.Options{})
		var m wire.Message
		require.Equal(t, len(bad), codec.Next(history.Request, []byte(bad), &m), "%q", bad)
		assert.True(t, codec.Opaque(), "%q", bad)
		assert.Equal(t, bad, string(m.Data))
	}
}
