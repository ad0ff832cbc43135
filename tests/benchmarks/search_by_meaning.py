"""How well a sentence model finds what other words say: `python -m tests.benchmarks.search_by_meaning FOLDER`.

Twelve situations, each described in four ways that share hardly a word. Each description is asked for; the other three
of its situation are the right answers. The same is asked of the search by words, which has little to go by here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from autorisk_dagster.reporting.dashboard import fleet_search
from autorisk_dagster.reporting.dashboard.fleet_search import Hit
from autorisk_dagster.reporting.text_embeddings import SentenceModel

SITUATIONS = (
    (
        "A pedestrian steps off the kerb into our lane",
        "Someone on foot crosses the road right in front of us",
        "A person walks out between parked cars",
        "A woman starts across the street without looking",
    ),
    (
        "The SUV merges into our lane leaving almost no gap",
        "A vehicle cuts in sharply from the left",
        "The car beside us swerves into our path",
        "A driver squeezes in ahead of our bumper",
    ),
    (
        "The car ahead brakes hard and we close in quickly",
        "Traffic in front stops suddenly and the gap shrinks",
        "The lead vehicle slows abruptly, risk of running into its back",
        "We approach the stopped van far too fast",
    ),
    (
        "Two cars collide at the junction and one rolls over",
        "A sedan hits an SUV at the crossing",
        "The vehicles crash into each other and debris flies",
        "An impact between two automobiles at the intersection",
    ),
    (
        "A cyclist wobbles close to our right side",
        "A bicycle rider passes us with little room",
        "Someone pedalling alongside drifts towards the car",
        "A bike swings out from the cycle lane",
    ),
    (
        "A motorbike filters between the lanes at speed",
        "A biker overtakes between two rows of cars",
        "The motorcycle shoots past on the lane line",
        "A scooter rider weaves through stopped traffic",
    ),
    (
        "A long horn sounds from the truck behind",
        "Another driver honks at us",
        "We hear loud beeping as a lorry warns us",
        "The vehicle next to us blasts its horn",
    ),
    (
        "Dark road, an unlit trailer stands ahead",
        "At night a parked lorry without lamps appears late",
        "In the darkness an obstacle shows up only at the last second",
        "Poor visibility after sunset hides a broken-down van",
    ),
    (
        "The road is icy and the car ahead slides",
        "A vehicle loses grip on snow and spins",
        "Slippery surface, the van skids sideways",
        "On the frozen street a car drifts out of control",
    ),
    (
        "A deer jumps onto the highway",
        "A dog runs across the street",
        "An animal appears on the carriageway",
        "Wildlife crosses in front of the car",
    ),
    (
        "An oncoming car is on our side of the road",
        "A vehicle comes towards us in our own lane",
        "Head-on danger: the opposite driver overtakes",
        "The approaching truck drifts over the centre line",
    ),
    (
        "A car runs the red light across our path",
        "Someone ignores the stop signal at the crossing",
        "The van enters the junction although its lamp is red",
        "A driver jumps the traffic light",
    ),
)
RIGHT = len(SITUATIONS[0]) - 1


def main(folder: Path) -> None:
    """Print precision at three, and how often the first answer is right, by meaning, by words and by chance."""
    model = SentenceModel(folder)
    said = [(number, text) for number, texts in enumerate(SITUATIONS) for text in texts]
    rows = [{"id": f"{number}-{at}", "severity": None, "start": 0.0, "end": 1.0} for at, (number, _) in enumerate(said)]
    texts = [{"hazards": "", "reasoning": text, "evidence": ""} for _, text in said]
    table = fleet_search.text_table(rows, texts, model)

    def measured(search: Callable[[str], list[Hit]]) -> tuple[float, float]:
        right, first = 0, 0
        for row, (number, text) in zip(rows, said, strict=True):
            found = [hit.row["clip_id"] for hit in search(text) if hit.row["clip_id"] != row["id"]][:RIGHT]
            of_it = [one.startswith(f"{number}-") for one in found]
            right += sum(of_it)
            first += bool(of_it and of_it[0])
        return right / (RIGHT * len(rows)), first / len(rows)

    by = {
        f"meaning ({model.name})": measured(lambda asked: fleet_search.by_meaning(table, asked, model)),
        "words (BM25)": measured(lambda asked: fleet_search.by_words(table, asked)),
        "chance": (RIGHT / (len(rows) - 1),) * 2,
    }
    print(f"{len(rows)} texts: precision at {RIGHT}, first answer right")
    for name, (precision, first) in by.items():
        print(f"{name:40} {precision:.2f}  {first:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
