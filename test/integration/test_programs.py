# SPDX-License-Identifier: BSD-3-Clause
"""Programs of Python that keep their work in a server: Celery, RQ and django-redis, as their users run them, with processes of their
own. Each does a workload to its end, and what came of it is counted."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = [pytest.mark.row_each, pytest.mark.slow]


def needs(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason="no python3-%s" % name.replace("_", "-"))


class Place:
    """A folder with a module, and processes that import it."""

    def __init__(self, folder, server):
        self.folder, self.port, self.processes = folder, server.port, []

    def module(self, name, text):
        (self.folder / (name + ".py")).write_text(textwrap.dedent(text).replace("PORT", str(self.port)))

    def start(self, *words):
        log = open(self.folder / ("log%d" % len(self.processes)), "w")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])}
        self.processes.append(subprocess.Popen([sys.executable, *words], cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT))
        log.close()
        return self.processes[-1]

    def run(self, name, seconds):
        """Runs a module to its end; its output must be `done`."""
        process = self.start(name + ".py")
        status = process.wait(seconds)
        said = (self.folder / ("log%d" % (len(self.processes) - 1))).read_text()
        assert (status, said.splitlines()[-1:]) == (0, ["done"]), said + self.logs()

    def logs(self):
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("log*")))

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture
def place(tmp_path, start_server):
    p = Place(tmp_path, start_server())
    yield p
    p.end()


@needs("celery")
def test_celery(place, slow):
    place.module(
        "tasks",
        """
        from celery import Celery
        app = Celery("tasks", broker="redis://127.0.0.1:PORT/0", backend="redis://127.0.0.1:PORT/1")
        app.conf.update(worker_hijack_root_logger=False, task_acks_late=True, worker_prefetch_multiplier=4)

        @app.task
        def add(a, b):
            return a + b

        @app.task
        def total(numbers):
            return sum(numbers)

        @app.task(bind=True, max_retries=3)
        def stubborn(self, n):
            if self.request.retries < 2:
                raise self.retry(countdown=0)
            return n
        """,
    )
    place.module(
        "ask",
        """
        from celery import chain, chord, group
        from tasks import add, app, stubborn, total
        results = [add.delay(i, i) for i in range(60)]
        assert [r.get(timeout=100) for r in results] == [2 * i for i in range(60)]
        assert chord([add.s(i, 1) for i in range(20)])(total.s()).get(timeout=100) == 210
        assert group(add.s(i, i) for i in range(10))().get(timeout=100) == [2 * i for i in range(10)]
        assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=100) == 10
        assert stubborn.delay(7).get(timeout=100) == 7
        late = [add.apply_async((i, 0), countdown=1) for i in range(5)]
        never = add.apply_async((1, 1), countdown=100000)
        app.control.revoke(never.id)
        assert [r.get(timeout=100) for r in late] == list(range(5))
        assert list(app.control.inspect(timeout=100, limit=1).ping().values()) == [{"ok": "pong"}]
        late_ids = [t["request"]["id"] for each in app.control.inspect(timeout=100, limit=1).scheduled().values() for t in each]
        assert late_ids in ([], [never.id]), late_ids
        print("done")
        """,
    )
    place.start("-m", "celery", "-A", "tasks", "worker", "-c", "2", "-P", "threads", "--without-mingle", "--without-gossip", "-l", "warning")
    place.run("ask", 120 * slow)


@needs("rq")
def test_rq(place, slow):
    place.module(
        "jobs",
        """
        import redis
        connection = redis.Redis(port=PORT)

        def square(n):
            connection.incr("ran")
            return n * n

        def fails_twice():
            if connection.incr("tried") < 3:
                raise RuntimeError("not yet")
            return "at last"
        """,
    )
    place.module(
        "ask",
        """
        import time
        from rq import Queue, Retry
        from rq.registry import FinishedJobRegistry
        from jobs import connection, fails_twice, square
        queue = Queue(connection=connection)
        jobs = [queue.enqueue(square, i) for i in range(15)]
        last = queue.enqueue(square, 100, depends_on=jobs)
        again = queue.enqueue(fails_twice, retry=Retry(max=3))
        def over():
            return all(job.get_status(refresh=True) == "finished" for job in jobs + [last, again])
        until = time.monotonic() + 100
        while not over() and time.monotonic() < until:
            time.sleep(0.05)
        assert over(), [job.get_status() for job in jobs + [last, again]]
        for job in jobs + [last, again]:
            job.refresh()
        assert [job.result for job in jobs] == [i * i for i in range(15)]
        assert (last.result, again.result) == (10000, "at last")
        assert int(connection.get("ran")) == 16 and int(connection.get("tried")) == 3
        assert FinishedJobRegistry(queue=queue).count == 17
        print("done")
        """,
    )
    for i in range(2):
        words = "from redis import Redis; from rq import SimpleWorker; SimpleWorker(['default'], connection=Redis(port=%d)).work(with_scheduler=False)"
        place.start("-c", words % place.port)
    place.run("ask", 120 * slow)


@needs("django_redis")
def test_django_redis(place, slow):
    place.module(
        "ask",
        """
        import threading
        from django.conf import settings
        settings.configure(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:PORT/1"}})
        from django.core.cache import cache
        cache.set_many({"page:%d" % i: {"n": i} for i in range(300)}, timeout=1000)
        assert cache.get_many(["page:1", "page:299", "none"]) == {"page:1": {"n": 1}, "page:299": {"n": 299}}
        assert cache.add("page:1", 2) is False and cache.add("other", 2) is True
        assert 0 < cache.ttl("page:3") <= 1000
        assert len(cache.keys("page:*")) == 300
        assert cache.delete_pattern("page:1*") == 111
        assert cache.delete_pattern("page:*", itersize=7) == 189
        assert list(cache.iter_keys("*")) == ["other"]
        cache.set("count", 0)
        inside, most = [], []
        def work():
            for _ in range(10):
                with cache.lock("lock", timeout=100):
                    inside.append(1)
                    most.append(len(inside))
                    cache.set("count", cache.get("count") + 1)
                    inside.pop()
        threads = [threading.Thread(target=work) for _ in range(5)]
        [t.start() for t in threads], [t.join(100) for t in threads]
        assert (cache.get("count"), max(most)) == (50, 1)
        assert cache.incr("count", 5) == 55 and cache.get_or_set("new", lambda: [1]) == [1]
        cache.clear()
        assert cache.keys("*") == []
        print("done")
        """,
    )
    place.run("ask", 120 * slow)
