package wire

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Codes in place of a version in a packet without a type byte.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

// postgres is the state of one connection. The request side predicts the transaction state, because
// requests are pipelined; ReadyForQuery corrects it whenever nothing is outstanding.
type postgres struct {
	options Options
	passing passing
	opaque  bool
	started bool // the StartupMessage went by
	bare    int  // one-byte answers owed to SSLRequest and GSSENCRequest

	prepared map[string]statement
	portals  map[string]statement

	inBlock bool
	began   time.Duration
	tokens  tokenSet // of the block, or of the batch outside one
	wrote   bool     // the batch wrote outside a block
	inBatch bool     // an exchange is open that no Sync or Query ended yet

	opened, closed int64 // exchanges
	failed         bool  // the oldest open exchange was answered by an error
	copying        bool  // the server ignores Sync while it copies in
	endings        []ending
}

func newPostgres(o Options) *postgres {
	return &postgres{options: o, prepared: map[string]statement{}, portals: map[string]statement{}}
}

// Opaque implements [Codec].
func (p *postgres) Opaque() bool { return p.opaque }

// Next implements [Codec].
func (p *postgres) Next(direction string, data []byte, m *Message) int {
	if len(data) == 0 {
		return 0
	}
	if p.opaque {
		return fragment(direction, data, m)
	}
	if n := p.passing.next(direction, data, m); n > 0 {
		return n
	}
	if direction == history.Request && !p.started {
		return p.untyped(data, m)
	}
	if direction == history.Response && p.bare > 0 && data[0] != 'E' {
		return p.bareAnswer(data, m)
	}
	if len(data) < 5 {
		return 0
	}
	length := int64(binary.BigEndian.Uint32(data[1:])) + 1
	kinds := &responseKinds
	if direction == history.Request {
		kinds = &requestKinds
	}
	kind := kinds[data[0]]
	if kind == "" || length < 5 || length > 1<<30 {
		p.opaque = true
		return fragment(direction, data, m)
	}
	limit := int64(maxUninspected)
	if inspected(direction, data[0]) {
		limit = maxFrame
	}
	if length > limit {
		*p.passing.left(direction) = int(length)
		return p.passing.next(direction, data, m)
	}
	if int64(len(data)) < length {
		return 0
	}
	*m = Message{Direction: direction, Kind: kind, Size: int(length), Data: data[:length]}
	if direction == history.Request {
		p.request(data[0], data[5:length], m)
	} else {
		p.response(data[0], data[5:length], m)
	}
	return int(length)
}

func inspected(direction string, code byte) bool {
	if direction == history.Request {
		return code == 'Q' || code == 'P' || code == 'B'
	}
	return code == 'E'
}

// untyped reads the packets before the session: StartupMessage and what may precede or replace it.
func (p *postgres) untyped(data []byte, m *Message) int {
	if len(data) < 8 {
		return 0
	}
	length := binary.BigEndian.Uint32(data)
	if length < 8 || length > 1<<16 {
		p.opaque = true
		return fragment(history.Request, data, m)
	}
	if len(data) < int(length) {
		return 0
	}
	*m = Message{Direction: history.Request, Size: int(length), Data: data[:length]}
	switch code := binary.BigEndian.Uint32(data[4:]); code {
	case sslRequest, gssRequest:
		p.bare++
		m.Kind = "SSLRequest"
		if code == gssRequest {
			m.Kind = "GSSENCRequest"
		}
	case cancelRequest:
		p.started = true
		m.Kind = "CancelRequest"
	default:
		if code>>16 != 3 {
			p.opaque = true
			return fragment(history.Request, data, m)
		}
		p.started = true
		m.Kind = "Startup"
		p.opened++
		m.Opens = p.opened
	}
	return int(length)
}

// bareAnswer reads the single byte that answers SSLRequest or GSSENCRequest.
func (p *postgres) bareAnswer(data []byte, m *Message) int {
	p.bare--
	if data[0] != 'N' { // what follows is encrypted
		p.opaque = true
		return fragment(history.Response, data, m)
	}
	*m = Message{Direction: history.Response, Kind: "SSLResponse", Status: "N", Size: 1, Data: data[:1]}
	return 1
}

func (p *postgres) request(code byte, body []byte, m *Message) {
	switch code {
	case 'Q', 'P', 'B', 'E', 'D', 'C', 'S', 'F':
		if code == 'S' && p.copying {
			return
		}
		if !p.inBatch {
			p.inBatch = true
			p.opened++
			m.Opens = p.opened
		}
	case 'c', 'f': // CopyDone, CopyFail
		p.copying = false
	}
	switch code {
	case 'Q':
		p.query(body, m)
		p.endBatch(m)
	case 'F':
		p.wrote = p.wrote || !p.inBlock
		p.endBatch(m)
	case 'S':
		p.endBatch(m)
	case 'P':
		name, rest := cstring(body)
		sql, _ := cstring(rest)
		p.prepared[string(name)] = single(sql)
	case 'B':
		p.bind(body, m)
	case 'E':
		portal, _ := cstring(body)
		p.act(p.portals[string(portal)].class, m)
	case 'C':
		if len(body) > 0 {
			name, _ := cstring(body[1:])
			if body[0] == 'S' {
				delete(p.prepared, string(name))
			} else {
				delete(p.portals, string(name))
			}
		}
	}
}

