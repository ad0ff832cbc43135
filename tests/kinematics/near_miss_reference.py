"""Near misses by the document alone: one pair after the other, in plain Python, with the rulings in place.

Written from seed 002 without a look at the vectorised detector, so that both can be compared event by event.
"""

import math


def speed_and_heading(trajectory):
    points = [(x, y) for _, x, y in (trajectory or [])][-5:]
    if len(points) < 2:
        return 0.0, 0.0
    steps = []
    for i in range(len(points) - 1):
        steps.append(math.hypot(points[i + 1][0] - points[i][0], points[i + 1][1] - points[i][1]))
    speed = sum(steps) / len(steps)
    heading = math.degrees(math.atan2(points[-1][1] - points[0][1], points[-1][0] - points[0][0]))
    return speed, heading


def iou(a, b):
    if a[2] < a[0] or a[3] < a[1] or b[2] < b[0] or b[3] < b[1]:
        return 0.0
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


class ReferenceDetector:
    def __init__(
        self,
        proximity_px=100,
        ttc_threshold=2.0,
        fps=15,
        debounce_frames=30,
        filters_enabled=True,
        stationary_speed_px=5.0,
        confirm_frames=5,
        same_direction_deg=30.0,
        min_confidence=0.5,
    ):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})
        self.buffer, self.last_event_frame, self.events = {}, {}, []

    def process_frame(self, frame_idx, tracked_objects):
        usable = {
            key: state
            for key, state in tracked_objects.items()
            if all(math.isfinite(v) for v in (*state["bbox"], *state["center"]))
        }
        emitted, counts = [], {}
        for id_1 in sorted(usable):
            for id_2 in sorted(usable):
                if id_1 >= id_2:
                    continue
                event, count = self.pair(frame_idx, id_1, usable[id_1], id_2, usable[id_2])
                counts[id_1, id_2] = count
                if event is not None:
                    emitted.append(event)
        self.buffer = counts  # a pair that was not seen starts from 0 again
        self.events += emitted
        return emitted

    def pair(self, frame_idx, id_1, one, id_2, two):
        """(event or None, confirmation count after this frame)"""
        dx, dy = two["center"][0] - one["center"][0], two["center"][1] - one["center"][1]
        distance = math.hypot(dx, dy)
        if not (distance < self.proximity_px or iou(one["bbox"], two["bbox"]) > 0):
            return None, 0

        speed_1, heading_1 = speed_and_heading(one.get("trajectory"))
        speed_2, heading_2 = speed_and_heading(two.get("trajectory"))
        if distance == 0:
            closing, ttc = None, 0.0
        else:
            vx = speed_2 * math.cos(math.radians(heading_2)) - speed_1 * math.cos(math.radians(heading_1))
            vy = speed_2 * math.sin(math.radians(heading_2)) - speed_1 * math.sin(math.radians(heading_1))
            closing = -(vx * (dx / distance) + vy * (dy / distance))
            ttc = math.inf if closing <= 0 else distance / closing / self.fps

        fastest = max(speed_1, speed_2)
        criteria = [distance < self.proximity_px, ttc < self.ttc_threshold, fastest > 5.0]
        if sum(criteria) < 2:
            return None, 0

        norm_ttc = 1.0 if math.isinf(ttc) else min(ttc / self.ttc_threshold, 1.0)
        score = (
            (1 - min(distance / self.proximity_px, 1.0)) * 0.4 + (1 - norm_ttc) * 0.4 + min(fastest / 30.0, 1.0) * 0.2
        )
        rounded = round(score, 4)
        level = "High" if rounded >= 0.7 else "Medium" if rounded >= 0.4 else "Low"

        count = self.buffer.get((id_1, id_2), 0)
        if self.filters_enabled:
            if speed_1 < self.stationary_speed_px and speed_2 < self.stationary_speed_px:
                return None, 0
            difference = abs(heading_1 - heading_2)
            if difference > 180:
                difference = 360 - difference
            if closing is not None and difference < self.same_direction_deg and closing < 2.0:
                return None, 0
            if one["confidence"] < self.min_confidence or two["confidence"] < self.min_confidence:
                return None, 0
            count += 1
            if count < self.confirm_frames:
                return None, count

        last = self.last_event_frame.get((id_1, id_2), -self.debounce_frames - 1)
        if frame_idx - last < self.debounce_frames:
            return None, count
        self.last_event_frame[id_1, id_2] = frame_idx
        return {
            "frame_index": frame_idx,
            "timestamp_sec": frame_idx / self.fps,
            "object_id_1": id_1,
            "object_id_2": id_2,
            "class_1": one["class"],
            "class_2": two["class"],
            "label_1": one["label"],
            "label_2": two["label"],
            "distance_px": distance,
            "ttc_sec": None if math.isinf(ttc) else ttc,
            "risk_score": score,
            "risk_level": level,
            "conf_1": one["confidence"],
            "conf_2": two["confidence"],
        }, count
