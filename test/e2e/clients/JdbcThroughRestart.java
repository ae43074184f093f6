import java.sql.*;

/**
 * Usage: JdbcThroughRestart URL. Prints `connected`, then for each line on stdin the outcome of a query on the same
 * connection: `ok`, or the SQLSTATE and message of the error, after which it connects again.
 */
public class JdbcThroughRestart {
  public static void main(String[] args) throws Exception {
    var input = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    Connection connection = DriverManager.getConnection(args[0]);
    System.out.println("connected");
    while (input.readLine() != null) {
      try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("select 1")) {
        rows.next();
        System.out.println("ok");
      } catch (SQLException error) {
        System.out.println(error.getSQLState() + " " + error.getMessage().replaceAll("\\s+", " "));
        connection = DriverManager.getConnection(args[0]);
      }
    }
  }
}
