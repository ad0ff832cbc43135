"""Two road networks and their traffic, written as SUMO's plain XML: a motorway with ramps, and a town of 9 crossings.

Nothing is downloaded. `netconvert` builds the networks; drivers, routes and departures are drawn from a seed. The
drivers are of two kinds. Calm ones keep 1.3 s and act every 0.3 s. Brisk ones keep 0.7 s, act every 0.7 s, are fast,
change lanes into small gaps, run late yellows and take the right of way of others. Both brake gently where they can, so
that an ordinary stop is no conflict by the thresholds of `sumo_world`: a stop with deceleration b, g before a standing
car, has a least time to collision of 2 sqrt(g / 2b) at speed sqrt(2bg), 1.6 s for b = 2.4 m/s2 and g = 3 m.
"""

from __future__ import annotations

import math
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

STEP_SEC: Final = 0.1  # of the simulation, and of the camera's frames
BLOCK_M: Final = 130.0
STREETS: Final = 3
BODIES: Final = {
    "small": (3.8, 1.7, 1.45),
    "middle": (4.4, 1.8, 1.55),
    "tall": (4.7, 1.9, 1.8),
}  # length, width, height
DRIVERS: Final = {
    "calm": """accel="2.0" decel="2.2" emergencyDecel="8" sigma="0.3" tau="1.3" minGap="3.0" actionStepLength="0.3"
    speedFactor="normc(0.97,0.08,0.8,1.15)\"""",
    "brisk": """accel="3.0" decel="2.4" emergencyDecel="8" sigma="0.5" tau="0.7" minGap="3.0" actionStepLength="0.7"
    speedFactor="normc(1.2,0.12,1.0,1.5)" impatience="0.8" lcAssertive="4" lcSpeedGain="8" lcCooperative="0.2"
    jmIgnoreFoeProb="0.6" jmIgnoreFoeSpeed="20" jmTimegapMinor="0.2" jmDriveAfterRedTime="1.5"
    jmDriveAfterYellowTime="3" jmSigmaMinor="0.6\"""",
}
OTHER_TYPES: Final = """
  <vType id="lorry" vClass="truck" length="9.0" width="2.4" height="3.2" accel="1.1" decel="2.2" emergencyDecel="6"
    sigma="0.3" tau="1.6" minGap="3.5" actionStepLength="0.3" speedFactor="normc(0.85,0.05,0.75,0.95)"/>
  <vType id="bus" vClass="bus" length="12.0" width="2.5" height="3.1" accel="1.2" decel="2.2" emergencyDecel="6"
    sigma="0.3" tau="1.5" minGap="3.0" actionStepLength="0.3" speedFactor="normc(0.9,0.05,0.8,1.0)"/>
  <vType id="motorcycle" vClass="motorcycle" length="2.2" width="0.8" height="1.5" accel="4.0" decel="2.4"
    emergencyDecel="8" sigma="0.5" tau="0.7" minGap="3.0" actionStepLength="0.5" lcSpeedGain="6" lcAssertive="3"
    speedFactor="normc(1.15,0.12,0.95,1.4)" jmIgnoreFoeProb="0.2" jmIgnoreFoeSpeed="14"/>
  <vType id="walker" vClass="pedestrian" width="0.5" length="0.4" height="1.7" speedFactor="normc(1,0.15,0.6,1.4)"/>
  <vType id="rash_walker" vClass="pedestrian" width="0.5" length="0.4" height="1.7" jmIgnoreFoeProb="0.6"
    speedFactor="normc(1.2,0.15,0.8,1.6)"/>
"""
LABEL_OF_TYPE: Final = {
    **{f"{driver}_{body}": "car" for driver in DRIVERS for body in BODIES},
    "lorry": "truck",
    "bus": "bus",
    "motorcycle": "motorcycle",
    "walker": "person",
    "rash_walker": "person",
}
MIX: Final = (("calm", 0.52), ("brisk", 0.32), ("lorry", 0.08), ("bus", 0.02), ("motorcycle", 0.06))


@dataclass(frozen=True)
class Roads:
    """Files that SUMO reads, and which vehicles carry a camera."""

    network: Path
    routes: Path
    egos: frozenset[str]


