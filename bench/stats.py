# SPDX-License-Identifier: BSD-3-Clause
"""stats: what a few rounds allow to say: medians with intervals, a test between two servers, and which samples stand apart.

Nothing here assumes a shape of what was measured: times on a shared machine have long tails. The test is the one of Mann and Whitney
with exact probabilities (also with ties), because rounds are few; intervals come from the bootstrap. All of it is the standard
library's, so that a report can be made from a folder of samples wherever there is Python.
"""

import dataclasses
import math
import random

ALPHA = 0.05
RESAMPLES = 1000
EXACT_MOST = 30  # samples of both sides together, up to which probabilities are counted out
FEWEST_FOR_OUTLIERS = 5
OUTLIER_SCORE = 3.5  # deviations from the median, in units of a normal distribution's


def median(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(values):
    """Half the distance between extremes, in per cent of the median."""
    return 100 * (max(values) - min(values)) / 2 / median(values) if len(values) > 1 and median(values) else 0.0


def quantile(ordered, q):
    """Of sorted values, between its two neighbours."""
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def interval(values, seed=1):
    """The 95% bootstrap interval of the median; None for a single sample, of which nothing is known."""
    if len(values) < 2:
        return None
    rng = random.Random(seed)
    medians = sorted(median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return quantile(medians, ALPHA / 2), quantile(medians, 1 - ALPHA / 2)


def ratio_interval(ours, theirs, seed=1):
    """The 95% bootstrap interval of the ratio of two medians."""
    if min(len(ours), len(theirs)) < 2:
        return None
    rng = random.Random(seed)
    ratios = []
    for _ in range(RESAMPLES):
        below = median(rng.choices(theirs, k=len(theirs)))
        if below:
            ratios.append(median(rng.choices(ours, k=len(ours))) / below)
    ratios.sort()
    return (quantile(ratios, ALPHA / 2), quantile(ratios, 1 - ALPHA / 2)) if ratios else None


def doubled_ranks(values):
    """Twice the rank of each value, so that the shared ranks of equal ones are whole numbers too."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, begin = [0] * len(values), 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for i in order[begin:end]:
            ranks[i] = begin + 1 + end
        begin = end
    return ranks


def mann_whitney(ours, theirs):
    """The two-sided probability that two servers alike differ as much as these samples do."""
    n, total = len(ours), len(ours) + len(theirs)
    if not ours or not theirs:
        return 1.0
    ranks = doubled_ranks(list(ours) + list(theirs))
    middle = n * (total + 1)  # of the doubled rank sum of ours
    distance = abs(sum(ranks[:n]) - middle)
    if distance == 0:
        return 1.0
    if total <= EXACT_MOST:
        return exact_tail(ranks, n, middle, distance)
    mean_square = sum((r - (total + 1)) ** 2 for r in ranks) / total
    variance = mean_square * n * (total - n) / (total - 1)
    return min(1.0, math.erfc((distance - 1) / math.sqrt(2 * variance))) if variance else 1.0


def exact_tail(ranks, n, middle, distance):
    """Of all choices of n of these ranks, the share whose sum is as far from the middle."""
    ways = [{0: 1}] + [{} for _ in range(n)]  # ways[k]: sum of k ranks -> choices
    for rank in ranks:
        for k in range(n, 0, -1):
            for before, count in ways[k - 1].items():
                ways[k][before + rank] = ways[k].get(before + rank, 0) + count
    far = sum(count for reached, count in ways[n].items() if abs(reached - middle) >= distance)
    return far / math.comb(len(ranks), n)


def least_p(n, m):
    """The smallest probability that so many samples can come to."""
    return 2 / math.comb(n + m, n)


def outliers(values):
    """Indexes of the samples that stand apart from the rest, by their distance from the median in median distances."""
    if len(values) < FEWEST_FOR_OUTLIERS:
        return []
    middle = median(values)
    usual = median([abs(v - middle) for v in values]) * 1.4826
    if not usual:
        return []
    return [i for i, v in enumerate(values) if abs(v - middle) / usual > OUTLIER_SCORE]


@dataclasses.dataclass(frozen=True)
class Difference:
    """Of one server's samples from another's."""

    ratio: float  # of the medians
    interval: tuple  # of the ratio, or None
    p: float
    kind: str  # less | more | none | unknown

    def text(self):
        """As a report says it."""
        if self.kind == "unknown":
            return "too few rounds to tell"
        if self.kind == "none":
            return "no difference (p = %s)" % show_p(self.p)
        change = "%+.0f%%" % (100 * self.ratio - 100) if 0.5 < self.ratio < 2 else "x %.2g" % self.ratio
        low, high = self.interval
        return "%s (95%%: x %.2f to %.2f, p = %s)" % (change, low, high, show_p(self.p))


def show_p(p):
    return "%.2f" % p if p >= 0.1 else "%.3f" % p if p >= 0.001 else "%.0e" % p


def difference(ours, theirs):
    """What the samples allow to say of ours beside theirs. Fewer rounds than could ever tell say nothing."""
    if not ours or not theirs or not median(theirs):
        return Difference(float("nan"), None, 1.0, "unknown")
    ratio, p = median(ours) / median(theirs), mann_whitney(ours, theirs)
    if least_p(len(ours), len(theirs)) > ALPHA:
        return Difference(ratio, None, p, "unknown")
    kind = "none" if p > ALPHA or ratio == 1 else "less" if ratio < 1 else "more"
    return Difference(ratio, ratio_interval(ours, theirs), p, kind)


def survivors(probabilities):
    """Which of many tests stay significant although many were made (Benjamini and Hochberg): a list of booleans."""
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    last = 0
    for place, i in enumerate(order, 1):
        if probabilities[i] <= ALPHA * place / len(order):
            last = place
    kept = set(order[:last])
    return [i in kept for i in range(len(probabilities))]
