"""Usage: postgres-pool.py psycopg|asyncpg QUERY, with the PG* variables of libpq. Opens a pool of ten connections, and says so;
then for each line on stdin, `pool` or `connect`, says how often a query failed (as SQLSTATE or type) before it succeeded.
PostgresPool.java and postgres-go beside it do the same."""

import asyncio
import json
import sys

TRIES = 20


def failure(error):
    return getattr(error, "sqlstate", None) or type(error).__name__


def say(answer):
    print(json.dumps(answer), flush=True)


def by_psycopg(query):
    import psycopg
    import psycopg_pool

    pool = psycopg_pool.ConnectionPool("", min_size=10, max_size=10, open=True)
    pool.wait()

    def connection(line):
        return pool.connection() if line == "pool" else psycopg.connect("")

    say({"ready": True})
    for line in sys.stdin:
        failures = []
        word = None
        while word is None and len(failures) < TRIES:
            try:
                with connection(line.strip()) as each:
                    word = each.execute(query).fetchone()[0]
            except Exception as error:
                failures.append(failure(error))
        say({"word": word, "failures": failures})
    pool.close()


async def by_asyncpg(query):
    import asyncpg

    pool = await asyncpg.create_pool(min_size=10, max_size=10)

    async def ask(line):
        if line == "pool":
            return await pool.fetchval(query)
        each = await asyncpg.connect()
        try:
            return await each.fetchval(query)
        finally:
            await each.close()

    say({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        failures = []
        word = None
        while word is None and len(failures) < TRIES:
            try:
                word = await ask(line.strip())
            except Exception as error:
                failures.append(failure(error))
        say({"word": word, "failures": failures})
    await pool.close()


library, query = sys.argv[1:]
if library == "psycopg":
    by_psycopg(query)
else:
    asyncio.run(by_asyncpg(query))
