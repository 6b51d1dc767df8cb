# SPDX-License-Identifier: BSD-3-Clause
"""Hundreds of producers and of clients that wait, on keys of all shards, some of whom are cut off at any moment. All of them are
coroutines of one thread, so that the server is what is busy. Whatever happens, each element is somewhere, once.

Who waits with BLMOVE leaves what he got in a list of his own, so nothing of it may be missing, whoever was killed. Who waits with
BLPOP may have been given one element each time he was cut off while he waited, and no more.
"""

import asyncio
import random

import pytest

from resp import NULL_ARRAY, Incomplete, encode, parse
from server import wait_for

pytestmark = [pytest.mark.row_each, pytest.mark.slow]

PRODUCERS = 120
POPPERS = 120  # with BLPOP and BLMPOP
MOVERS = 60  # with BLMOVE into a list of their own
CHAINERS = 40  # with BLMOVE, or LMOVE, from each key of a chain to the next one
ELEMENTS = 40  # of each producer
KEYS = ["key:%d" % i for i in range(24)]
CHAINS = [["chain:%d:%d" % (i, j) for j in range(3)] for i in range(4)]
PATIENCE = 120


class Gone(Exception):
    """The connection was cut off: what was asked has happened, or not."""


class Line:
    """One connection: a request, a reply."""

    @classmethod
    async def open(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.data = b""
        self.id = await self.do("CLIENT", "ID")
        return self

    async def do(self, *words):
        try:
            self.writer.write(encode(*words))
            while True:
                try:
                    value, used = parse(self.data)
                    self.data = self.data[used:]
                    return value
                except Incomplete:
                    pass
                more = await asyncio.wait_for(self.reader.read(65536), PATIENCE)
                if not more:
                    raise Gone
                self.data += more
        except ConnectionError as e:
            raise Gone from e

    def reset(self):
        self.writer.transport.abort()

    def close(self):
        self.writer.close()


class Scene:
    def __init__(self, port, seed):
        self.port, self.seed = port, seed
        self.produced = False  # all producers are done
        self.pushed = set()  # elements that the server has said it has
        self.got = []  # (who, key, element) in the order of each
        self.cut = 0  # BLPOPs that were cut off: elements that may be gone with them
        self.lines = {}  # who may be killed: his connection

    async def produce(self, n):
        rng = random.Random(self.seed * 1000 + n)
        line = await Line.open(self.port)
        for i in range(ELEMENTS):
            key, chain = rng.choice(KEYS), rng.choice(CHAINS)[0]
            element, other = b"%d:%d" % (n, i), b"%d:%d+" % (n, i)
            if rng.random() < 0.25:
                assert await line.do("MULTI") == "OK"
                await line.do("RPUSH", key, element)
                await line.do("RPUSH", chain, other)
                reply = await line.do("EXEC")
                assert [type(r) for r in reply] == [int, int], reply
                self.pushed |= {element, other}
            else:
                assert isinstance(await line.do("RPUSH", key if rng.random() < 0.7 else chain, element), int)
                self.pushed.add(element)
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.02)
        line.close()

    async def waits(self, name, once):
        """Calls once(line) until there is nothing more to come, with a new connection when the old one was cut off."""
        rng = random.Random("%s %d" % (name, self.seed))
        line = None
        while True:
            if line is None:
                self.lines[name] = line = await Line.open(self.port)
            try:
                if await once(line, rng) in (None, NULL_ARRAY) and self.produced:
                    break
            except Gone:
                line = None
        del self.lines[name]
        line.close()

    async def pop(self, name):
        async def once(line, rng):
            timeout = "%.3f" % rng.uniform(0.01, 0.3)
            keys = rng.sample(KEYS, rng.randint(1, 6)) if rng.random() < 0.7 else [rng.choice(CHAINS)[-1]]
            try:
                if rng.random() < 0.3:
                    reply = await line.do("BLMPOP", timeout, str(len(keys)), *keys, "LEFT")
                    key, element = (reply[0], reply[1][0]) if reply != NULL_ARRAY else (None, None)
                else:
                    reply = await line.do("BLPOP", *keys, timeout)
                    key, element = reply if reply != NULL_ARRAY else (None, None)
            except Gone:
                self.cut += 1
                raise
            if element is not None:
                assert key.decode() in keys
                self.got.append((name, key, element))
            return element

        await self.waits(name, once)

    async def move(self, name):
        async def once(line, rng):
            return await line.do("BLMOVE", rng.choice(KEYS), name, "LEFT", "RIGHT", "%.3f" % rng.uniform(0.01, 0.1))

        await self.waits(name, once)

    async def chain(self, name):
        async def once(line, rng):
            chain = rng.choice(CHAINS)
            step = rng.randrange(len(chain) - 1)
            if rng.random() < 0.2:
                return await line.do("LMOVE", chain[step], chain[step + 1], "LEFT", "RIGHT")
            return await line.do("BLMOVE", chain[step], chain[step + 1], "LEFT", "RIGHT", "%.3f" % rng.uniform(0.01, 0.1))

        await self.waits(name, once)

    async def kill(self):
        """Cuts one off every few milliseconds: by the server, or by its own end."""
        rng = random.Random(self.seed)
        line = await Line.open(self.port)
        while not self.produced:
            await asyncio.sleep(rng.random() * 0.02)
            if self.lines:
                victim = self.lines[rng.choice(sorted(self.lines))]
                if rng.random() < 0.5:
                    assert await line.do("CLIENT", "KILL", "ID", str(victim.id)) in (0, 1)
                else:
                    victim.reset()
        line.close()

    async def run(self):
        waiting = [self.pop("popper:%d" % i) for i in range(POPPERS)]
        waiting += [self.move("mover:%d" % i) for i in range(MOVERS)]
        waiting += [self.chain("chainer:%d" % i) for i in range(CHAINERS)]
        tasks = [asyncio.ensure_future(w) for w in waiting]
        killer = asyncio.ensure_future(self.kill())
        await asyncio.gather(*[self.produce(i) for i in range(PRODUCERS)])
        self.produced = True
        await asyncio.gather(killer, *tasks)


def in_order(elements):
    """Those of one producer come in the order in which it pushed them."""
    last = {}
    for element in elements:
        producer, number = map(int, element.rstrip(b"+").split(b":"))
        if last.get(producer, -1) > number:
            return False
        last[producer] = number
    return True


@pytest.mark.parametrize("seed", [1, 2])
def test_hundreds_wait_and_each_element_is_somewhere_once(server, seed):
    with server.raw() as c:
        c.do("FLUSHALL")
        scene = Scene(server.port, seed)
        asyncio.run(scene.run())
        assert wait_for(lambda: int(server.info("clients")["blocked_clients"]) == 0)
        lists = {name: c.do("LRANGE", name, "0", "-1") for name in
                 KEYS + ["mover:%d" % i for i in range(MOVERS)] + [key for chain in CHAINS for key in chain]}
    found = [element for _, _, element in scene.got] + [element for got in lists.values() for element in got]
    assert len(found) == len(set(found)), "an element is there twice"
    assert set(found) <= scene.pushed
    missing = scene.pushed - set(found)
    assert len(missing) <= scene.cut, (len(missing), scene.cut)
    # What one client has got of a key, and what lies in a chain or was left, is in the order of each producer.
    taken = {}
    for name, key, element in scene.got:
        taken.setdefault((name, key), []).append(element)
    assert all(in_order(got) for got in taken.values())
    assert all(in_order(lists[key]) for key in KEYS + [key for chain in CHAINS for key in chain])
