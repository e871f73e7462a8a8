package wire

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

const (
	maxHead = 1 << 20 // a longer head makes the connection opaque
	maxBody = 8 << 20 // a longer body passes in fragments
	// maxChunkLine bounds the line that gives a chunk's size.
	maxChunkLine = 1 << 10
)

// httpCodec is the state of one HTTP/1.1 connection.
type httpCodec struct {
	opaque     bool
	directions [2]httpDirection
	waiting    []httpExchange // requests without a final response
	opened     int64
}

// httpDirection is how far one direction has been parsed.
type httpDirection struct {
	passing int  // bytes left of a body that passes in fragments
	toEnd   bool // the body ends with the connection
	scanned int  // bytes of the head known to hold no end
	chunks  int  // offset of the first chunk not yet skipped
}

type httpExchange struct {
	kind, method string
	tokens       []string
	id           int64
}

func newHTTP() *httpCodec { return &httpCodec{} }

// Opaque implements [Codec].
func (h *httpCodec) Opaque() bool { return h.opaque }

// Next implements [Codec].
func (h *httpCodec) Next(direction string, data []byte, m *Message) int {
	if len(data) == 0 {
		return 0
	}
	d := &h.directions[0]
	if direction == history.Response {
		d = &h.directions[1]
	}
	switch {
	case h.opaque || d.toEnd:
		return fragment(direction, data, m)
	case d.passing > 0:
		n := min(d.passing, len(data))
		d.passing -= n
		return fragment(direction, data[:n], m)
	}
	end := headEnd(data, d.scanned)
	if end > maxHead || end < 0 && len(data) > maxHead {
		return h.giveUp(direction, data, m)
	}
	if end < 0 {
		d.scanned = max(0, len(data)-3)
		return 0
	}
	d.scanned = end - 4
	head, ok := parseHead(data[:end])
	if !ok {
		return h.giveUp(direction, data, m)
	}
	if direction == history.Request {
		return h.request(d, head, data, m)
	}
	return h.response(d, head, data, m)
}

func (h *httpCodec) giveUp(direction string, data []byte, m *Message) int {
	h.opaque = true
	return fragment(direction, data, m)
}

func headEnd(data []byte, from int) int {
	if i := bytes.Index(data[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return -1
}

// httpHead is a start line and the headers that framing and tokens need.
type httpHead struct {
	size           int
	first          [3]string // the parts of the start line
	length         int       // Content-Length, -1 when absent
	chunked        bool
	idempotencyKey string
}

func parseHead(b []byte) (httpHead, bool) {
	head := httpHead{size: len(b), length: -1}
	line, rest, _ := strings.Cut(string(b[:len(b)-4]), "\r\n")
	parts := strings.SplitN(line, " ", 3)
	if len(parts) < 2 {
		return head, false
	}
	copy(head.first[:], parts)
	for rest != "" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return head, false
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-length":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return head, false
			}
			head.length = n
		case "transfer-encoding":
			head.chunked = strings.EqualFold(value, "chunked")
			if !head.chunked {
				return head, false
			}
		case "idempotency-key":
			head.idempotencyKey = value
		}
	}
	return head, true
}

// request reads one request whose head is complete.
func (h *httpCodec) request(d *httpDirection, head httpHead, data []byte, m *Message) int {
	method, target := head.first[0], head.first[1]
	if !strings.HasPrefix(head.first[2], "HTTP/1.") || method == "CONNECT" {
		return h.giveUp(history.Request, data, m)
	}
	if head.length < 0 {
		head.length = 0
	}
	body, end, whole := h.body(d, head, data)
	switch {
	case h.opaque:
		return fragment(history.Request, data, m)
	case end == 0:
		return 0
	}
	path, _, _ := strings.Cut(target, "?")
	var tokens tokenSet
	for segment := range strings.SplitSeq(path, "/") {
		if plain, err := url.PathUnescape(segment); err == nil && idLike([]byte(plain), minToken) {
			tokens.addString(plain)
		}
	}
	if idLike([]byte(head.idempotencyKey), minToken) {
		tokens.addString(head.idempotencyKey)
	}
	jsonTokens(body, &tokens)
	h.opened++
	e := httpExchange{kind: method + " " + path, method: method, tokens: tokens.list, id: h.opened}
	h.waiting = append(h.waiting, e)
	*m = Message{Direction: history.Request, Kind: e.kind, Tokens: e.tokens, Size: end, Data: data[:end], Opens: e.id}
	d.finish(whole)
	return end
}

