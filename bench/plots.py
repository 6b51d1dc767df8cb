# SPDX-License-Identifier: BSD-3-Clause
"""plots: pictures as SVG within a page. Colours are classes (s0, s1 ...) and texts take the page's, so that light and dark are the page's matter.

All are as wide as a phone; a page puts several side by side where there is room.
"""

import html
import math

import stats

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34


def show(value):
    """A number as an axis or a table has it: three digits."""
    if value == 0:
        return "0"
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return "%.3g%s" % (value / size, sign)
    return "%.3g" % value


class Axis:
    """From values to places, and where its ticks are."""

    def __init__(self, values, begin, end, log=False, zero=True):
        values = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)] or [1]
        low, high = min(values), max(values)
        self.log = log
        if log:
            low, high = 10 ** math.floor(math.log10(low) + 1e-9), 10 ** math.ceil(math.log10(high) - 1e-9)
            high = high if high > low else low * 10
            self.ticks = [10.0**e for e in range(round(math.log10(low)), round(math.log10(high)) + 1)]
        else:
            low = min(0, low) if zero else low
            high = high if high > low else low + 1
            step = 10 ** math.floor(math.log10((high - low) / 4))
            step *= next(m for m in (1, 2, 2.5, 5, 10) if (high - low) / (step * m) <= 5)
            low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
            self.ticks = [low + i * step for i in range(round((high - low) / step) + 1)]
        self.low, self.high, self.begin, self.end = low, high, begin, end

    def __call__(self, value):
        if self.log:
            share = (math.log10(max(value, self.low)) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + (self.end - self.begin) * share


def text(x, y, words, anchor="middle", more=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>' % (x, y, anchor, more, html.escape(words))


def picture(parts, title, height=HEIGHT):
    return '<svg viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>' % (WIDTH, height, html.escape(title, quote=True), "".join(parts))


def frame(x, y, x_title, y_title, x_labels=None):
    """Grid, ticks and titles. x_labels: [(place, words)] instead of the ticks of x."""
    parts = []
    for tick in y.ticks:
        place = y(tick)
        parts.append('<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>' % (LEFT, WIDTH - RIGHT, place, place))
        parts.append(text(LEFT - 5, place + 3.5, show(tick), "end"))
    for place, words in x_labels if x_labels is not None else [(x(tick), show(tick)) for tick in x.ticks]:
        parts.append(text(place, HEIGHT - BOTTOM + 14, words))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_title))
    parts.append(text(0, 0, y_title, more='transform="translate(10 %d) rotate(-90)"' % ((TOP + HEIGHT - BOTTOM) / 2)))
    return parts


def axes(xs, ys, x_log=False, y_log=False):
    return Axis(xs, LEFT, WIDTH - RIGHT, x_log), Axis(ys, HEIGHT - BOTTOM, TOP, y_log)


def lines(series, title, x_title, y_title, x_log=False, y_log=False, dots=False, x_labels=None):
    """series: [(class, name, [(x, y)])]."""
    points = [p for _, _, found in series for p in found]
    x, y = axes([p[0] for p in points], [p[1] for p in points], x_log, y_log)
    parts = frame(x, y, x_title, y_title, [(x(at), words) for at, words in x_labels] if x_labels else None)
    for kind, name, found in series:
        path = " ".join("%.1f,%.1f" % (x(a), y(b)) for a, b in found)
        parts.append('<polyline class="line %s" points="%s"><title>%s</title></polyline>' % (kind, path, html.escape(name)))
        for a, b in found if dots else ():
            parts.append('<circle class="dot %s" cx="%.1f" cy="%.1f" r="3.5"><title>%s: %s</title></circle>' % (kind, x(a), y(b), html.escape(name), show(b)))
    return picture(parts, title)


def percentile_curves(series, title):
    """series: [(class, name, [(per cent, ms)])]; the distance to 100% is drawn to a log scale, as far as there are samples."""
    drawn = [(kind, name, [(1 / (1 - p / 100), ms) for p, ms in found if p < 100]) for kind, name, found in series]
    most = max((at for _, _, found in drawn for at, _ in found), default=10)
    labels = [(10**e, words) for e, words in enumerate(("0%", "90%", "99%", "99.9%", "99.99%", "99.999%", "99.9999%")) if 10**e <= most * 1.01]
    return lines(drawn, title, "share of requests that are faster", "ms", x_log=True, y_log=True, x_labels=labels)


