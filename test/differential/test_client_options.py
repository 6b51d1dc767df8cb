# SPDX-License-Identifier: BSD-3-Clause
"""CLIENT, option by option: what Valkey answers to every form of each subcommand, right and wrong ones; whom LIST finds and KILL
closes by filters that are put together at random, with their negations.

`test_client_scenes.py` has what a client's line says.
"""

import os
import random
import re

import pytest

from resp import RespError, encode
from server import wait_for

SEEDS = [int(s) for s in os.environ.get("SHOAL_CLIENT_SEEDS", "1,2").split(",")]
LISTS = int(os.environ.get("SHOAL_CLIENT_LISTS", "500"))
KILLS = int(os.environ.get("SHOAL_CLIENT_KILLS", "40"))

PLAIN = """
TYPE normal|TYPE pubsub|TYPE replica|TYPE slave|TYPE master|TYPE primary|TYPE x|USER u1|USER default|USER nobody|NAME plain|NAME ''
LIB-NAME foo|LIB-NAME ''|LIB-VER 1.2|DB 3|DB 0|DB -1|DB 99|DB x|FLAGS N|FLAGS P|FLAGS e|FLAGS T|FLAGS tB|FLAGS x|FLAGS ''|FLAGS q
CAPA r|CAPA z|CAPA ''|IP 127.0.0.1|IP 1.1.1.1|ADDR 1.1.1.1:1|LADDR x|ID 999999|ID 0|ID x|ID 999999 999998|ID|BOGUS 1|FLAGS|DB
"""
ALONE = "MAXAGE 0|MAXAGE 100|MAXAGE x|MAXAGE -1|IDLE 100|IDLE 0|IDLE y|SKIPME yes|SKIPME no|SKIPME z|NOT-IDLE 1|NOT-SKIPME no|NOT-"


def split(text):
    return [["" if word == "''" else word for word in form.split()] for form in text.strip().replace("\n", "|").split("|")]


FILTERS = split(PLAIN) + [["NOT-" + form[0]] + form[1:] for form in split(PLAIN)] + split(ALONE)

# One connection says all of them, one after the other.
FORMS = """
CLIENT|CLIENT BOGUS|CLIENT HELP x|CLIENT ID x|CLIENT INFO x|CLIENT GETNAME|CLIENT GETNAME x|CLIENT SETNAME|CLIENT SETNAME a b|CLIENT SETNAME ''|CLIENT SETNAME n|CLIENT GETNAME
CLIENT REPLY|CLIENT REPLY x|CLIENT REPLY on|CLIENT REPLY on x|CLIENT NO-EVICT|CLIENT NO-EVICT x|CLIENT NO-EVICT on|CLIENT NO-EVICT off|CLIENT NO-EVICT on on|CLIENT NO-TOUCH x|CLIENT NO-TOUCH ON|CLIENT NO-TOUCH OFF
CLIENT SETINFO|CLIENT SETINFO x y|CLIENT SETINFO lib-name a|CLIENT SETINFO lib-name a b|CLIENT SETINFO LIB-VER 2|CLIENT SETINFO lib-name ''|CLIENT SETINFO lib-ver ''
CLIENT UNBLOCK|CLIENT UNBLOCK x|CLIENT UNBLOCK 99999|CLIENT UNBLOCK 99999 x|CLIENT UNBLOCK 99999 ERROR|CLIENT UNBLOCK 99999 TIMEOUT|CLIENT UNBLOCK 99999 TIMEOUT x|CLIENT UNBLOCK -1|CLIENT UNBLOCK 99999999999999999999
CLIENT CAPA|CLIENT CAPA x|CLIENT CAPA redirect redirect|CLIENT CAPA redirect x|CLIENT IMPORT-SOURCE|CLIENT IMPORT-SOURCE x|CLIENT IMPORT-SOURCE on|CLIENT IMPORT-SOURCE off
CLIENT TRACKINGINFO|CLIENT TRACKINGINFO x|CLIENT TRACKING|CLIENT TRACKING x|CLIENT TRACKING on redirect|CLIENT TRACKING on redirect x|CLIENT TRACKING on redirect 99999|CLIENT TRACKING on optin optout|CLIENT TRACKING on bcast optin
CLIENT TRACKING on prefix a|CLIENT TRACKING on bcast prefix a prefix ab|CLIENT TRACKING on bcast prefix a prefix b|CLIENT TRACKINGINFO|CLIENT GETREDIR|CLIENT TRACKING on bcast prefix ac|CLIENT TRACKING on|CLIENT TRACKING off|CLIENT GETREDIR
CLIENT TRACKING on optin|CLIENT TRACKINGINFO|CLIENT CACHING yes|CLIENT TRACKINGINFO|CLIENT CACHING no|CLIENT CACHING x|CLIENT CACHING|CLIENT TRACKING on optout|CLIENT TRACKING off|CLIENT CACHING yes
CLIENT TRACKING on optout noloop|CLIENT CACHING no|CLIENT TRACKINGINFO|CLIENT TRACKING off|CLIENT GETREDIR x|CLIENT TRACKING on noloop noloop bcast bcast|CLIENT TRACKINGINFO|CLIENT TRACKING off|CLIENT TRACKING off bcast prefix|CLIENT TRACKING on bcast redirect 0|CLIENT TRACKINGINFO|CLIENT TRACKING off
CLIENT PAUSE|CLIENT PAUSE x|CLIENT PAUSE -1|CLIENT PAUSE 1 x|CLIENT PAUSE 1 write|CLIENT PAUSE 1 ALL|CLIENT PAUSE 1 ALL x|CLIENT PAUSE 99999999999999999999|CLIENT PAUSE 9223372036854775807|CLIENT PAUSE 0|CLIENT UNPAUSE|CLIENT UNPAUSE x
CLIENT KILL|CLIENT KILL 1|CLIENT KILL ''|CLIENT KILL 1.1.1.1:1|CLIENT KILL x y z|CLIENT KILL ID|CLIENT KILL SKIPME yes x|CLIENT KILL MAXAGE 0|CLIENT KILL ID 999999 SKIPME|CLIENT LIST x|CLIENT LIST TYPE|CLIENT LIST ID|CLIENT LIST ID x
"""

