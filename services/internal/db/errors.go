package db

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Class says what trying again can be expected to do.
type Class int

// Classes of errors.
const (
	// Unavailable: the server, the broker or the path to it failed, whatever was asked. It will come back.
	Unavailable Class = iota
	// Contended: somebody else was in the way of this work.
	Contended
	// Refused: the server understood, and will say no again.
	Refused
)

// ErrContended is wrapped by errors of callers that are of the class Contended.
var ErrContended = errors.New("contended")

// Classify returns the class of an error of Postgres. An error that did not come from the server's mouth is
// Unavailable: sockets fail in too many ways to list.
func Classify(err error) Class {
	if errors.Is(err, pgx.ErrTxCommitRollback) || errors.Is(err, ErrContended) {
		return Contended
	}
	var scan pgx.ScanArgError
	if errors.As(err, &scan) {
		return Refused
	}
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return Unavailable
	}
	switch code := answer.Code; {
	case code == "55P03", code == "40001", code == "40P01", code == "57014":
		return Contended // lock timeout, serialization failure, deadlock, statement timeout
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57P"),
		strings.HasPrefix(code, "58"), code == "25P03", code == "25006":
		return Unavailable // connection, resources, shutdown, system, session ended while idle, read-only standby
	default:
		return Refused
	}
}
