"""Sentence vectors: what the model is asked for, and what quantising and the nearest neighbours keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.reporting.text_embeddings import SentenceModel, cosines, neighbours, quantised
from tests.reporting.sentence_model import write_sentence_model

pytest.importorskip("transformers", reason="sentence models need the extra models")
WORDS = ["car", "brakes", "ahead", "pedestrian", "crosses", "road", "rain"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentence_model(tmp_path_factory.mktemp("model") / "tiny", WORDS)


def test_a_vector_does_not_depend_on_what_is_embedded_beside_it(folder: Path) -> None:
    model = SentenceModel(folder)
    texts = ["car brakes", "pedestrian crosses road ahead rain rain", "", "car " * 500]
    together = model.embed(texts)
    assert together.shape == (4, 32)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    for text, vector in zip(texts, together, strict=True):  # padding has no say in the mean
        assert model.embed([text])[0] == pytest.approx(vector, abs=1e-5)
    assert model.embed([]).shape == (0, 32)
    assert abs(float(together[0] @ together[1])) < 0.999


def test_a_models_name_tells_its_weights(folder: Path, tmp_path: Path) -> None:
    other = write_sentence_model(tmp_path / "tiny", WORDS, seed=1)
    assert SentenceModel(folder).name == SentenceModel(folder).name != SentenceModel(other).name


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    pickled = write_sentence_model(tmp_path / "pickled", WORDS)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for wrong in (pickled, tmp_path / "nothing"):
        with pytest.raises(InputError, match=r"model\.safetensors are needed"):
            SentenceModel(wrong)
    (pickled / "pytorch_model.bin").rename(pickled / "model.safetensors")
    (pickled / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        SentenceModel(pickled)


def test_quantising_keeps_the_cosines() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 384)).astype(np.float32)
    vectors[:30] += 0.8 * vectors[30:]  # some near, some not
    assert np.abs(cosines(quantised(vectors), quantised(vectors)) - cosines(vectors, vectors)).max() < 0.01
    assert quantised(np.zeros((2, 3), np.float32)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_neighbours_are_those_of_the_largest_cosine() -> None:
    vectors = quantised(np.random.default_rng(1).normal(size=(11, 8)).astype(np.float32))
    vectors[4] = 0
    scores = cosines(vectors, vectors)
    for number, near in enumerate(neighbours(vectors, 3, block=4)):
        others = [at for at in range(11) if at not in (number, 4)]
        best = sorted(others, key=lambda at: (-scores[number, at], at))[:3]
        assert [at for at, _ in near] == ([] if number == 4 else best)
        assert [cosine for _, cosine in near] == pytest.approx([scores[number, at] for at, _ in near], abs=6e-4)
    assert neighbours(np.ones((1, 4), np.int8), 3) == [[]]
