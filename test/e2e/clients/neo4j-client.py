"""As neo4j-client.ts: USER QUERY URI..., password in NEO4J_PASSWORD, a line of JSON each. The CA comes by SSL_CERT_FILE."""

import json
import os
import sys

import neo4j


def ask(uri, user, query):
    auth = (user, os.environ["NEO4J_PASSWORD"])
    with neo4j.GraphDatabase.driver(uri, auth=auth, max_transaction_retry_time=2) as driver:
        try:
            records, _, _ = driver.execute_query(query, database_="neo4j")
            return {"record": records[0].data() if records else None, "records": len(records)}
        except Exception as error:
            answer = {"type": type(error).__name__, "message": str(error)}
            if isinstance(error, neo4j.exceptions.Neo4jError):
                answer["code"] = error.code
                answer["retryable"] = error.is_retryable()
            return answer


for each in sys.argv[3:]:
    print(json.dumps(ask(each, sys.argv[1], sys.argv[2])))
