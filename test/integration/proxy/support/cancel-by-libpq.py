"""Runs SQL through libpq 17 or later and cancels it as soon as a line comes in; prints how the statement ended.

usage: cancel-by-libpq.py LIBRARY CONNINFO SQL encrypted|plain

"encrypted" is PQcancelBlocking, which connects like the session did; "plain" is PQcancel of old, which never uses TLS.
"""
import ctypes
import sys

library, conninfo, sql, way = sys.argv[1:]
pq = ctypes.CDLL(library)
for name in ["PQconnectdb", "PQgetResult", "PQcancelCreate", "PQgetCancel"]:
    getattr(pq, name).restype = ctypes.c_void_p
for name in ["PQerrorMessage", "PQresultErrorMessage", "PQcancelErrorMessage"]:
    getattr(pq, name).restype = ctypes.c_char_p

connection = ctypes.c_void_p(pq.PQconnectdb(conninfo.encode()))
if pq.PQstatus(connection) != 0:
    sys.exit(pq.PQerrorMessage(connection).decode())
if pq.PQsendQuery(connection, sql.encode()) != 1:
    sys.exit(pq.PQerrorMessage(connection).decode())
sys.stdin.readline()
if way == "encrypted":
    cancel = ctypes.c_void_p(pq.PQcancelCreate(connection))
    done = pq.PQcancelBlocking(cancel)
    problem = pq.PQcancelErrorMessage(cancel).decode()
    pq.PQcancelFinish(cancel)
else:
    text = ctypes.create_string_buffer(256)
    cancel = ctypes.c_void_p(pq.PQgetCancel(connection))
    done = pq.PQcancel(cancel, text, 256)
    problem = text.value.decode()
    pq.PQfreeCancel(cancel)
if done != 1:
    sys.exit("not cancelled: " + problem)
result = ctypes.c_void_p(pq.PQgetResult(connection))
print(pq.PQresultErrorMessage(result).decode().strip())
pq.PQfinish(connection)
