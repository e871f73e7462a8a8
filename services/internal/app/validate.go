package app

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"

	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// Limits of what a client may ask for.
const (
	maxLines = 100
	maxQty   = 1_000_000
	maxKey   = 128
)

// An id travels in paths, headers, keys and logs.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// ValidID reports whether id can name an order, a product or a reservation.
func ValidID(id string) bool { return validID.MatchString(id) }

// Goods are the two forms in which a request names products: one product, or lines.
type Goods struct {
	ProductID string      `json:"productId,omitempty"`
	Qty       int64       `json:"qty,omitempty"`
	Lines     []GoodsLine `json:"lines,omitempty"`
}

// GoodsLine is one line of a request.
type GoodsLine struct {
	ProductID string `json:"productId"`
	Qty       int64  `json:"qty"`
}

// GoodsOf returns what asks for these lines.
func GoodsOf(lines []events.Line) Goods {
	var g Goods
	for _, line := range lines {
		g.Lines = append(g.Lines, GoodsLine{line.ProductID, line.Qty})
	}
	return g
}

// EventLines returns the lines, numbered from 1. The error is a Problem.
func (g Goods) EventLines() ([]events.Line, error) {
	asked := g.Lines
	if g.ProductID != "" || g.Qty != 0 {
		if len(asked) > 0 {
			return nil, Refuse(http.StatusBadRequest, "give productId and qty, or lines, and not both")
		}
		asked = []GoodsLine{{g.ProductID, g.Qty}}
	}
	if len(asked) == 0 || len(asked) > maxLines {
		return nil, Refuse(http.StatusBadRequest, "an order has 1 to %d lines, and not %d", maxLines, len(asked))
	}
	lines := make([]events.Line, len(asked))
	for i, line := range asked {
		if !ValidID(line.ProductID) {
			return nil, Refuse(http.StatusBadRequest, "line %d: productId %q is not valid", i+1, line.ProductID)
		}
		if line.Qty < 1 || line.Qty > maxQty {
			return nil, Refuse(http.StatusBadRequest, "line %d: qty %d is not within 1 to %d", i+1, line.Qty, maxQty)
		}
		lines[i] = events.Line{LineNo: i + 1, ProductID: line.ProductID, Qty: line.Qty}
	}
	return lines, nil
}

// ByProduct returns lines in the order in which stock rows are locked everywhere, so that transactions with common
// products never deadlock.
func ByProduct(lines []events.Line) []events.Line {
	return slices.SortedStableFunc(slices.Values(lines), func(a, b events.Line) int {
		return cmp.Compare(a.ProductID, b.ProductID)
	})
}

// IdempotencyKey returns the key of a request, or nil. The error is a Problem.
func IdempotencyKey(r *http.Request) (*string, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return nil, nil
	}
	for i := range len(key) {
		if len(key) > maxKey || key[i] <= ' ' || key[i] > '~' {
			return nil, Refuse(http.StatusBadRequest, "Idempotency-Key is not 1 to %d visible ASCII characters", maxKey)
		}
	}
	return &key, nil
}

// Fingerprint returns a digest that two requests share only when they ask for the same.
func Fingerprint(request any) string {
	data, err := json.Marshal(request)
	if err != nil {
		panic(err) // requests were decoded from JSON
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
