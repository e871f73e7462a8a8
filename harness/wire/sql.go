package wire

import "bytes"

// class is what a statement does to the transaction that it runs in.
type class int

const (
	reads class = iota
	writes
	begins
	commits
	rollsBack
	rollsBackTo // a savepoint: the transaction goes on
)

// statement is one SQL statement as far as the tap cares.
type statement struct {
	class    class
	literals [][]byte // id-like quoted literals
}

// scanSQL cuts text at semicolons and classifies each statement. It knows quotes, dollar quotes and
// comments, and no grammar: a SELECT that calls a writing function is taken for a read.
func scanSQL(text []byte) []statement {
	var found []statement
	for len(text) > 0 {
		s, n, empty := scanStatement(text)
		if !empty {
			found = append(found, s)
		}
		text = text[n:]
	}
	return found
}

// scanStatement reads one statement and returns its length including the semicolon.
func scanStatement(text []byte) (s statement, n int, empty bool) {
	var words int
	var first, second string
	for n < len(text) {
		switch c := text[n]; {
		case c == ';':
			s.class = classify(first, second, s.class)
			return s, n + 1, words == 0
		case c == '\'':
			end := quoted(text[n:], '\'', n > 0 && (text[n-1] == 'e' || text[n-1] == 'E'))
			if body := text[n+1 : max(n+end-1, n+1)]; idLike(body, minSQLToken) {
				s.literals = append(s.literals, bytes.Clone(body))
			}
			n += end
		case c == '"':
			n += quoted(text[n:], '"', false)
		case c == '$':
			n += dollarQuoted(text[n:])
		case c == '-' && bytes.HasPrefix(text[n:], []byte("--")):
			n += lineEnd(text[n:])
		case c == '/' && bytes.HasPrefix(text[n:], []byte("/*")):
			n += comment(text[n:])
		case letter(c):
			end := n
			for end < len(text) && (letter(text[end]) || text[end] >= '0' && text[end] <= '9') {
				end++
			}
			words++
			word := keyword(text[n:end])
			switch words {
			case 1:
				first = word
			case 2:
				second = word
			}
			if first == "WITH" && writing(word) {
				s.class = writes
			}
			n = end
		default:
			n++
		}
	}
	s.class = classify(first, second, s.class)
	return s, n, words == 0
}

// keyword is the word in capitals, or "" for a word too long to matter.
func keyword(word []byte) string {
	if len(word) > 12 {
		return ""
	}
	return string(bytes.ToUpper(word))
}

func writing(word string) bool {
	return word == "INSERT" || word == "UPDATE" || word == "DELETE" || word == "MERGE"
}

func classify(first, second string, inner class) class {
	switch first {
	case "BEGIN":
		return begins
	case "START":
		if second == "TRANSACTION" {
			return begins
		}
		return reads
	case "COMMIT", "END":
		if second == "PREPARED" {
			return writes
		}
		return commits
	case "ROLLBACK", "ABORT":
		switch second {
		case "TO":
			return rollsBackTo
		case "PREPARED":
			return writes
		}
		return rollsBack
	case "PREPARE":
		// PREPARE TRANSACTION ends the transaction here without making it visible.
		if second == "TRANSACTION" {
			return rollsBack
		}
		return reads
	case "WITH":
		return inner
	case "SELECT", "SHOW", "SET", "RESET", "VALUES", "TABLE", "EXPLAIN", "FETCH", "MOVE", "DECLARE", "CLOSE",
		"LISTEN", "UNLISTEN", "DISCARD", "DEALLOCATE", "SAVEPOINT", "RELEASE", "LOCK", "CHECKPOINT", "":
		return reads
	default:
		return writes
	}
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

// quoted returns the length of the quoted text at the start of b; a doubled quote stands for itself.
func quoted(b []byte, quote byte, backslash bool) int {
	for i := 1; i < len(b); i++ {
		switch {
		case backslash && b[i] == '\\':
			i++
		case b[i] == quote && i+1 < len(b) && b[i+1] == quote:
			i++
		case b[i] == quote:
			return i + 1
		}
	}
	return len(b)
}

// dollarQuoted returns the length of $tag$…$tag$, or 1 when the dollar begins no quote.
func dollarQuoted(b []byte) int {
	end := 1
	for end < len(b) && (letter(b[end]) || end > 1 && b[end] >= '0' && b[end] <= '9') {
		end++
	}
	if end == len(b) || b[end] != '$' {
		return 1
	}
	tag := b[:end+1]
	rest := bytes.Index(b[len(tag):], tag)
	if rest < 0 {
		return len(b)
	}
	return rest + 2*len(tag)
}

func lineEnd(b []byte) int {
	if n := bytes.IndexByte(b, '\n'); n >= 0 {
		return n + 1
	}
	return len(b)
}

// comment returns the length of a block comment; they nest in Postgres.
func comment(b []byte) int {
	depth := 0
	for i := 0; i+1 < len(b); i++ {
		switch {
		case b[i] == '/' && b[i+1] == '*':
			depth++
			i++
		case b[i] == '*' && b[i+1] == '/':
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}
