"""What can be said of H.264 packets without decoding them (ITU-T H.264: 7.3.1 NAL units, annex B; ISO 14496-15, 5.3).

Packets come in either framing: length prefixed with parameter sets in the header (mp4, Matroska, FLV), or with start
codes (MPEG-TS, AVI). The contents of slices are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

_IDR_SLICE = 5
_SLICES = (1, 2, 3, 4, _IDR_SLICE)
_PARAMETER_SETS = (7, 8, 13, 15)  # SPS, PPS, SPS extension, subset SPS
_START_CODE = b"\x00\x00\x01"


class DamagedPacketError(Exception):
    """A packet's NAL units do not fill it, or are of no allowed kind."""


class Framing:
    """Reads the NAL units of one stream's packets, given the stream's extra data.

    Attributes:
        parameter_sets: the parameter sets that the header holds
    """

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = 0  # 0: start codes
        if len(extradata) > 5 and extradata[0] == 1:
            self._length_bytes = (extradata[4] & 3) + 1
            self.parameter_sets = frozenset(_sets_of_header(extradata))
        else:
            self.parameter_sets = frozenset(_between_start_codes(extradata))

    def units(self, packet: bytes) -> list[bytes]:
        """The NAL units of a packet, headers included.

        Raises:
            DamagedPacketError: lengths that do not add up, no unit, or a unit with the forbidden bit.
        """
        cut = self._by_length(packet) if self._length_bytes else _between_start_codes(packet)
        units = [unit for unit in cut if unit]
        if not units or any(unit[0] & 0x80 for unit in units):
            raise DamagedPacketError
        return units

    def _by_length(self, packet: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(packet):
            first = at + self._length_bytes
            at = first + int.from_bytes(packet[at:first], "big")
            if at > len(packet):
                raise DamagedPacketError
            yield packet[first:at]


def is_idr(units: list[bytes]) -> bool:
    """True where decoding can begin: an IDR picture, after which nothing refers to what was before (7.4.1.2.4).

    A container's key frame may also be an open group's first picture, which is no such place.
    """
    return any(_kind(unit) == _IDR_SLICE for unit in units)


def has_picture(units: list[bytes]) -> bool:
    """True where a packet holds at least one slice."""
    return any(_kind(unit) in _SLICES for unit in units)


def parameter_sets(units: list[bytes]) -> frozenset[bytes]:
    """The parameter sets that a packet carries."""
    return frozenset(unit for unit in units if _kind(unit) in _PARAMETER_SETS)


def _kind(unit: bytes) -> int:
    return unit[0] & 0x1F


def _between_start_codes(content: bytes) -> Iterator[bytes]:
    at = content.find(_START_CODE)
    while at >= 0:
        first = at + len(_START_CODE)
        at = content.find(_START_CODE, first)
        # Zero bytes before the next start code, or at the end, belong to no unit (annex B, trailing_zero_8bits).
        yield content[first : at if at >= 0 else len(content)].rstrip(b"\x00")


def _sets_of_header(header: bytes) -> Iterator[bytes]:
    """AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1): counted SPS, then counted PPS, each with its length."""
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(header):
            return
        count = header[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(header[at : at + 2], "big")
            yield header[at + 2 : at + 2 + size]
            at += 2 + size