def motorway(folder: Path, seed: int, duration_sec: float, netconvert: Path) -> Roads:
    """2.6 km of three lanes in wide bends with two on-ramps and one off-ramp, and the other carriageway beside it."""
    stations = {"m0": 0, "m1": 500, "m2": 800, "m3": 1300, "m4": 1600, "m5": 2000, "m6": 2600}
    nodes = [f'<node id="{name}" x="{x}" y="{_bend_m(x):.2f}" type="priority"/>' for name, x in stations.items()]
    nodes += [
        f'<node id="r1" x="200" y="{_bend_m(200) - 70:.2f}"/>',
        f'<node id="r2" x="1000" y="{_bend_m(1000) - 70:.2f}"/>',
        f'<node id="x1" x="2350" y="{_bend_m(2350) - 70:.2f}"/>',
        f'<node id="o0" x="2600" y="{_bend_m(2600) + 10:.2f}"/>',
        f'<node id="o1" x="0" y="{_bend_m(0) + 10:.2f}"/>',
    ]
    edges, connections = [], []
    for (start, end), lanes in zip(pairwise(stations), (3, 4, 3, 4, 3, 3), strict=True):
        shape = _shape(stations[start], stations[end], 0.0)
        edges.append(f'<edge id="{start}{end}" from="{start}" to="{end}" numLanes="{lanes}" speed="30" {shape}/>')
    edges += [
        # ramps end beside the three lanes of 3.2 m and run along them before; the exit leaves out of the right lane
        f'<edge id="ramp1" from="r1" to="m1" numLanes="1" speed="22" {_shape(200, 500, -70.0, -9.6)}/>',
        f'<edge id="ramp2" from="r2" to="m3" numLanes="1" speed="22" {_shape(1000, 1300, -70.0, -9.6)}/>',
        f'<edge id="exit1" from="m5" to="x1" numLanes="1" speed="22" {_shape(2000, 2350, -6.4, -70.0)}/>',
        f'<edge id="back" from="o0" to="o1" numLanes="3" speed="30" {_shape(2600, 0, 10.0)}/>',
    ]
    for before, ramp, merge, after in (("m0m1", "ramp1", "m1m2", "m2m3"), ("m2m3", "ramp2", "m3m4", "m4m5")):
        connections.append(_connection(ramp, merge, 0, 0))
        connections += [_connection(before, merge, lane, lane + 1) for lane in range(3)]
        connections += [_connection(merge, after, lane + 1, lane) for lane in range(3)]
    connections += [_connection("m4m5", "m5m6", lane, lane) for lane in range(3)] + [_connection("m4m5", "exit1", 0, 0)]
    network = _built(folder, "motorway", nodes, edges, connections, netconvert, [])

    draw = Random(seed)
    ways = (("m0m1 m1m2 m2m3 m3m4 m4m5", 4200.0), ("ramp1 m1m2 m2m3 m3m4 m4m5", 500.0), ("ramp2 m3m4 m4m5", 500.0))
    trips: list[tuple[float, str, str, str]] = []
    for way, an_hour in (*ways, ("back", 2500.0)):
        for depart_sec in _departures(draw, an_hour, duration_sec):
            last = "" if way == "back" else (" exit1" if draw.random() < 0.12 else " m5m6")
            trips.append((depart_sec, _kind(draw), way + last, 'departLane="best" departSpeed="desired"'))
    trips.sort()
    rows = [
        f'<vehicle id="v{n}" type="{kind}" depart="{depart:.1f}" {how}><route edges="{way}"/></vehicle>'
        for n, (depart, kind, way, how) in enumerate(trips)
    ]
    # long rides of cars through the whole motorway, spread over the time after the road has filled
    able = [
        f"v{n}"
        for n, trip in enumerate(trips)
        if LABEL_OF_TYPE[trip[1]] == "car" and trip[2].startswith("m0m1") and trip[0] < duration_sec - 60
    ]
    egos = _spread(able, 12)
    return Roads(network, _demand(folder, "motorway", rows), frozenset(egos))


def town(folder: Path, seed: int, duration_sec: float, netconvert: Path) -> Roads:
    """Nine crossings 130 m apart, the middle street with two lanes and lights, pavements and zebra crossings."""
    nodes, edges = [], []
    for column in range(-1, STREETS + 1):
        for row in range(-1, STREETS + 1):
            inside = 0 <= column < STREETS and 0 <= row < STREETS
            if inside or (0 <= column < STREETS) != (0 <= row < STREETS):
                kind = (
                    "dead_end" if not inside else "traffic_light" if (column, row) in ((1, 1), (0, 1)) else "priority"
                )
                place = f'x="{column * BLOCK_M}" y="{row * BLOCK_M}"'
                nodes.append(f'<node id="n{column}_{row}" {place} type="{kind}" radius="6"/>')
    known = {node.split('"')[1] for node in nodes}
    for name in sorted(known):
        column, row = (int(part) for part in name[1:].split("_"))
        for other in (f"n{column + 1}_{row}", f"n{column}_{row + 1}"):
            if other in known:
                main = row == 1 and other == f"n{column + 1}_{row}"
                lanes, priority = (2, 3) if main else (1, 1)
                for start, end in ((name, other), (other, name)):
                    edges.append(
                        f'<edge id="{start}to{end}" from="{start}" to="{end}" numLanes="{lanes}" '
                        f'speed="13.8" priority="{priority}"/>'
                    )
    options = ["--sidewalks.guess", "--crossings.guess", "--default.sidewalk-width", "2", "--no-turnarounds"]
    network = _built(folder, "town", nodes, edges, [], netconvert, options)

    draw = Random(seed)
    rows: list[tuple[float, str]] = []
    names: list[tuple[float, str, str]] = []
    for n, depart_sec in enumerate(_departures(draw, 2000.0, duration_sec)):
        kind = _kind(draw)
        way = " ".join(_ride(draw, known, 7 if LABEL_OF_TYPE[kind] == "car" else 5))
        how = 'departLane="best" departSpeed="5"'
        rows.append(
            (
                depart_sec,
                f'<vehicle id="v{n}" type="{kind}" depart="{depart_sec:.1f}" {how}><route edges="{way}"/></vehicle>',
            )
        )
        names.append((depart_sec, kind, f"v{n}"))
    for n, depart_sec in enumerate(_departures(draw, 1500.0, duration_sec)):
        kind = "rash_walker" if draw.random() < 0.25 else "walker"
        walk = f'departPos="random"><walk edges="{" ".join(_ride(draw, known, 4))}"/>'
        rows.append(
            (
                depart_sec,
                f'<person id="p{n}" type="{kind}" depart="{depart_sec:.1f}" {walk}</person>',
            )
        )
    able = [name for depart, kind, name in names if LABEL_OF_TYPE[kind] == "car" and depart < duration_sec - 60]
    return Roads(network, _demand(folder, "town", [row for _, row in sorted(rows)]), frozenset(_spread(able, 12)))