# Connections by name, and what they have said.
OTHERS = {
    "plain": "", "lib": "CLIENT SETINFO lib-name foo|CLIENT SETINFO lib-ver 1.2", "db3": "SELECT 3", "user": "AUTH u1 x",
    "keeps": "CLIENT NO-EVICT on", "touches": "CLIENT NO-TOUCH on", "capable": "CLIENT CAPA redirect", "multi": "MULTI",
    "tracks": "HELLO 3|CLIENT TRACKING on bcast",
}  # fmt: skip


class World:
    """The same connections on any server. `asker` asks; it has no name."""

    def __init__(self, server):
        self.server = server
        self.asker = server.raw()
        assert self.asker.do("ACL", "SETUSER", "u1", "on", "nopass", "~*", "&*", "+@all") == "OK"
        self.others = {}
        for name, said in OTHERS.items():
            self.others[name] = self.open(name)
            for words in split(said) if said else []:
                self.others[name].do(*words)
        self.others["hears"] = self.open("hears")
        self.others["hears"].do("SUBSCRIBE", "channel")

    def open(self, name):
        c = self.server.raw()
        assert c.do("CLIENT", "SETNAME", name) == "OK"
        return c

    def names(self, c, words=()):
        reply = c.do("CLIENT", "LIST", *words)
        return sorted(re.findall(r" name=(\S*) ", reply.decode())) if isinstance(reply, bytes) else plain(reply)

    def close(self):
        for c in [self.asker, *self.others.values()]:
            c.close()
        with self.server.raw() as c:
            assert wait_for(lambda: self.names(c) == [""])


def plain(reply):
    return str(reply) if isinstance(reply, RespError) else reply


@pytest.fixture
def worlds(shoal, valkey):
    both = [World(shoal), World(valkey)]
    yield both
    for world in both:
        world.close()


def test_every_form_is_answered_alike(worlds):
    for words in split(FORMS):
        ours, theirs = [plain(w.asker.do(*words)) for w in worlds]
        assert ours == theirs, words


@pytest.mark.parametrize("seed", SEEDS)
def test_list_finds_the_same(worlds, seed):
    rng = random.Random(seed)
    for form in FILTERS:
        ours, theirs = [w.names(w.asker, form) for w in worlds]
        assert ours == theirs, form
    for _ in range(LISTS):
        words = sum(rng.sample(FILTERS, rng.choice([2, 2, 3, 4])), [])
        ours, theirs = [w.names(w.asker, words) for w in worlds]
        assert ours == theirs, words


@pytest.mark.parametrize("seed", SEEDS)
def test_kill_closes_the_same(shoal, valkey, seed):
    """The asker, too, if it says so: then with its answer."""
    rng = random.Random(seed)
    for n in range(KILLS):
        words = sum(rng.sample(FILTERS, rng.choice([1, 1, 2, 3])), [])
        if rng.random() < 0.3:
            words += ["SKIPME", rng.choice(["no", "yes"])]
        told = []
        for server in (shoal, valkey):
            world = World(server)
            answer = plain(world.asker.do("CLIENT", "KILL", *words))
            left = {}
            for name, c in [("asker", world.asker), *world.others.items()]:
                try:
                    c.send(encode("PING"))
                    c.read()
                    left[name] = True
                except (OSError, EOFError):
                    left[name] = False
            told.append((answer, left))
            world.close()
        assert told[0] == told[1], words
