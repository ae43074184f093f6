"""Cancels statements around the moment at which they end by themselves, and runs the next ones as soon as libpq says that
the cancel is done. Prints JSON: how many cancels hit their own statement, how many a later one, how many ms a cancel took.

usage: cancel-race.py LIBRARY CONNINFO N encrypted|plain     (libpq 17 or later)
"""
import ctypes
import json
import sys
import time

library, conninfo, tries, way = sys.argv[1:]
pq = ctypes.CDLL(library)
for name in ["PQconnectdb", "PQgetResult", "PQexec", "PQcancelCreate", "PQgetCancel"]:
    getattr(pq, name).restype = ctypes.c_void_p
for name in ["PQerrorMessage", "PQcancelErrorMessage"]:
    getattr(pq, name).restype = ctypes.c_char_p
FATAL_ERROR = 7

connection = ctypes.c_void_p(pq.PQconnectdb(conninfo.encode()))
if pq.PQstatus(connection) != 0:
    sys.exit(pq.PQerrorMessage(connection).decode())


def cancel():
    if way == "encrypted":
        handle = ctypes.c_void_p(pq.PQcancelCreate(connection))
        done, problem = pq.PQcancelBlocking(handle), pq.PQcancelErrorMessage(handle)
        pq.PQcancelFinish(handle)
    else:
        text = ctypes.create_string_buffer(256)
        handle = ctypes.c_void_p(pq.PQgetCancel(connection))
        done, problem = pq.PQcancel(handle, text, 256), text.value
        pq.PQfreeCancel(handle)
    if done != 1:
        sys.exit("not cancelled: " + problem.decode())


def is_cancelled(result):
    status = pq.PQresultStatus(ctypes.c_void_p(result))
    pq.PQclear(ctypes.c_void_p(result))
    return status == FATAL_ERROR


def finish():
    hit = False
    while result := pq.PQgetResult(connection):
        hit = is_cancelled(result) or hit
    return hit


# A handshake takes longer than a packet: so that some cancels come before the end of their statement, and some after.
lasts = 0.02 if way == "encrypted" else 0.004
own, later, took = 0, 0, []
for turn in range(int(tries)):
    pq.PQsendQuery(connection, b"select pg_sleep(%f)" % lasts)
    time.sleep(lasts * (turn % 20) / 16)
    since = time.perf_counter()
    cancel()
    took.append((time.perf_counter() - since) * 1_000)
    own += finish()
    for _ in range(3):
        later += is_cancelled(pq.PQexec(connection, b"select pg_sleep(0.001)"))
pq.PQfinish(connection)
print(json.dumps({"own": own, "later": later, "tookMs": sorted(took)}))
