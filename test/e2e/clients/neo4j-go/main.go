// As ../neo4j-client.ts: USER QUERY URI..., password in NEO4J_PASSWORD, a line of JSON each. The CA comes by SSL_CERT_FILE.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j/config"
)

func main() {
	for _, uri := range os.Args[3:] {
		ask(uri, os.Args[1], os.Args[2])
	}
}

func ask(uri, user, query string) {
	ctx := context.Background()
	driver, err := neo4j.NewDriverWithContext(uri, neo4j.BasicAuth(user, os.Getenv("NEO4J_PASSWORD"), ""),
		func(c *config.Config) { c.MaxTransactionRetryTime = 2 * time.Second })
	if err != nil {
		fail(err)
		return
	}
	defer driver.Close(ctx)
	result, err := neo4j.ExecuteQuery(ctx, driver, query, nil, neo4j.EagerResultTransformer,
		neo4j.ExecuteQueryWithDatabase("neo4j"))
	if err != nil {
		fail(err)
		return
	}
	var record map[string]any
	if len(result.Records) > 0 {
		record = result.Records[0].AsMap()
	}
	say(map[string]any{"record": record, "records": len(result.Records), "server": result.Summary.Server().Address()})
}

func fail(err error) {
	answer := map[string]any{"type": fmt.Sprintf("%T", err), "message": err.Error()}
	// What was tried again until the time was over: the last try says why.
	var limit *neo4j.TransactionExecutionLimit
	if errors.As(err, &limit) && len(limit.Errors) > 0 {
		err = limit.Errors[len(limit.Errors)-1]
	}
	var said *neo4j.Neo4jError
	if errors.As(err, &said) {
		answer["code"] = said.Code
		answer["retryable"] = neo4j.IsRetryable(said)
	}
	say(answer)
}

func say(answer map[string]any) {
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
