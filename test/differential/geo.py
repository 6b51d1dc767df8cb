# SPDX-License-Identifier: BSD-3-Clause
"""geo: calls of the geo family, for generator.Generator. Their sorted sets have keys of their own: what is told without an order
depends on nothing but where it is."""

POINTS = [
    ("0", "0"), ("180", "0"), ("-180", "0"), ("179.9999", "10"), ("-179.9999", "10"), ("0", "85.05112878"), ("0", "-85.05112878"),
    ("13.361389", "38.115556"), ("15.087269", "37.502669"), ("-122.4194", "37.7749"), ("179.5", "-70"), ("-179.5", "84.9"), ("90", "66.1"),
    ("181", "0"), ("0", "85.06"), ("0", "-90"), ("abc", "1"), ("1", ""), ("nan", "0"), ("inf", "0"),
]  # fmt: skip
CENTRES = [(0, 0), (13.5, 38), (179.9, 5), (-179.95, -20), (100, 84.5), (-60, -84.9), (20, 67), (-100, 81)]


class GeoCalls:
    def gkey(self):
        return self.pick(self.keys[3:5]) if self.chance(0.95) else self.key()

    def gmember(self):
        return "p%d" % self.rng.randrange(40)

    def near(self):
        """A point of a few crowds, so that searches find some."""
        if self.chance(0.15):
            return list(self.pick(POINTS))
        lon, lat = self.pick(CENTRES)
        spread = self.pick([0.001, 0.1, 1, 10, 60])
        lon, lat = lon + self.rng.uniform(-spread, spread), lat + self.rng.uniform(-spread, spread)
        if self.chance(0.95):
            lon, lat = (lon + 180) % 360 - 180, max(-85.05, min(85.05, lat))
        return [repr(lon), repr(lat)]

    def unit(self):
        return self.option("M", "KM", "FT", "MI") if self.chance(0.95) else self.pick(["cm", "", "kms"])

    def length(self):
        if self.chance(0.06):
            return self.pick(["-1", "abc", "", "inf", "nan", "1e300"])
        return self.pick(["0", "1", "10", "500", "5000", "20000", "100000", "0.5", "1234.5678"]) if self.chance(0.5) else repr(10 ** self.rng.uniform(-2, 7))

    def c_geoadd(self):
        options = [self.option(w) for w in ("NX", "XX", "CH") if self.chance(0.12)]
        return ["GEOADD", self.gkey()] + options + self.some(lambda: self.near() + [self.gmember()], 1, self.pick([1, 3, 10]))

    def c_geo_read(self):
        name = self.pick(["GEOPOS", "GEOHASH", "GEODIST"])
        if name == "GEODIST":
            return [name, self.gkey(), self.gmember(), self.gmember()] + ([self.unit()] if self.chance(0.7) else [])
        return [name, self.gkey()] + self.some(self.gmember, 0, 4)

    def geo_options(self, stores):
        options = [[self.option(w)] for w in (() if stores and self.chance(0.95) else ("WITHCOORD", "WITHDIST", "WITHHASH")) if self.chance(0.4)]
        if self.chance(0.4):
            options.append([self.option("ASC", "DESC")])
        if self.chance(0.4):
            options.append([self.option("COUNT"), self.small()] + ([self.option("ANY")] if self.chance(0.4) else []))
        if self.chance(0.02):
            options.append([self.option("ANY", "STOREDIST", "STORE")])
        return options

    def polygon(self):
        lon, lat = self.pick(CENTRES[:4])  # nearer to a pole the original may look at an arbitrary place
        size = self.pick([0.1, 2, 10, 40])
        count = self.pick([3, 4, 5, 8])
        points = [(lon + self.rng.uniform(-size, size), lat + self.rng.uniform(-size, size)) for _ in range(count)]
        if self.chance(0.95):
            points = [(max(-180, min(180, x)), max(-85.05, min(85.05, y))) for x, y in points]
        told = str(count) if self.chance(0.95) else self.integer()
        return [self.option("BYPOLYGON"), told] + [repr(v) for point in points for v in point]

    def c_geosearch(self):
        stores = self.chance(0.3)
        options = self.geo_options(stores)
        shape = self.rng.random()
        if shape < 0.25:
            options.append(self.polygon())
        else:
            options.append([self.option("FROMMEMBER"), self.gmember()] if self.chance(0.4) else [self.option("FROMLONLAT")] + self.near())
            if shape < 0.65:
                options.append([self.option("BYRADIUS"), self.length(), self.unit()])
            else:
                options.append([self.option("BYBOX"), self.length(), self.length(), self.unit()])
        if self.chance(0.03):
            options.append(self.pick([self.polygon(), [self.option("FROMLONLAT")] + self.near(), [self.option("BYBOX"), "1", "1", "km"]]))
        if stores and self.chance(0.4):
            options.append([self.option("STOREDIST")])
        self.rng.shuffle(options)
        return (["GEOSEARCHSTORE", self.zkey()] if stores else ["GEOSEARCH"]) + [self.gkey()] + sum(options, [])

    def c_georadius(self):
        name = self.pick(["GEORADIUS", "GEORADIUS_RO", "GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"])
        stores = self.chance(0.3) and (not name.endswith("RO") or self.chance(0.1))
        options = self.geo_options(stores)
        if stores:
            options.append([self.option("STORE", "STOREDIST"), self.zkey()])
            if self.chance(0.1):
                options.append([self.option("STORE", "STOREDIST"), self.zkey()])
        self.rng.shuffle(options)
        centre = [self.gmember()] if "MEMBER" in name else self.near()
        return [name, self.gkey()] + centre + [self.length(), self.unit()] + sum(options, [])

    def geo_families(self):
        return [(16, self.c_geoadd), (4, self.c_geo_read), (14, self.c_geosearch), (8, self.c_georadius)]
