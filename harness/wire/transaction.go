package wire

import "time"

// ending is a request that ends a transaction, waiting for the answer that says how.
type ending struct {
	class    class
	implicit bool
	exchange int64
	tokens   []string
	began    time.Duration
}

// act applies a statement to the predicted transaction state.
func (p *postgres) act(c class, m *Message) {
	switch c {
	case begins:
		if !p.inBlock {
			p.inBlock, p.began, p.tokens = true, p.options.Now(), tokenSet{}
		}
		m.Kind = "BEGIN"
	case writes:
		p.wrote = p.wrote || !p.inBlock
	case commits, rollsBack:
		e := ending{class: c, exchange: p.opened, tokens: p.tokens.list, began: p.began}
		p.endings = append(p.endings, e)
		p.inBlock, p.began, p.tokens = false, 0, tokenSet{}
		m.Kind = "COMMIT"
		if c == rollsBack {
			m.Kind = "ROLLBACK"
		}
		m.Tokens, m.Began = e.tokens, e.began
	case rollsBackTo:
		p.endings = append(p.endings, ending{class: c, exchange: p.opened})
	}
}

// endBatch is the point at which what was written outside a block commits.
func (p *postgres) endBatch(m *Message) {
	p.inBatch = false
	if p.wrote && !p.inBlock {
		e := ending{class: commits, implicit: true, exchange: p.opened, tokens: p.tokens.list}
		p.endings = append(p.endings, e)
		if m.Kind != "COMMIT" {
			m.Kind, m.Status, m.Tokens = "COMMIT", "implicit", e.tokens
		}
	}
	p.wrote = false
	if !p.inBlock {
		p.tokens = tokenSet{}
	}
}

// complete pairs a tag that ends a transaction with the request that asked for it.
func (p *postgres) complete(tag string, m *Message) {
	if tag != "COMMIT" && tag != "ROLLBACK" {
		return
	}
	if len(p.endings) == 0 || p.endings[0].implicit {
		m.Kind = tag // nobody asked that we know of: a procedure, or a statement we misread
		return
	}
	e := p.endings[0]
	p.endings = p.endings[1:]
	switch e.class {
	case rollsBackTo:
		return
	case commits:
		m.Kind = "COMMIT"
		if tag == "ROLLBACK" {
			m.Status = "ROLLBACK"
		}
	default:
		m.Kind = "ROLLBACK"
	}
	m.Tokens, m.Began = e.tokens, e.began
}

// ready ends an exchange, and corrects the predicted state when nothing else is on its way.
func (p *postgres) ready(status byte, m *Message) {
	m.Status = readyStatus(status)
	if p.closed < p.opened {
		p.closed++
		m.Closes = p.closed
	}
	var undone *ending
	for len(p.endings) > 0 && p.endings[0].exchange <= p.closed {
		e := p.endings[0]
		p.endings = p.endings[1:]
		if e.implicit && !p.failed {
			m.Kind, m.Status, m.Tokens = "COMMIT", "implicit", e.tokens
		} else if e.class == commits {
			undone = &e
		}
	}
	p.failed = false
	if p.closed != p.opened || p.inBatch {
		return
	}
	switch inBlock := status != 'I'; {
	case inBlock && !p.inBlock:
		p.inBlock, p.began, p.tokens = true, p.options.Now(), tokenSet{}
		if undone != nil { // an earlier error of the batch made the server skip the COMMIT
			p.began, p.tokens = undone.began, tokenSet{list: undone.tokens}
		}
	case !inBlock && p.inBlock:
		p.inBlock, p.began, p.tokens = false, 0, tokenSet{}
	}
}

func readyStatus(status byte) string {
	switch status {
	case 'I':
		return "I"
	case 'T':
		return "T"
	default:
		return "E"
	}
}
