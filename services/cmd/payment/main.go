// Command payment is the payment service; package services lists its environment variables.
package main

import (
	"context"
	"os"

	"github.com/ordeal-chaos/ordeal/services/payment"
)

func main() { os.Exit(payment.Main(context.Background())) }
