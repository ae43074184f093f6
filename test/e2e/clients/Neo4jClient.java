import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.neo4j.driver.AuthTokens;
import org.neo4j.driver.Config;
import org.neo4j.driver.GraphDatabase;
import org.neo4j.driver.QueryConfig;
import org.neo4j.driver.exceptions.Neo4jException;
import org.neo4j.driver.exceptions.RetryableException;

/** As neo4j-client.ts: USER QUERY URI..., password in NEO4J_PASSWORD, a line of JSON each. The CA comes by javax.net.ssl.trustStore. */
public class Neo4jClient {
  public static void main(String[] args) {
    for (int at = 2; at < args.length; at++) ask(args[at], args[0], args[1]);
  }

  private static void ask(String uri, String user, String query) {
    var auth = AuthTokens.basic(user, System.getenv("NEO4J_PASSWORD"));
    var config = Config.builder().withMaxTransactionRetryTime(2, TimeUnit.SECONDS).build();
    try (var driver = GraphDatabase.driver(uri, auth, config)) {
      var database = QueryConfig.builder().withDatabase("neo4j").build();
      var result = driver.executableQuery(query).withConfig(database).execute();
      var records = result.records();
      var first = new StringBuilder("null");
      if (!records.isEmpty()) {
        first = new StringBuilder("{");
        for (Map.Entry<String, Object> entry : records.get(0).asMap().entrySet()) {
          if (first.length() > 1) first.append(",");
          var value = entry.getValue();
          first.append(text(entry.getKey())).append(":").append(value instanceof Number ? value : text(value));
        }
        first.append("}");
      }
      var server = result.summary().server().address();
      System.out.println(
          "{\"record\":" + first + ",\"records\":" + records.size() + ",\"server\":" + text(server) + "}");
    } catch (Exception error) {
      var code = error instanceof Neo4jException said ? ",\"code\":" + text(said.code()) : "";
      System.out.println(
          "{\"type\":" + text(error.getClass().getSimpleName()) + ",\"message\":" + text(error.getMessage()) + code
              + ",\"retryable\":" + (error instanceof RetryableException) + "}");
    }
  }

  private static String text(Object value) {
    return "\"" + String.valueOf(value).replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
  }
}
