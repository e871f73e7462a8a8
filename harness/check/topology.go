package check

import (
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Topics of the reference system.
const (
	orderTopic   = "order-events"
	stockTopic   = "stock-events"
	paymentTopic = "payment-events"
)

// reference is what a header that names no services means.
var reference = []history.Service{
	{Name: "order", Database: "orders", Group: "order", Consumes: []string{stockTopic}, Produces: []string{orderTopic}},
	{Name: "stock", Database: "stock", Group: "stock", Consumes: []string{orderTopic}, Produces: []string{stockTopic}},
}

func (v *View) services() []history.Service {
	if len(v.Header.Services) == 0 {
		return reference
	}
	return v.Header.Services
}

// producer names the service that writes a topic, empty when none says so.
func (v *View) producer(topic string) string {
	for _, service := range v.services() {
		if slices.Contains(service.Produces, topic) {
			return service.Name
		}
	}
	return ""
}

// serviceOf names the service that a process belongs to, empty when it is none's.
func (v *View) serviceOf(process string) string {
	for _, service := range v.services() {
		if replicaOf(process, service.Name) {
			return service.Name
		}
	}
	return ""
}

// clientOf says whether a link starts at a replica of the service: "stock-2->postgres" is of stock.
func clientOf(link, service string) bool {
	client, _, _ := strings.Cut(link, "->")
	return replicaOf(client, service)
}

// replicaOf says whether a process is the service itself or a replica of it: "stock", "stock-2".
func replicaOf(process, service string) bool {
	replica, ok := strings.CutPrefix(process, service)
	if !ok || service == "" {
		return false
	}
	number, dashed := strings.CutPrefix(replica, "-")
	return replica == "" || dashed && number != "" && strings.Trim(number, "0123456789") == ""
}
