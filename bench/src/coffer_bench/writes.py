"""Small writes beside the floor: what the binary log costs that every MariaDB keeps.

The floor has none, as the engine's own default is; both flush each commit to their volume. Each
round measures both sides, one after the other, with as many clients.
"""

import asyncio
import threading
import time

import pymysql

from coffer_bench import creation, floor, recovery
from coffer_bench.report import Figure, spread
from coffer_bench.scene import Scene
from coffer_bench.timing import Login

CLIENTS = (1, 8)
PERIOD_S = 4.0
TABLE = f"CREATE TABLE {floor.DATABASE}.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, v CHAR(100))"
INSERT = f"INSERT INTO {floor.DATABASE}.t (v) VALUES (REPEAT('x', 100))"


async def commits(stage: Scene, runs: int) -> list[Figure]:
    """Rows committed per second, as a ratio to the floor's: above 1 is better."""
    namespace = await creation.new_namespace(stage.api, "writes")
    try:
        sides = await recovery.one_of_each(stage, namespace)
        for login in sides.values():
            await asyncio.to_thread(_make_table, login)
        return [await _compare(sides["floor"], sides["db"], clients, runs) for clients in CLIENTS]
    finally:
        await creation.remove_namespace(stage.api, namespace)


async def _compare(base: Login, ours: Login, clients: int, runs: int) -> Figure:
    rates: dict[Login, list[float]] = {base: [], ours: []}
    for _ in range(runs):
        for login, taken in rates.items():
            taken.append(await asyncio.to_thread(_rate, login, clients))
    (_, usual, _), (low, median, high) = spread(rates[base]), spread(rates[ours])
    return Figure(
        f"committed rows per second, {clients} clients",
        median / usual,
        "x floor",
        None,
        (low, median, high),
        usual,
    )


def _connect(login: Login) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(
        host=login.host,
        port=login.port,
        user=login.user,
        password=login.password,
        autocommit=True,
        connect_timeout=10,
        read_timeout=60,
    )


def _make_table(login: Login) -> None:
    with _connect(login) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)


def _rate(login: Login, clients: int) -> float:
    """Rows per second, each a transaction of its own. Raises what a client met."""
    done, failures = [0] * clients, []
    begin = time.monotonic()

    def work(number: int) -> None:
        try:
            with _connect(login) as connection, connection.cursor() as cursor:
                while time.monotonic() < begin + PERIOD_S:
                    cursor.execute(INSERT)
                    done[number] += 1
        except pymysql.MySQLError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(done) / (time.monotonic() - begin)
