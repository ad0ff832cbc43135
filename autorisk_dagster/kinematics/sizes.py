"""How large road users are: what turns the height of a box into metres. Within a quarter."""

from __future__ import annotations

from typing import Final

# Height, width, length. "truck" is what COCO detectors also call vans and pick-ups, hence below a lorry.
SIZE_M: Final = {
    "car": (1.55, 1.8, 4.4),
    "truck": (2.4, 2.1, 6.0),
    "bus": (3.1, 2.5, 11.0),
    "train": (3.5, 2.8, 20.0),
    "motorcycle": (1.4, 0.8, 2.1),
    "bicycle": (1.1, 0.6, 1.7),
    "person": (1.7, 0.5, 0.8),  # a stride long
}

# Standard deviation of the logarithm of the height. KITTI: boxes of cars and vans against their distance, 0.07 to 0.18.
SIZE_SPREAD: Final = {
    "car": 0.12,
    "truck": 0.25,
    "bus": 0.1,
    "train": 0.1,
    "motorcycle": 0.15,
    "bicycle": 0.3,  # with or without its rider
    "person": 0.08,
}
