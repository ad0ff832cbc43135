"""What an answer names: whole words in all their forms, with negation.

A text is read as words and marks. A word is looked up among the listed forms of a concept, so that "careful" names no
car and "crossing" is a form of "cross". Said things that are no road user are taken out first: the own vehicle ("our
car"), and compounds ("bus stop", "pedestrian crossing").

A mention is negated by a negator before it (after NegEx, Chapman et al. 2001) or by "is not there", "absent" and the
like after it. Of a thing the determiner of its own noun phrase negates ("no cyclist", "without a car", "no car, bus or
truck"): "no pedestrian is near the car" names the car, and who does "not yield to the pedestrian" has named one. Of an
event every negator of its clause does ("nothing in the picture comes near"). A thing that is only supposed ("if a
child", "any vehicle") is not named. Not covered: other languages than English, irony, pronouns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(r"#?[a-z0-9]+(?:'[a-z]+)?|[.,;:!?()]")
_OWN: Final = re.compile(
    r"\b(?:own|ego|host|subject|camera|recording|filming|dashcam|our|my)[ -](?:vehicle|car|truck|van|bus)(?:'s)?\b"
)
_COMPOUND: Final = re.compile(
    r"\b(?:(?:bus|truck|taxi)[ -](?:stops?|lanes?|stations?|bays?|shelters?)"
    r"|(?:bike|bicycle|cycle|motorcycle)[ -](?:lanes?|paths?|racks?|tracks?)"
    r"|pedestrian[ -](?:crossings?|signals?|lights?|areas?|zones?|paths?|bridges?|walkways?|islands?)"
    r"|traffic[ -](?:lights?|signals?|signs?|cones?|islands?|rules?|laws?)"
    r"|(?:first|third)[ -]person|man[ -]made|car[ -](?:parks?|horns?)|left[ -]hand[ -]drive|right of way)\b"
)
_ENDS_SENTENCE: Final = frozenset(".;:!?()")
_ENDS_CLAUSE: Final = frozenset(
    ("but", "however", "although", "though", "while", "yet", "except", "whereas", "because")
)
_OF_THINGS: Final = frozenset(("no", "without", "zero", "neither", "nor", "none"))
_OF_THINGS_PHRASE: Final = (
    ("absence", "of"),
    ("lack", "of"),
    ("free", "of"),
    ("clear", "of"),
    ("not", "any"),
    ("not", "a"),
)
_OF_EVENTS: Final = _OF_THINGS | {"not", "never", "nothing", "nobody", "avoid", "avoids", "avoiding"}
_DETERMINERS: Final = frozenset(("the", "this", "that", "these", "its", "their", "another", "one", "two"))
_SUPPOSED: Final = frozenset(("if", "any", "potential", "possible", "hidden", "unseen", "unexpected", "imagined"))
_NO_NEGATION: Final = (
    ("not", "only"),
    ("no", "doubt"),
    ("not", "just"),
    ("no", "longer"),
    ("no", "time"),
    ("no", "room"),
)
_AFTER: Final = frozenset(("visible", "present", "seen", "detected", "involved", "there", "identified", "observed"))
_REACH: Final = {False: 6, True: 24}  # words over which a negator reaches, of things and of events


@dataclass(frozen=True)
class Concept:
    """Something that can be named.

    Attributes:
        forms: words that name it, in every form
        event: whether it happens, rather than is there
    """

    forms: frozenset[str]
    event: bool = False


@dataclass(frozen=True)
class Mention:
    """One word of a text that names a concept; `affirmed`: neither negated nor only supposed."""

    concept: str
    word: str
    position: int
    affirmed: bool


def things(nouns: str, more: str = "") -> Concept:
    """A concept of nouns (between spaces) with plural and genitive, and of `more` words as they are."""
    return Concept(frozenset(form for noun in nouns.split() for form in _noun_forms(noun)) | {*more.split()})


def events(verbs: str, more: str = "") -> Concept:
    """A concept of verbs (between spaces) with their inflections, and of `more` words as they are."""
    forms = frozenset(form for verb in verbs.split() for form in _verb_forms(verb))
    return Concept(forms | {*more.split()}, event=True)


def words_of(text: str) -> list[str]:
    """Lower-case words and marks of a text without the own vehicle and compounds that only contain a road user."""
    plain = re.sub(r"[’`]", "'", text.lower()).replace("n't", " not").replace("cannot", "can not")
    plain = _COMPOUND.sub(" ", _OWN.sub(" ", plain.replace("own path", "ownpath").replace("own lane", "ownlane")))
    return _TOKEN.findall(plain)


def mentions(text: str, concepts: Mapping[str, Concept]) -> list[Mention]:
    """Every mention of the concepts in a text, in order."""
    words = words_of(text)
    found = []
    for position, word in enumerate(words):
        for name, concept in concepts.items():
            if word in concept.forms:
                found.append(Mention(name, word, position, _affirmed(words, position, concept.event)))
    return found


def named(text: str, concepts: Mapping[str, Concept]) -> set[str]:
    """The concepts that a text affirms."""
    return {mention.concept for mention in mentions(text, concepts) if mention.affirmed}


def names(text: str, concept: Concept) -> bool:
    """Whether a text affirms a concept."""
    return bool(named(text, {"it": concept}))


def _affirmed(words: list[str], position: int, event: bool) -> bool:
    before = _clause_before(words, position, _REACH[event])
    for back, word in enumerate(reversed(before)):
        at = len(before) - 1 - back
        pair = (word, before[at + 1]) if at + 1 < len(before) else (word, words[position])
        if pair in _NO_NEGATION:
            continue
        if not event and word in _DETERMINERS and before[at - 1 : at] not in (["without"], ["of"]):
            break  # it has its own determiner: what is negated before it is another thing
        if event and (word in _OF_EVENTS or pair in _OF_THINGS_PHRASE):
            return False
        if not event and (word in _OF_THINGS or word in _SUPPOSED or pair in _OF_THINGS_PHRASE):
            return False
    after = words[position + 1 : position + 4]
    if "absent" in after[:2]:
        return False
    return not ("not" in after[:2] and any(word in _AFTER for word in after))


def _clause_before(words: list[str], position: int, reach: int) -> list[str]:
    """The words of the clause before a position, at most `reach`, without marks."""
    found: list[str] = []
    for at in range(position - 1, -1, -1):
        word = words[at]
        if word in _ENDS_SENTENCE or word in _ENDS_CLAUSE or len(found) == reach:
            break
        if word == ",":
            # A comma ends the clause, but for a list under one negator: "no car, bus or truck".
            if not _in_list(words, at):
                break
            continue
        found.append(word)
    return found[::-1]


def _in_list(words: list[str], comma: int) -> bool:
    following = words[comma + 1 : comma + 6]
    return any(word in ("or", "nor") for word in following[:4]) and "." not in following[:3]


def _noun_forms(noun: str) -> Iterable[str]:
    plural = (
        f"{noun[:-1]}ies"
        if re.search(r"[^aeiou]y$", noun)
        else noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
    )
    return noun, plural, f"{noun}'s", f"{plural}'"


def _verb_forms(verb: str) -> Iterable[str]:
    if verb.endswith("e"):
        return verb, f"{verb}s", f"{verb}d", f"{verb[:-1]}ing"
    if re.search(r"[^aeiou]y$", verb):
        return verb, f"{verb[:-1]}ies", f"{verb[:-1]}ied", f"{verb}ing"
    third = verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")
    # One short vowel before one consonant doubles it: stop, stopping; both spellings are taken where usage differs.
    stem = verb + verb[-1] if re.search(r"(?:^|[^aeiou])[aeiou][bdgklmnprt]$", verb) else verb
    return verb, third, f"{verb}ed", f"{verb}ing", f"{stem}ed", f"{stem}ing"


ROAD_USERS: Final[dict[str, Concept]] = {
    "person": things(
        "person pedestrian man woman child walker jogger runner boy girl kid passerby worker",
        "people men women children",
    ),
    "bicycle": things("bicycle bike cyclist bicyclist"),
    "motorcycle": things("motorcycle motorbike motorcyclist moped scooter biker"),
    "car": things("car sedan suv hatchback taxi cab minivan jeep coupe"),
    "bus": things("bus coach minibus"),
    "truck": things("truck lorry trailer tanker"),
    "train": things("train tram streetcar"),
    "vehicle": things("vehicle van pickup motorist traffic"),
    "rider": things("rider"),
}

# What the detector's labels may be called: it takes a van for a car or truck, a pick-up for either, and a rider and his
# cycle for one thing or two. Conservative: a wrong name of the right kind does not count as an actor that is not there.
MAY_BE: Final[dict[str, frozenset[str]]] = {
    "person": frozenset(("person",)),
    "bicycle": frozenset(("bicycle", "motorcycle", "person")),
    "motorcycle": frozenset(("motorcycle", "bicycle", "person")),
    "rider": frozenset(("bicycle", "motorcycle", "person")),
    "car": frozenset(("car", "truck", "bus")),
    "bus": frozenset(("bus", "truck", "car")),
    "truck": frozenset(("truck", "bus", "car")),
    "train": frozenset(("train", "bus", "truck")),
    "vehicle": frozenset(("car", "truck", "bus", "motorcycle", "train")),
}
