import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.*;
import java.util.HexFormat;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** What a program does with pgjdbc, a line for each result: the same whatever stands between it and the server. Arguments: URL, then steps, or all. */
public class Behaviours {
  interface Step {
    String run(Connection connection) throws Exception;
  }

  static String url;
  static List<String> wanted;

  public static void main(String[] arguments) throws Exception {
    url = arguments[0];
    wanted = List.of(arguments).subList(1, arguments.length);
    try (Connection connection = connect()) {
      step("types", connection, Behaviours::types);
      step("generated keys", connection, Behaviours::generatedKeys);
      step("copy", connection, Behaviours::copy);
      step("large object", connection, Behaviours::largeObject);
      step("cursor", connection, Behaviours::cursor);
      step("errors", connection, Behaviours::errors);
      step("warnings", connection, Behaviours::warnings);
      step("cancel", connection, Behaviours::cancel);
      step("query timeout", connection, Behaviours::queryTimeout);
      step("notifications", connection, Behaviours::notifications);
      step("big value", connection, Behaviours::bigValue);
      step("still valid", connection, (one) -> String.valueOf(one.isValid(10)));
    }
  }

  static Connection connect() throws SQLException {
    return DriverManager.getConnection(url);
  }

  static void step(String name, Connection connection, Step step) {
    if (!wanted.isEmpty() && !wanted.contains(name)) return;
    try {
      System.out.println(name + ": " + step.run(connection));
    } catch (Exception error) {
      System.out.println(name + ": FAILED " + error);
    }
  }

