import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.*;
import java.util.ArrayList;

/**
 * As postgres-pool.py: QUERY, with the PG* variables of libpq. The pool is HikariCP; it does not open connections
 * for nobody, by which it would wake a sleeping pod (docs/sleeping.md).
 */
public class PostgresPool {
  static final int TRIES = 20;

  public static void main(String[] args) throws Exception {
    var env = System.getenv();
    String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE")
        + "?sslmode=" + env.get("PGSSLMODE") + "&sslrootcert=" + env.get("PGSSLROOTCERT");
    var config = new HikariConfig();
    config.setJdbcUrl(url);
    config.setUsername(env.get("PGUSER"));
    config.setPassword(env.get("PGPASSWORD"));
    config.setMinimumIdle(0);
    var input = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    try (var pool = new HikariDataSource(config)) {
      var taken = new ArrayList<Connection>();
      while (taken.size() < 10) taken.add(pool.getConnection());
      for (Connection each : taken) each.close();
      System.out.println("{\"ready\":true}");
      for (String line = input.readLine(); line != null; line = input.readLine()) {
        var failures = new ArrayList<String>();
        String word = null;
        while (word == null && failures.size() < TRIES) {
          try (Connection each = line.equals("pool") ? pool.getConnection()
                  : DriverManager.getConnection(url, env.get("PGUSER"), env.get("PGPASSWORD"));
              Statement statement = each.createStatement();
              ResultSet rows = statement.executeQuery(args[0])) {
            rows.next();
            word = rows.getString(1);
          } catch (SQLException error) {
            failures.add("\"" + error.getSQLState() + "\"");
          }
        }
        System.out.println("{\"word\":" + (word == null ? "null" : "\"" + word + "\"") + ",\"failures\":" + failures + "}");
      }
    }
  }
}
