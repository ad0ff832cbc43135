"""NAL units of H.264 packets, built by hand (ITU-T H.264 7.3.1, annex B; ISO 14496-15 5.3.3)."""

from __future__ import annotations

import pytest

from autorisk_dagster.video.h264 import DamagedPacketError, Framing, has_picture, is_idr, parameter_sets

SPS, PPS = b"\x67\x64\x00\x1f", b"\x68\xeb"
IDR, OPEN, SEI = b"\x65\x88\x84", b"\x41\x9a\x02", b"\x06\x06\x01\x80"
# Version 1, profile 3 bytes, 4 byte lengths (0xFF & 3 + 1), one SPS of 4 bytes, one PPS of 2 bytes.
AVCC = b"\x01\x64\x00\x1f\xff\xe1\x00\x04" + SPS + b"\x01\x00\x02" + PPS


def lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def start_codes(*units: bytes) -> bytes:
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units)


@pytest.mark.parametrize(("header", "packed"), [(AVCC, lengths), (start_codes(SPS, PPS), start_codes)])
def test_both_framings_say_the_same(header: bytes, packed: object) -> None:
    framing = Framing(header)
    assert framing.parameter_sets == {SPS, PPS}
    assert callable(packed)
    units = framing.units(packed(SPS, PPS, SEI, IDR))
    assert units == [SPS, PPS, SEI, IDR]
    assert (is_idr(units), has_picture(units), parameter_sets(units)) == (True, True, {SPS, PPS})


def test_the_first_picture_of_an_open_group_is_no_idr_picture() -> None:
    units = Framing(AVCC).units(lengths(SEI, OPEN))  # SEI 6: a recovery point; containers call this a key frame
    assert (is_idr(units), has_picture(units)) == (False, True)
    assert not has_picture(Framing(AVCC).units(lengths(SEI)))


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        lengths(IDR)[:-1],  # cut off
        lengths(IDR) + b"\x00\x00",  # half a length
        b"\x00\x00\x10\x00" + IDR,  # a length past the end
        lengths(b"\xe5\x88"),  # forbidden_zero_bit
    ],
)
def test_damaged_packets_are_told(packet: bytes) -> None:
    with pytest.raises(DamagedPacketError):
        Framing(AVCC).units(packet)


def test_zero_bytes_behind_a_unit_are_not_part_of_it() -> None:
    framing = Framing(start_codes(SPS, PPS))
    assert framing.units(start_codes(IDR) + b"\x00\x00\x00" + start_codes(OPEN) + b"\x00") == [IDR, OPEN]
