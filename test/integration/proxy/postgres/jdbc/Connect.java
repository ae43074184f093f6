import java.sql.*;

/** What comes of connecting to each of the URLs, a line each. */
public class Connect {
  public static void main(String[] urls) {
    for (String url : urls) {
      try (Connection connection = DriverManager.getConnection(url); Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("select current_user")) {
        rows.next();
        System.out.println("ok " + rows.getString(1));
      } catch (SQLException error) {
        System.out.println(error.getSQLState() + " " + error.getMessage().replaceAll("\\s+", " "));
      }
    }
  }
}