// single is the one statement of a Parse.
func single(sql []byte) statement {
	if all := scanSQL(sql); len(all) > 0 {
		return all[0]
	}
	return statement{}
}

func (p *postgres) query(body []byte, m *Message) {
	sql, _ := cstring(body)
	var own tokenSet
	for _, s := range scanSQL(sql) {
		if s.class == begins {
			p.act(begins, m)
		}
		for _, literal := range s.literals {
			own.add(literal)
			p.tokens.add(literal)
		}
		if s.class != begins {
			p.act(s.class, m)
		}
	}
	if m.Kind != "COMMIT" && m.Kind != "ROLLBACK" {
		m.Tokens = own.list
	}
}

// bind collects the parameters and remembers what the portal will do.
func (p *postgres) bind(body []byte, m *Message) {
	portal, rest := cstring(body)
	name, rest := cstring(rest)
	s := p.prepared[string(name)]
	p.portals[string(portal)] = s
	var own tokenSet
	for _, literal := range s.literals {
		own.add(literal)
	}
	formats, rest := int16Array(rest)
	if len(rest) < 2 {
		return
	}
	count := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	var text [36]byte
	for i := range count {
		if len(rest) < 4 {
			break
		}
		size := int(int32(binary.BigEndian.Uint32(rest)))
		rest = rest[4:]
		if size < 0 {
			continue
		}
		if size > len(rest) {
			break
		}
		value := rest[:size]
		rest = rest[size:]
		switch {
		case idLike(value, minSQLToken):
			own.add(value)
		case size == 16 && binaryFormat(formats, i):
			own.add(appendUUID(text[:0], value))
		}
	}
	m.Tokens = own.list
	for _, token := range own.list {
		p.tokens.addString(token)
	}
}

// int16Array splits off a counted array of 16-bit numbers, left as bytes.
func int16Array(b []byte) (array, rest []byte) {
	if len(b) < 2 {
		return nil, nil
	}
	n := 2 * int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil
	}
	return b[2 : 2+n], b[2+n:]
}

// binaryFormat says whether parameter i is binary: no formats mean text, one is for all.
func binaryFormat(formats []byte, i int) bool {
	switch {
	case len(formats) == 0:
		return false
	case len(formats) == 2:
		return formats[1] == 1
	default:
		return 2*i+1 < len(formats) && formats[2*i+1] == 1
	}
}

func (p *postgres) response(code byte, body []byte, m *Message) {
	switch code {
	case 'C':
		tag, _ := cstring(body)
		p.complete(string(tag), m)
	case 'E':
		p.failed = true
		m.Status = sqlState(body)
		m.Tokens = p.tokens.list[:len(p.tokens.list):len(p.tokens.list)]
		if len(p.endings) > 0 && p.endings[0].exchange == p.closed+1 {
			m.Tokens = p.endings[0].tokens
		}
	case 'G', 'W':
		p.copying = true
	case 'Z':
		if len(body) > 0 {
			p.ready(body[0], m)
		}
	}
}

// sqlState reads field C of an ErrorResponse.
func sqlState(body []byte) string {
	for len(body) > 1 {
		field := body[0]
		value, rest := cstring(body[1:])
		if field == 'C' {
			return string(value)
		}
		body = rest
	}
	return ""
}

// cstring splits off a zero-terminated string.
func cstring(b []byte) (s, rest []byte) {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		return b[:n], b[n+1:]
	}
	return b, nil
}

var requestKinds = [256]string{
	'B': "Bind", 'C': "Close", 'd': "CopyData", 'c': "CopyDone", 'f': "CopyFail", 'D': "Describe", 'E': "Execute",
	'H': "Flush", 'F': "FunctionCall", 'P': "Parse", 'p': "Password", 'Q': "Query", 'S': "Sync", 'X': "Terminate",
}

var responseKinds = [256]string{
	'R': "Authentication", 'K': "BackendKeyData", '2': "BindComplete", '3': "CloseComplete", 'C': "CommandComplete",
	'd': "CopyData", 'c': "CopyDone", 'G': "CopyInResponse", 'H': "CopyOutResponse", 'W': "CopyBothResponse",
	'D': "DataRow", 'I': "EmptyQueryResponse", 'E': "Error", 'V': "FunctionCallResponse",
	'v': "NegotiateProtocolVersion", 'n': "NoData", 'N': "Notice", 'A': "Notification", 't': "ParameterDescription",
	'S': "ParameterStatus", '1': "ParseComplete", 's': "PortalSuspended", 'Z': "ReadyForQuery", 'T': "RowDescription",
}
