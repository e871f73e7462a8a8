// Command stock is the stock service; package services lists its environment variables.
package main

import (
	"context"
	"os"

	"github.com/ordeal-chaos/ordeal/services/stock"
)

func main() { os.Exit(stock.Main(context.Background())) }
