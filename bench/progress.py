# SPDX-License-Identifier: BSD-3-Clause
"""progress: what a run has before it, so that it can say how long it will still take.

A run is gone through twice: first every step only says how long it should take, then the steps are done. What the estimates were
wrong by so far corrects those that are left.
"""

import time


def show_time(seconds):
    if seconds < 90:
        return "%d s" % max(1, round(seconds))
    return "%d min" % round(seconds / 60) if seconds < 5400 else "%.1f hours" % (seconds / 3600)


class Progress:
    TRUST = 10  # seconds of estimates that the first corrections are weighed against

    def __init__(self, say=lambda text: print(text, flush=True), clock=time.monotonic):
        self.say, self.clock = say, clock
        self.planning = True
        self.expected = self.passed = 0.0
        self.step_seconds = 0.0
        self.began = None

    def step(self, title, seconds):
        """Whether to do it now: no while the plan is made. Each step ends where the next begins."""
        if self.planning:
            self.expected += seconds
            return False
        if self.began is None:
            self.began = self.clock()
        self.passed += self.step_seconds
        self.step_seconds = seconds
        self.say("bench: %s (%d%%, about %s left)" % (title, self.percent(), show_time(self.left())))
        return True

    def start(self):
        self.planning = False

    def percent(self):
        return min(100, 100 * self.passed / self.expected) if self.expected else 100

    def left(self):
        """Seconds, by how the steps that are done compare with what they should have taken."""
        took = self.clock() - self.began if self.began is not None else 0
        pace = (took + self.TRUST) / (self.passed + self.TRUST)
        return max(0.0, self.expected - self.passed) * pace
