package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// askTimeout bounds the wait for the brokers' answers: one that is paused gives none.
const askTimeout = 2 * time.Second

// errNoSuchRequest is what a broker says of a request that it does not know.
var errNoSuchRequest = errors.New("the broker does not know this request")

// view is what one broker says: nodes, as of an epoch where there is one.
type view struct {
	epoch int32
	nodes []int32 // -1 for one that there is not
}

// ask puts the request to every broker at once, and names the nodes of the view that [poll] settles on.
func (e *Env) ask(ctx context.Context, request func() kmsg.Request, read func(kmsg.Response) (view, error)) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	known := map[int32]string{}
	var questions []func(context.Context) (view, error)
	for _, broker := range e.stack.Brokers() {
		known[broker.NodeID()] = broker.Name()
		questions = append(questions, func(ctx context.Context) (view, error) {
			if !broker.Alive() { // no machine is there to refuse the connection
				return view{}, fmt.Errorf("ask %s: it does not run", broker.Name())
			}
			response, err := e.request(ctx, broker.Addr(), request())
			if err != nil {
				return view{}, fmt.Errorf("ask %s: %w", broker.Name(), err)
			}
			return read(response)
		})
	}
	settled, err := poll(ctx, questions)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, node := range settled.nodes {
		name, ok := known[node]
		if !ok {
			return nil, errors.New("there is none at the moment")
		}
		names = append(names, name)
	}
	return names, nil
}

// poll asks all at once. A view that more than half of them share is taken without waiting for the rest, who
// may be paused. Else it is the view of the latest epoch: a broker that is cut from the others goes on
// believing what it knew. The error joins theirs when nobody has an answer.
func poll(ctx context.Context, questions []func(context.Context) (view, error)) (view, error) {
	ctx, cancel := context.WithCancel(ctx)
	type answer struct {
		view
		err error
	}
	answers := make(chan answer, len(questions))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, question := range questions {
		asking.Go(func() {
			v, err := question(ctx)
			answers <- answer{v, err}
		})
	}
	var views []view
	var errs []error
	for range questions {
		a := <-answers
		if a.err != nil {
			errs = append(errs, a.err)
			continue
		}
		views = append(views, a.view)
		if 2*votes(views, a.view) > len(questions) {
			return a.view, nil
		}
	}
	if len(views) == 0 {
		return view{}, errors.Join(errs...)
	}
	return slices.MaxFunc(views, func(a, b view) int { return int(a.epoch) - int(b.epoch) }), nil
}

// votes counts the views that name the same nodes.
func votes(views []view, of view) int {
	n := 0
	for _, v := range views {
		if slices.Equal(v.nodes, of.nodes) {
			n++
		}
	}
	return n
}

// request puts one request to the broker at addr, whatever the others say of it.
func (e *Env) request(ctx context.Context, addr string, request kmsg.Request) (kmsg.Response, error) {
	client, err := e.Kafka(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	broker := client.SeedBrokers()[0]
	response, err := broker.Request(ctx, request)
	if err == nil {
		return response, nil
	}
	// The client refuses to send what the broker does not offer, with an error of no type.
	offered, asking := broker.Request(ctx, kmsg.NewPtrApiVersionsRequest())
	if asking == nil && !slices.ContainsFunc(offered.(*kmsg.ApiVersionsResponse).ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		return k.ApiKey == request.Key()
	}) {
		return nil, errNoSuchRequest
	}
	return nil, err
}