// response reads one response whose head is complete.
func (h *httpCodec) response(d *httpDirection, head httpHead, data []byte, m *Message) int {
	status := head.first[1]
	if !strings.HasPrefix(head.first[0], "HTTP/1.") || len(status) != 3 || len(h.waiting) == 0 || status == "101" {
		return h.giveUp(history.Response, data, m)
	}
	e := h.waiting[0]
	interim := status[0] == '1'
	switch {
	case interim || status == "204" || status == "304" || e.method == "HEAD":
		head.length, head.chunked = 0, false
	case head.length < 0 && !head.chunked:
		head.length, d.toEnd = 0, true
	}
	body, end, whole := h.body(d, head, data)
	switch {
	case h.opaque:
		return fragment(history.Response, data, m)
	case end == 0:
		return 0
	}
	tokens := tokenSet{list: e.tokens[:len(e.tokens):len(e.tokens)]}
	jsonTokens(body, &tokens)
	*m = Message{Direction: history.Response, Kind: e.kind, Status: status, Tokens: tokens.list, Size: end, Data: data[:end]}
	if !interim {
		h.waiting = h.waiting[1:]
		m.Closes = e.id
	}
	d.finish(whole)
	return end
}

// finish prepares for the next message, after the bytes of this one's body that still pass.
func (d *httpDirection) finish(passing int) { d.passing, d.scanned, d.chunks = passing, 0, 0 }

// body finds the end of the message and its body's content. end is 0 when more must be read. A
// body that is too long is left out: the message is its head, and passing bytes follow.
func (h *httpCodec) body(d *httpDirection, head httpHead, data []byte) (content []byte, end, passing int) {
	if head.chunked {
		return h.chunkedBody(d, head, data)
	}
	if head.length > maxBody {
		return nil, head.size, head.length
	}
	end = head.size + head.length
	if len(data) < end {
		return nil, 0, 0
	}
	return data[head.size:end], end, 0
}

// chunkedBody walks the chunks, from where the last call stopped.
func (h *httpCodec) chunkedBody(d *httpDirection, head httpHead, data []byte) (content []byte, end, passing int) {
	at := max(d.chunks, head.size)
	for {
		d.chunks = at
		if at-head.size > maxBody { // too long to hold: the rest cannot be framed without holding it
			h.opaque = true
			return nil, 0, 0
		}
		size, line, ok := chunkSize(data[at:])
		if !ok || size > maxBody {
			h.opaque = true
			return nil, 0, 0
		}
		if line == 0 {
			return nil, 0, 0
		}
		if size == 0 {
			trailer := trailerEnd(data[at+line:])
			if trailer == 0 {
				return nil, 0, 0
			}
			end = at + line + trailer
			return unchunk(data[head.size:at]), end, 0
		}
		if len(data) < at+line+size+2 {
			return nil, 0, 0
		}
		at += line + size + 2
	}
}

// chunkSize reads a chunk's size line; line is its length, 0 when it is not complete.
func chunkSize(b []byte) (size, line int, ok bool) {
	end := bytes.Index(b, []byte("\r\n"))
	if end > maxChunkLine || end < 0 && len(b) > maxChunkLine {
		return 0, 0, false
	}
	if end < 0 {
		return 0, 0, true
	}
	digits, _, _ := bytes.Cut(b[:end], []byte(";"))
	n, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 31)
	if err != nil {
		return 0, 0, false
	}
	return int(n), end + 2, true
}

// trailerEnd returns the length of the trailers and the empty line, 0 when they are not complete.
func trailerEnd(b []byte) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	if end := headEnd(b, 0); end > 0 {
		return end
	}
	return 0
}

// unchunk joins the content of complete chunks.
func unchunk(b []byte) []byte {
	var content []byte
	for len(b) > 0 {
		size, line, _ := chunkSize(b)
		content = append(content, b[line:line+size]...)
		b = b[line+size+2:]
	}
	return content
}

// jsonTokens adds the id-like string values of a JSON document; names of fields are none.
func jsonTokens(body []byte, tokens *tokenSet) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || len(body) > maxUninspected || body[0] != '{' && body[0] != '[' {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	var objects []bool // whether each enclosing value is an object
	name := false      // whether the next string is a field's name
	for {
		token, err := decoder.Token()
		if err != nil {
			return
		}
		wasName := name
		name = len(objects) > 0 && objects[len(objects)-1] && !wasName
		switch v := token.(type) {
		case json.Delim:
			switch v {
			case '{', '[':
				objects = append(objects, v == '{')
				name = v == '{'
			default:
				objects = objects[:len(objects)-1]
				name = len(objects) > 0 && objects[len(objects)-1]
			}
		case string:
			if !wasName && idLike([]byte(v), minToken) {
				tokens.addString(v)
			}
		}
	}
}