  static void execute(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  static String digest(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  /** Often enough that the driver prepares it on the server and asks for binary. */
  static String types(Connection connection) throws Exception {
    StringBuilder seen = new StringBuilder();
    try (PreparedStatement statement = connection.prepareStatement("select ?::int, ?::numeric, ?::text, ?::bytea, ?::timestamptz at time zone 'UTC', ?::int[], ?::jsonb, ?::text")) {
      for (int round = 0; round < 8; round++) {
        statement.setInt(1, -round);
        statement.setBigDecimal(2, new BigDecimal("12345678901234567890.123456789"));
        statement.setString(3, "Größe \u65e5\u672c \ud83d\ude00 ' \\ " + round);
        statement.setBytes(4, new byte[] {0, (byte) 255, (byte) round});
        statement.setString(5, "2026-02-28 12:00:00.123456+01");
        statement.setArray(6, connection.createArrayOf("int", new Integer[] {1, null, round}));
        statement.setString(7, "{\"a\": [1, 2]}");
        statement.setNull(8, Types.VARCHAR);
        try (ResultSet rows = statement.executeQuery()) {
          while (rows.next()) {
            for (int column = 1; column <= 8; column++) seen.append(column == 4 ? HexFormat.of().formatHex(rows.getBytes(4)) : rows.getString(column)).append('|');
          }
        }
      }
    }
    return digest(seen.toString().getBytes(StandardCharsets.UTF_8)) + " " + seen.length();
  }

  static String generatedKeys(Connection connection) throws Exception {
    execute(connection, "create temp table kept (id serial primary key, text text)");
    int sum = 0;
    try (PreparedStatement statement = connection.prepareStatement("insert into kept (text) values (?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int row = 0; row < 500; row++) {
        statement.setString(1, "row " + row);
        statement.addBatch();
      }
      statement.executeBatch();
      try (ResultSet keys = statement.getGeneratedKeys()) {
        while (keys.next()) sum += keys.getInt(1);
      }
    }
    return String.valueOf(sum);
  }

  static String copy(Connection connection) throws Exception {
    execute(connection, "create temp table copied (line text)");
    StringBuilder lines = new StringBuilder();
    for (int line = 0; line < 200_000; line++) lines.append("line ").append(line).append('\n');
    byte[] bytes = lines.toString().getBytes(StandardCharsets.UTF_8);
    var manager = connection.unwrap(PGConnection.class).getCopyAPI();
    long rows = manager.copyIn("copy copied from stdin", new ByteArrayInputStream(bytes));
    ByteArrayOutputStream back = new ByteArrayOutputStream();
    manager.copyOut("copy copied to stdout", back);
    return rows + " " + java.util.Arrays.equals(bytes, back.toByteArray());
  }

  static String largeObject(Connection connection) throws Exception {
    byte[] bytes = new byte[5_000_000];
    new java.util.Random(7).nextBytes(bytes);
    connection.setAutoCommit(false);
    try {
      LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
      long id = manager.createLO();
      try (LargeObject object = manager.open(id, LargeObjectManager.WRITE); OutputStream stream = object.getOutputStream()) {
        stream.write(bytes);
      }
      byte[] back;
      try (LargeObject object = manager.open(id, LargeObjectManager.READ)) {
        back = object.getInputStream().readAllBytes();
      }
      manager.delete(id);
      connection.commit();
      return digest(bytes).equals(digest(back)) + " " + back.length;
    } finally {
      connection.setAutoCommit(true);
    }
  }

  static String cursor(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    long sum = 0;
    try (Statement statement = connection.createStatement()) {
      statement.setFetchSize(97);
      try (ResultSet rows = statement.executeQuery("select n from generate_series(1, 20000) n")) {
        while (rows.next()) sum += rows.getInt(1);
      }
    } finally {
      connection.commit();
      connection.setAutoCommit(true);
    }
    return String.valueOf(sum);
  }

  static String errors(Connection connection) throws Exception {
    StringBuilder seen = new StringBuilder();
    for (String sql : new String[] {"select 1 / 0", "select nothing", "insert into kept (id) values (1)", "select 'x"}) {
      try {
        execute(connection, sql);
      } catch (SQLException error) {
        seen.append(error.getSQLState()).append(' ').append(error.getMessage().replace('\n', ' ')).append(" / ");
      }
    }
    return seen.toString();
  }

  static String warnings(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.execute("do $$ begin raise notice 'a notice'; raise warning 'a warning'; end $$");
      SQLWarning first = statement.getWarnings();
      return first.getMessage() + ", " + first.getNextWarning().getMessage();
    }
  }

  static String cancel(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      Thread canceller = new Thread(() -> {
        try (Connection watcher = connect(); Statement look = watcher.createStatement()) {
          for (boolean runs = false; !runs; ) {
            try (ResultSet found = look.executeQuery("select 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'")) {
              runs = found.next();
            }
            Thread.sleep(20);
          }
          statement.cancel();
        } catch (Exception error) {
          System.out.println("canceller: " + error);
        }
      });
      canceller.start();
      long sinceMs = System.currentTimeMillis();
      try {
        statement.execute("select pg_sleep(60)");
        return "not cancelled";
      } catch (SQLException error) {
        canceller.join();
        return error.getSQLState() + (System.currentTimeMillis() - sinceMs < 30_000 ? " in time" : " late");
      }
    }
  }

  static String queryTimeout(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      statement.execute("select pg_sleep(60)");
      return "not cancelled";
    } catch (SQLException error) {
      return error.getSQLState();
    }
  }

  static String notifications(Connection connection) throws Exception {
    execute(connection, "listen news");
    try (Connection other = connect()) {
      execute(other, "notify news, 'hello'");
    }
    PGConnection listening = connection.unwrap(PGConnection.class);
    for (int look = 0; look < 50; look++) {
      PGNotification[] notes = listening.getNotifications(1_000);
      if (notes != null && notes.length > 0) return notes[0].getName() + " " + notes[0].getParameter();
    }
    return "none";
  }

  static String bigValue(Connection connection) throws Exception {
    String value = "x\u00e4".repeat(1_000_000);
    try (PreparedStatement statement = connection.prepareStatement("select length(?), ?")) {
      statement.setString(1, value);
      statement.setString(2, value);
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        return rows.getInt(1) + " " + rows.getString(2).equals(value);
      }
    }
  }
}