def boxes(groups, title, y_title):
    """groups: [(class, name, values)]: the middle half as a box, the median as a line, each sample as a dot."""
    _, y = axes([0], [v for _, _, values in groups for v in values])
    wide = (WIDTH - RIGHT - LEFT) / max(1, len(groups))
    labels = [(LEFT + (i + 0.5) * wide, name if len(groups) < 4 else name[:9]) for i, (_, name, _) in enumerate(groups)]
    parts = frame(None, y, "", y_title, labels)
    for (kind, name, values), (middle, _) in zip(groups, labels):
        ordered, half = sorted(values), min(26, wide * 0.32)
        low, median, high = (stats.quantile(ordered, q) for q in (0.25, 0.5, 0.75))
        parts.append('<line class="whisker %s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>' % (kind, middle, middle, y(ordered[0]), y(ordered[-1])))
        parts.append(
            '<rect class="box %s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s: median %s, %s to %s</title></rect>'
            % (kind, middle - half, y(high), 2 * half, max(1, y(low) - y(high)), html.escape(name), show(median), show(ordered[0]), show(ordered[-1]))
        )
        parts.append('<line class="median %s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>' % (kind, middle - half, middle + half, y(median), y(median)))
        for i, v in enumerate(values):
            parts.append('<circle class="dot %s" cx="%.1f" cy="%.1f" r="2"/>' % (kind, middle + (i % 5 - 2) * half / 4, y(v)))
    return picture(parts, title)


def bars(groups, title, unit):
    """groups: [(class, name, value)], lying."""
    height = 12 + 30 * len(groups)
    most = max([value for _, _, value in groups] or [1]) or 1
    parts = []
    for i, (kind, name, value) in enumerate(groups):
        wide = (WIDTH - 70) * value / most
        parts.append(text(0, 30 * i + 11, name, "start"))
        parts.append('<rect class="bar %s" x="0" y="%d" width="%.1f" height="12" rx="2"/>' % (kind, 30 * i + 16, wide))
        parts.append(text(wide + 5, 30 * i + 26, "%s %s" % (show(value), unit), "start", 'class="strong"'))
    return picture(parts, title, height)


def ratios(rows, title):
    """rows: [(label, class, difference)]: ratio on a log scale with its interval; left of the middle is less."""
    height = 30 + 26 * len(rows)
    reach = [abs(math.log2(v)) for _, _, d in rows for v in (d.ratio, *(d.interval or ())) if v and v > 0]
    edge = max(1, math.ceil(min(max(reach, default=1), 5)))
    place = lambda v: 10 + (WIDTH - 20) * (max(-edge, min(edge, math.log2(v))) + edge) / (2 * edge)  # noqa: E731
    parts = []
    for e in range(-edge, edge + 1):
        parts.append('<line class="%s" x1="%.1f" x2="%.1f" y1="4" y2="%d"/>' % ("zero" if e == 0 else "grid", place(2.0**e), place(2.0**e), height - 18))
        parts.append(text(place(2.0**e), height - 4, "same" if e == 0 else "x %s" % show(2.0**e), {-edge: "start", edge: "end"}.get(e, "middle")))
    for i, (label, kind, d) in enumerate(rows):
        y = 22 + 26 * i
        parts.append(text(10, y - 7, label, "start"))
        faint = "" if d.kind in ("less", "more") else " faint"
        if d.interval:
            low, high = (place(v) for v in d.interval)
            parts.append('<line class="whisker %s%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>' % (kind, faint, low, high, y, y))
        parts.append('<circle class="dot %s%s" cx="%.1f" cy="%d" r="4"><title>%s</title></circle>' % (kind, faint, place(d.ratio), y, html.escape("%s: x %.2f, %s" % (label, d.ratio, d.text()))))
    return picture(parts, title, height)


def heat(cells, columns, rows, title, x_title, y_title):
    """cells: {(column, row): (strength from -1 to 1, words)}; strength chooses between two colours."""
    wide, high = (WIDTH - LEFT - RIGHT) / len(columns), 26
    height = 12 + high * len(rows) + 36
    parts = []
    for j, row in enumerate(rows):
        parts.append(text(LEFT - 5, 12 + high * (j + 0.5) + 4, row, "end"))
        for i, column in enumerate(columns):
            if (column, row) in cells:
                strength, words = cells[column, row]
                kind = "good" if strength >= 0 else "bad"
                parts.append(
                    '<rect class="cell %s" fill-opacity="%.2f" x="%.1f" y="%.1f" width="%.1f" height="%d"/>'
                    % (kind, 0.08 + 0.72 * min(1, abs(strength)), LEFT + wide * i + 1, 12 + high * j + 1, wide - 2, high - 2)
                )
                parts.append(text(LEFT + wide * (i + 0.5), 12 + high * (j + 0.5) + 4, words, more='class="strong"'))
    for i, column in enumerate(columns):
        parts.append(text(LEFT + wide * (i + 0.5), 12 + high * len(rows) + 14, column))
    parts.append(text((LEFT + WIDTH) / 2, height - 6, "%s across, %s down" % (x_title, y_title)))
    return picture(parts, title, height)
