# SPDX-License-Identifier: BSD-3-Clause
"""Programs that keep their work in a server, as their users run them, with processes of their own: Celery, RQ and django-redis,
Sidekiq, PHP. Each does a workload to its end, and what came of it is counted."""

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

pytestmark = [pytest.mark.row_each, pytest.mark.slow]


def needs(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason="no python3-%s" % name.replace("_", "-"))


def php_has_redis():
    php = shutil.which("php")
    return php and subprocess.run([php, "-r", "exit(extension_loaded('redis') ? 0 : 1);"], capture_output=True).returncode == 0


class Place:
    """A folder with programs, and their processes."""

    def __init__(self, folder, server):
        self.folder, self.port, self.processes = folder, server.port, []

    def write(self, name, text):
        (self.folder / name).write_text(textwrap.dedent(text).lstrip().replace("PORT", str(self.port)))

    def start(self, *words):
        log = open(self.folder / ("log%d" % len(self.processes)), "w")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])}
        self.processes.append(subprocess.Popen(words, cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT))
        log.close()
        return self.processes[-1]

    def run(self, seconds, *words):
        """Runs a program to its end; its output must be `done`."""
        process = self.start(*words)
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
    place.write(
        "tasks.py",
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
    place.write(
        "ask.py",
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
    place.start(sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", "2", "-P", "threads", "--without-mingle", "--without-gossip", "-l", "warning")
    place.run(120 * slow, sys.executable, "ask.py")


@needs("rq")
def test_rq(place, slow):
    place.write(
        "jobs.py",
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
    place.write(
        "ask.py",
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
        place.start(sys.executable, "-c", words % place.port)
    place.run(120 * slow, sys.executable, "ask.py")


@needs("django_redis")
def test_django_redis(place, slow):
    place.write(
        "ask.py",
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
    place.run(120 * slow, sys.executable, "ask.py")


@pytest.mark.skipif(not shutil.which("sidekiq"), reason="no ruby-sidekiq")
def test_sidekiq(place, slow):
    place.write(
        "jobs.rb",
        """
        require 'sidekiq'
        require 'sidekiq/scheduled'
        Redis.silence_deprecations = true if defined?(Redis)
        Sidekiq.configure_server { |c| c.redis = { url: 'redis://127.0.0.1:PORT/0' } }
        Sidekiq.configure_client { |c| c.redis = { url: 'redis://127.0.0.1:PORT/0' } }

        # Else up to fifteen seconds pass before it looks for scheduled jobs.
        class Sidekiq::Scheduled::Poller
          def initial_wait; end
        end

        class Count
          include Sidekiq::Worker
          def perform(n)
            Sidekiq.redis { |r| r.call('ZINCRBY', 'ran', 1, n) }
          end
        end

        class Stubborn
          include Sidekiq::Worker
          sidekiq_options retry: 3
          def perform
            raise 'not yet' if Sidekiq.redis { |r| r.call('INCR', 'tries') } < 3
          end
        end
        """,
    )
    place.write(
        "settings.yml",
        """
        :concurrency: 4
        :timeout: 5
        :poll_interval_average: 0.1
        :queues: [default, low]
        """,
    )
    place.write(
        "ask.rb",
        """
        require_relative 'jobs'
        require 'sidekiq/api'

        def wait_for(what)
          deadline = Time.now + 100
          until yield
            raise "#{what}: #{Sidekiq::Stats.new.inspect}" if Time.now > deadline
            sleep 0.02
          end
        end

        def check(what, found, wanted)
          raise "#{what}: #{found.inspect}, not #{wanted.inspect}" if found != wanted
        end

        100.times { |i| Count.perform_async(i) }
        Sidekiq::Client.push_bulk('class' => Count, 'args' => (100...300).map { |i| [i] })
        20.times { |i| Count.perform_in(0.2, 300 + i) }
        Count.set(queue: 'low').perform_async(320)
        never = Count.perform_in(100_000, 1000)
        Stubborn.perform_async
        wait_for('jobs') do
          Sidekiq::RetrySet.new.retry_all
          Sidekiq.redis { |r| [r.call('ZCARD', 'ran'), r.call('GET', 'tries').to_i] } == [321, 3]
        end
        ran = Sidekiq.redis { |r| r.call('ZRANGE', 'ran', 0, -1, 'WITHSCORES') }
        check('each ran once', ran.flatten.each_slice(2).map { |n, times| [n.to_i, times.to_i] }.sort, (0..320).map { |n| [n, 1] })
        check('found', Sidekiq::ScheduledSet.new.find_job(never).jid, never)
        Sidekiq::ScheduledSet.new.find_job(never).delete
        check('queues', Sidekiq::Queue.all.map(&:name).sort, %w[default low])
        wait_for('process') { Sidekiq::ProcessSet.new.size == 1 && Sidekiq::ProcessSet.new.first }
        # Each process tells its counts now and then, and last of all when it ends.
        Process.kill('TERM', Sidekiq::ProcessSet.new.first['pid'])
        stats = nil
        wait_for('counts') do
          stats = Sidekiq::Stats.new
          # A job that failed counts as processed, too.
          [stats.processed, stats.failed, stats.processes_size] == [324, 2, 0]
        end
        check('left', [stats.enqueued, stats.scheduled_size, stats.retry_size, stats.dead_size], [0, 0, 0, 0])
        puts 'done'
        """,
    )
    worker = place.start("sidekiq", "-r", "./jobs.rb", "-C", "settings.yml")
    place.run(120 * slow, "ruby", "ask.rb")
    assert worker.wait(60 * slow) == 0, place.logs()


@pytest.mark.skipif(not php_has_redis(), reason="no php-cli with php-redis")
def test_sessions_of_php(place, slow):
    """Four processes count in one session, each visit under the lock of the extension, and in sessions of their own."""
    place.write(
        "visit.php",
        """
        <?php
        $settings = [
            'session.save_handler' => 'redis', 'session.save_path' => 'tcp://127.0.0.1:PORT?prefix=php:&database=2',
            'session.use_cookies' => 0, 'session.cache_limiter' => '', 'session.gc_maxlifetime' => 600,
            'redis.session.locking_enabled' => 1, 'redis.session.lock_retries' => -1, 'redis.session.lock_wait_time' => 1000,
            'redis.session.lock_expire' => 100,
        ];
        foreach ($settings as $name => $value) {
            ini_set($name, (string) $value);
        }
        for ($i = 0; $i < 50; $i++) {
            foreach (['shared', 'own' . $argv[1]] as $id) {
                session_id($id);
                session_start() || exit(1);
                $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
                $_SESSION['by'][] = $argv[1];
                session_write_close();
            }
        }
        session_id('own' . $argv[1]);
        session_start() && $_SESSION['visits'] === 50 || exit(2);
        session_regenerate_id(true) || exit(3);
        session_write_close();
        session_start() && $_SESSION['visits'] === 50 || exit(4);
        session_destroy() || exit(5);
        """,
    )
    visitors = [place.start("php", "visit.php", str(i)) for i in range(4)]
    assert [visitor.wait(120 * slow) for visitor in visitors] == [0] * 4, place.logs()
    assert place.logs().strip() == ""
    place.write(
        "ask.php",
        """
        <?php
        $redis = new Redis();
        $redis->connect('127.0.0.1', PORT, 20);
        $redis->select(2);
        $keys = $redis->keys('*'); // neither a session that was ended nor a lock
        $keys === ['php:shared'] || exit(1);
        $redis->ttl('php:shared') > 500 || exit(2);
        session_start(['save_path' => 'tcp://127.0.0.1:PORT?prefix=php:&database=2', 'save_handler' => 'redis', 'use_cookies' => 0, 'cache_limiter' => ''])
            && session_decode($redis->get('php:shared')) || exit(3);
        $_SESSION['visits'] === 200 || exit(4);
        array_count_values($_SESSION['by']) == [50, 50, 50, 50] || exit(5);
        session_destroy();
        echo "done\n";
        """,
    )
    place.run(120 * slow, "php", "ask.php")


@pytest.mark.skipif(not php_has_redis(), reason="no php-cli with php-redis")
def test_php(place, slow):
    place.write(
        "use.php",
        """
        <?php
        function same($found, $wanted) {
            if ($found != $wanted) {
                throw new Exception(var_export($found, true) . ' is not ' . var_export($wanted, true));
            }
        }
        $redis = new Redis();
        $redis->pconnect('127.0.0.1', PORT, 20);
        same($redis->ping('hello'), 'hello');
        $redis->setOption(Redis::OPT_PREFIX, 'app:');
        $redis->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
        for ($i = 0; $i < 500; $i++) {
            $numbers["number:$i"] = $i;
        }
        same($redis->mSet($numbers), true);
        same($redis->mGet(array_keys($numbers)), array_values($numbers));
        $cursor = null;
        $seen = [];
        while ($some = $redis->scan($cursor, 'app:number:*', 50)) {
            $seen = array_merge($seen, $some);
        }
        same(count(array_unique($seen)), 500);
        same($redis->del(array_keys($numbers)), 500);

        $redis->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
        same($redis->setex('object', 100, ['a' => [1, 2.5, null, true]]), true);
        same($redis->get('object'), ['a' => [1, 2.5, null, true]]);
        same($redis->hMSet('row', ['name' => 'ada', 'tags' => ['x', 'y']]), true);
        same($redis->hGetAll('row'), ['name' => 'ada', 'tags' => ['x', 'y']]);
        $redis->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_NONE);

        same($redis->multi()->incrBy('n', 5)->get('n')->sAdd('s', 'a', 'b')->exec(), [5, '5', 2]);
        $pipe = $redis->pipeline();
        for ($i = 0; $i < 1000; $i++) {
            $pipe->zIncrBy('board', $i % 10, 'player' . $i % 10);
        }
        same(count($pipe->exec()), 1000);
        same($redis->zRevRange('board', 0, 1, true), ['player9' => 900.0, 'player8' => 800.0]);
        $other = new Redis();
        $other->connect('127.0.0.1', PORT, 20);
        $redis->watch(['n', 'm']);
        $other->set('app:m', 1);
        same($redis->multi()->incr('n')->exec(), false);
        same($redis->get('n'), 5);

        $take = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
        same($redis->set('lock', 'me', ['nx', 'px' => 100000]), true);
        same($other->set('app:lock', 'you', ['nx', 'px' => 100000]), false);
        same($redis->eval($take, ['lock', 'you'], 1), 0);
        same($redis->evalSha($redis->script('load', $take), ['lock', 'me'], 1), 1);
        same($redis->eval("return redis.call('nothing')"), false);
        same((bool) $redis->getLastError(), true);

        same($redis->rPush('jobs', 'one', 'two'), 2);
        same($redis->blPop(['none', 'jobs'], 1), ['app:jobs', 'one']);
        same($redis->xGroup('CREATE', 'events', 'mail', '0', true), true);
        $id = $redis->xAdd('events', '*', ['kind' => 'click']);
        same($redis->xReadGroup('mail', 'me', ['events' => '>']), ['app:events' => [$id => ['kind' => 'click']]]);
        same($redis->xAck('events', 'mail', [$id]), 1);
        same($redis->geoAdd('places', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania'), 2);
        same(round($redis->geoDist('places', 'Palermo', 'Catania', 'km')), 166);
        same($redis->pfAdd('visitors', ['a', 'b', 'a']) && $redis->pfCount('visitors') === 2, true);
        same($redis->object('encoding', 'n'), 'int');
        same($redis->type('board'), Redis::REDIS_ZSET);
        same($redis->info('server')['tcp_port'], PORT);
        same(count($redis->config('GET', 'maxmemory')), 1);
        $copy = $redis->dump('board');
        same($redis->restore('again', 0, $copy) && $redis->zCard('again') === 10, true);

        // The one who listens leaves after a hundred.
        $heard = [];
        if (!($child = pcntl_fork())) {
            $speaker = new Redis();
            $speaker->connect('127.0.0.1', PORT, 20);
            while ($speaker->publish('app:news', 'first') === 0) {
                usleep(1000);
            }
            for ($i = 1; $i < 100; $i++) {
                $speaker->publish('app:news', "$i");
            }
            exit(0);
        }
        $listener = new Redis();
        $listener->connect('127.0.0.1', PORT, 60);
        try {
            $listener->subscribe(['app:news'], function ($listener, $channel, $text) use (&$heard) {
                $heard[] = $text;
                if (count($heard) === 100) {
                    $listener->close();
                }
            });
        } catch (RedisException $e) { // versions differ in how they say that it has been closed
        }
        pcntl_waitpid($child, $status);
        same([$heard, $status], [array_merge(['first'], array_map('strval', range(1, 99))), 0]);
        echo "done\n";
        """,
    )
    place.run(120 * slow, "php", "use.php")
