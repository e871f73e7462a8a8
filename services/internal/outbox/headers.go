package outbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/ordeal-chaos/ordeal/services/internal/broker"
)

// Headers are stored as one JSON object: {"event_id": "…"}. A value that is no text is {"base64": "…"}, and a key
// that repeats has an array of values, so that a dead letter keeps whatever the original carried, except for the order
// of different keys.

type binary struct {
	Base64 []byte `json:"base64"`
}

func encodeHeaders(headers []broker.Header) string {
	values := map[string][]any{}
	for _, h := range headers {
		var value any = binary{h.Value}
		if text := string(h.Value); h.Value != nil && storable(text) {
			value = text
		}
		values[h.Key] = append(values[h.Key], value)
	}
	object := make(map[string]any, len(values))
	for key, list := range values {
		if !storable(key) {
			key = fmt.Sprintf("%q", key) // a JSON key can only be text
		}
		object[key] = list
		if len(list) == 1 {
			object[key] = list[0]
		}
	}
	data, err := json.Marshal(object)
	if err != nil {
		panic(err) // strings and bytes always encode
	}
	return string(data)
}

func decodeHeaders(data []byte) ([]broker.Header, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, fmt.Errorf("decode headers: %w", err)
	}
	var headers []broker.Header
	for _, key := range slices.Sorted(maps.Keys(object)) {
		list := []json.RawMessage{object[key]}
		if object[key][0] == '[' {
			if err := json.Unmarshal(object[key], &list); err != nil {
				return nil, fmt.Errorf("decode header %s: %w", key, err)
			}
		}
		for _, data := range list {
			value, err := decodeValue(data)
			if err != nil {
				return nil, fmt.Errorf("decode header %s: %w", key, err)
			}
			headers = append(headers, broker.Header{Key: key, Value: value})
		}
	}
	return headers, nil
}

func decodeValue(data json.RawMessage) ([]byte, error) {
	if data[0] == '"' {
		var text string
		err := json.Unmarshal(data, &text)
		return []byte(text), err
	}
	var value binary
	err := json.Unmarshal(data, &value)
	return value.Base64, err
}
