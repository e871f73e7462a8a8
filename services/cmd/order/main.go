// Command order is the order service; package services lists its environment variables.
package main

import (
	"context"
	"os"

	"github.com/ordeal-chaos/ordeal/services/order"
)

func main() { os.Exit(order.Main(context.Background())) }
