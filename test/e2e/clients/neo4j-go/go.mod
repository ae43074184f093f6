module podgate.test/neo4j-client

go 1.25.0

require github.com/neo4j/neo4j-go-driver/v5 v5.28.4
