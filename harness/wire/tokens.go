package wire

import "encoding/hex"

// maxTokens bounds what one message or transaction carries.
const maxTokens = 4096

// tokenSet collects ids in the order of their first appearance.
type tokenSet struct {
	list []string
	seen map[string]struct{} // only once the list is long
}

// add copies the id unless it is there already.
func (t *tokenSet) add(id []byte) {
	if len(t.list) >= maxTokens || t.has(id) {
		return
	}
	t.push(string(id))
}

func (t *tokenSet) addString(id string) {
	if len(t.list) >= maxTokens || t.has([]byte(id)) {
		return
	}
	t.push(id)
}

func (t *tokenSet) push(id string) {
	t.list = append(t.list, id)
	if t.seen != nil {
		t.seen[id] = struct{}{}
	} else if len(t.list) > 16 {
		t.seen = make(map[string]struct{}, 64)
		for _, old := range t.list {
			t.seen[old] = struct{}{}
		}
	}
}

func (t *tokenSet) has(id []byte) bool {
	if t.seen != nil {
		_, ok := t.seen[string(id)]
		return ok
	}
	for _, old := range t.list {
		if old == string(id) {
			return true
		}
	}
	return false
}

// Lengths of ids. SQL parameters below 6 bytes are quantities and states far more often than ids.
const (
	minToken    = 1
	minSQLToken = 6
	maxToken    = 64
)

// idLike says whether b reads like an id: shortest to 64 bytes of letters, digits and _ . : @ / -.
func idLike(b []byte, shortest int) bool {
	if len(b) < shortest || len(b) > maxToken {
		return false
	}
	for _, c := range b {
		if !idByte[c] {
			return false
		}
	}
	return true
}

var idByte = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	for _, c := range "_.:@/-" {
		is[c] = true
	}
	return is
}()

// appendUUID appends the canonical text of a 16-byte uuid.
func appendUUID(to []byte, b []byte) []byte {
	for i, part := range [...][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:16]} {
		if i > 0 {
			to = append(to, '-')
		}
		to = hex.AppendEncode(to, part)
	}
	return to
}