def _bend_m(x_m: float) -> float:
    """Bends of 950 m radius: y = 60 sin(2 pi x / 1500)."""
    return 60.0 * math.sin(2 * math.pi * x_m / 1500.0)


def _shape(start_m: float, end_m: float, beside_m: float, beside_at_end_m: float | None = None) -> str:
    """A line beside the motorway's middle, left positive, that goes over from one distance to another smoothly."""
    steps = max(2, round(abs(end_m - start_m) / 25))
    points = []
    for share in (k / steps for k in range(steps + 1)):
        change = (beside_m if beside_at_end_m is None else beside_at_end_m) - beside_m
        x = start_m + (end_m - start_m) * share
        points.append(f"{x:.1f},{_bend_m(x) + beside_m + change * share**2 * (3 - 2 * share):.2f}")
    return f'shape="{" ".join(points)}"'


def _connection(start: str, end: str, from_lane: int, to_lane: int) -> str:
    return f'<connection from="{start}" to="{end}" fromLane="{from_lane}" toLane="{to_lane}"/>'


def _spread(items: list[str], count: int) -> list[str]:
    """`count` of the items at equal steps."""
    count = min(count, len(items))
    return [items[round((k + 0.5) * len(items) / count - 0.5)] for k in range(count)]


def _kind(draw: Random) -> str:
    kind = draw.choices([name for name, _ in MIX], [share for _, share in MIX])[0]
    return f"{kind}_{draw.choice(sorted(BODIES))}" if kind in DRIVERS else kind


def _departures(draw: Random, an_hour: float, duration_sec: float) -> list[float]:
    """Times of a Poisson stream, s."""
    times, now = [], 0.0
    while (now := now + draw.expovariate(an_hour / 3600.0)) < duration_sec:
        times.append(now)
    return times


def _ride(draw: Random, known: set[str], edges: int) -> list[str]:
    """A drive from one end of a street over `edges` edges or to another end, never straight back."""
    ends = sorted(name for name in known if "-1" in name or str(STREETS) in name.replace("n", "").split("_"))
    place = draw.choice(ends)
    before = ""
    way: list[str] = []
    while len(way) < edges:
        column, row = (int(part) for part in place[1:].split("_"))
        near = [f"n{column + 1}_{row}", f"n{column - 1}_{row}", f"n{column}_{row + 1}", f"n{column}_{row - 1}"]
        choices = [name for name in near if name in known and name != before]
        inner = [name for name in choices if name not in ends]
        if len(way) < edges - 1 and inner:
            choices = inner
        if not choices:
            break
        step = draw.choice(choices)
        way.append(f"{place}to{step}")
        before, place = place, step
    return way


def _built(
    folder: Path,
    name: str,
    nodes: list[str],
    edges: list[str],
    connections: list[str],
    netconvert: Path,
    options: list[str],
) -> Path:
    parts = {"nodes": nodes, "edges": edges, "connections": connections}
    files = {part: folder / f"{name}.{part}.xml" for part in parts}
    for part, rows in parts.items():
        files[part].write_text(f"<{part}>\n" + "\n".join(rows) + f"\n</{part}>\n", encoding="utf-8")
    network = folder / f"{name}.net.xml"
    command = [str(netconvert), "-n", str(files["nodes"]), "-e", str(files["edges"]), "-o", str(network)]
    if connections:
        command += ["-x", str(files["connections"])]
    command += ["--junctions.internal-link-detail", "15", "--no-warnings", *options]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return network


def _demand(folder: Path, name: str, rows: list[str]) -> Path:
    path = folder / f"{name}.rou.xml"
    cars = [
        f'<vType id="{driver}_{body}" vClass="passenger" length="{length}" width="{width}" height="{height}" {how}/>'
        for driver, how in DRIVERS.items()
        for body, (length, width, height) in BODIES.items()
    ]
    path.write_text("\n".join(["<routes>", *cars, OTHER_TYPES, *rows, "</routes>\n"]), encoding="utf-8")
    return path
