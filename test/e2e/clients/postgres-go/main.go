// As ../postgres-pool.py: QUERY, with the PG* variables of libpq. The pool is pgxpool.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const tries = 20

// Go's own resolver asks name servers for *.localhost.
func lookup(context.Context, string) ([]string, error) {
	return []string{"127.0.0.1"}, nil
}

func main() {
	ctx := context.Background()
	query := os.Args[1]
	config, err := pgxpool.ParseConfig("pool_max_conns=10")
	check(err)
	config.ConnConfig.LookupFunc = lookup
	pool, err := pgxpool.NewWithConfig(ctx, config)
	check(err)
	defer pool.Close()
	var taken []*pgxpool.Conn
	for range 10 {
		each, err := pool.Acquire(ctx)
		check(err)
		taken = append(taken, each)
	}
	for _, each := range taken {
		each.Release()
	}
	say(map[string]any{"ready": true})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		failures := []string{}
		var word *string
		for word == nil && len(failures) < tries {
			var text string
			if err := ask(ctx, pool, lines.Text(), query, &text); err != nil {
				failures = append(failures, failure(err))
			} else {
				word = &text
			}
		}
		say(map[string]any{"word": word, "failures": failures})
	}
}

func ask(ctx context.Context, pool *pgxpool.Pool, line, query string, text *string) error {
	if line == "pool" {
		return pool.QueryRow(ctx, query).Scan(text)
	}
	each, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer each.Close(ctx)
	return each.QueryRow(ctx, query).Scan(text)
}

func failure(err error) string {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Code
	}
	return fmt.Sprintf("%T", err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func say(answer map[string]any) {
	text, err := json.Marshal(answer)
	check(err)
	fmt.Println(string(text))
}
