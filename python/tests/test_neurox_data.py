"""`neurosieve.neurox`: ablations, files, arrays, control tasks and top words, as NeuroX's own tests pin them."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from neurosieve.neurox.analysis import corpus
from neurosieve.neurox.data import control_task, loader
from neurosieve.neurox.interpretation import ablation, linear_probe, utils

#: 3 samples of 2 layers x 4 units, or of 1 layer with forward and backward halves, or of 2 such layers of 2 units a half.
X = np.arange(1, 25, dtype=np.float32).reshape(3, 8)


@pytest.mark.parametrize("kept", [[2, 5], [5, 2], [7], [3, 3], [], np.array([0, 1])], ids=str)
@pytest.mark.parametrize("keep", [ablation.filter_activations_keep_neurons, ablation.keep_specific_neurons])
def test_kept_columns_are_in_the_order_in_which_they_are_named(keep, kept):
    found = keep(X, kept)
    assert found.shape == (3, len(kept))
    assert all((found[:, at] == X[:, neuron]).all() for at, neuron in enumerate(kept))


@pytest.mark.parametrize("gone", [[2, 5], [5, 2], [0, 1, 2, 3, 4, 5, 6, 7], []], ids=str)
def test_the_others_are_in_ascending_order(gone):
    assert (ablation.filter_activations_remove_neurons(X, gone) == X[:, [n for n in range(8) if n not in gone]]).all()


@pytest.mark.parametrize("neurons", [[2, 5], [7, 0], list(range(8)), []], ids=str)
def test_zeros_take_the_place_of_columns(neurons):
    before = X.copy()
    only = ablation.zero_out_activations_keep_neurons(X, neurons)
    without = ablation.zero_out_activations_remove_neurons(X, neurons)
    assert (only + without == X).all() and only.dtype == without.dtype == X.dtype
    assert (without[:, neurons] == 0).all() and (only[:, neurons] == X[:, neurons]).all()
    assert (before == X).all()


@pytest.mark.parametrize(
    ("layers", "number", "direction", "columns"),
    [
        ([0], 2, "none", [0, 1, 2, 3]),
        ([1], 2, "none", [4, 5, 6, 7]),
        ([1, 0], 2, "none", [4, 5, 6, 7, 0, 1, 2, 3]),
        ([3], 4, "none", [6, 7]),
        ([0], 1, "forward", [0, 1, 2, 3]),
        ([0], 1, "backward", [4, 5, 6, 7]),
        ([0, 1], 2, "forward", [0, 1, 4, 5]),
        ([0, 1], 2, "Backward", [2, 3, 6, 7]),
        ([1, 0], 2, "backward", [6, 7, 2, 3]),
    ],
)
def test_layers_are_ranges_of_columns(layers, number, direction, columns):
    assert (ablation.filter_activations_by_layers(X, layers, number, direction) == X[:, columns]).all()


def test_an_unknown_direction_is_an_assertion_error():
    with pytest.raises(AssertionError, match="sideways"):
        ablation.filter_activations_by_layers(X, [0], 2, "sideways")


TOKENS = {"source": [["a", "dog", "ran"], ["a", "cat"]], "target": [["DET", "NOUN", "VERB"], ["DET", "NOUN"]]}


@pytest.fixture
def sentences():
    return [np.arange(12, dtype=np.float32).reshape(3, 4), 100 + np.arange(8, dtype=np.float32).reshape(2, 4)]


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_tensors_have_a_row_a_token_and_mappings_both_ways(sentences, dtype):
    x, y, (label2idx, idx2label, src2idx, idx2src) = utils.create_tensors(TOKENS, sentences, "NOUN", dtype=dtype)
    assert x.shape == (5, 4) and x.dtype == (dtype or "float32") and (x[3] == sentences[1][0]).all()
    assert [idx2label[number] for number in y] == ["DET", "NOUN", "VERB", "DET", "NOUN"]
    assert {idx2label[label2idx[label]] for label in label2idx} == {"DET", "NOUN", "VERB"}
    assert idx2src[src2idx["dog"]] == "dog" and label2idx == {"DET": 0, "NOUN": 1, "VERB": 2}, "the same in every process"


def test_a_label_that_train_lacks_counts_as_the_tasks(sentences):
    mappings = ({"DET": 0, "NOUN": 1}, {0: "DET", 1: "NOUN"}, {}, {})
    assert utils.create_tensors(TOKENS, sentences, "NOUN", mappings)[1].tolist() == [0, 1, 1, 0, 1]


def test_one_tag_against_the_others_and_balance(sentences):
    _, y, mappings = utils.create_tensors(TOKENS, sentences, "NOUN", binarized_tag="VERB")
    assert y.tolist() == [0, 0, 1, 0, 0] and mappings[0] == {"VERB": 1, "OTHER": 0}
    x, y, _ = utils.create_tensors(TOKENS, sentences, "NOUN", binarized_tag="VERB", balance_data=True)
    assert sorted(y.tolist()) == [0, 1] and len(x) == 2


def test_labels_of_a_regression_are_numbers(sentences):
    tokens = {"source": TOKENS["source"], "target": [["1", "2.5", "-3"], ["0", "4"]]}
    _, y, mappings = utils.create_tensors(tokens, sentences, "", task_type="regression")
    assert y.dtype == np.float32 and y.tolist() == [1, 2.5, -3, 0, 4] and len(mappings) == 2


def test_activations_that_are_too_few_are_refused(sentences):
    with pytest.raises(ValueError, match="fewer tokens than labels"):
        utils.create_tensors(TOKENS, [sentences[0], sentences[1][:1]], "NOUN")


def test_balanced_classes_are_as_many_as_the_rarest_in_the_order_of_the_data():
    y = np.repeat([0, 1, 2], [50, 30, 20])
    x = np.arange(100)[:, None] * np.ones((1, 3))
    for balanced in (utils.balance_binary_class_data(x, y), utils.balance_multi_class_data(x, y)):
        assert Counter(balanced[1].tolist()) == {0: 20, 1: 20, 2: 20}
        assert (np.diff(balanced[0][:, 0]) > 0).all() and (y[balanced[0][:, 0].astype(int)] == balanced[1]).all()
    assert Counter(utils.balance_multi_class_data(x, y, 50)[1].tolist()) == {0: 25, 1: 15, 2: 10}
    with pytest.raises(ValueError, match="Ask for fewer"):
        utils.balance_multi_class_data(x, y, 200)


def test_batches_and_words():
    batches = list(utils.batch_generator(np.arange(7), np.arange(7) * 2, batch_size=3))
    assert [part.tolist() for part, _ in batches] == [[0, 1, 2], [3, 4, 5], [6]] and batches[2][1].tolist() == [12]
    assert utils.count_target_words(TOKENS) == 5
    assert utils.idx2tok(utils.tok2idx([["b", "a"], ["b", "c"]])) == {0: "a", 1: "b", 2: "c"}
    assert not utils.isnotebook()


def test_a_saved_probe_is_read_again(tmp_path):
    probe = linear_probe.LinearProbe(4, 3)
    utils.save_probe(tmp_path / "probe", probe, ({"a": 0}, {0: "a"}))
    again, mappings = utils.load_probe(tmp_path / "probe")
    assert (linear_probe.weights_of(again) == linear_probe.weights_of(probe)).all()
    assert mappings == ({"a": 0}, {0: "a"})


def test_results_are_printed(capsys):
    scores = {"__OVERALL__": 0.5}
    sets = {f"{kind}_{which}_accs": scores for kind in ("keep", "zero_out") for which in ("top", "random", "bottom")}
    results = {
        "probe": linear_probe.LinearProbe(4, 2),
        "original_accs": {"__OVERALL__": 0.75},
        "global_results": {"10%": sets, "15%": sets, "20%": sets, "ordering": [3, 1]},
        "local_results": {"percentages": [0.5], "local_top_neurons": [(None, [3, 1], {"NOUN": [3]})]},
    }
    utils.print_overall_stats(results)
    utils.print_machine_stats(results)
    printed = capsys.readouterr().out
    assert "75.00%" in printed and "75.00\t50.00" in printed and "[1, 3]" in printed


SOURCE = [["The", "dog", "saw", "the", "cat"], ["the", "dog", "ran"]]
TARGET = [["D", "N", "V", "D", "N"], ["D", "N", "V"]]
TRAIN = {"source": SOURCE, "target": TARGET}


def test_control_tasks_have_the_sets_that_were_given():
    for others, sets in (((), 1), ((SOURCE,), 2), ((SOURCE, SOURCE), 3), ((None, SOURCE), 2)):
        made = control_task.create_sequence_labeling_dataset(TRAIN, *others)
        assert len(made) == sets and all(part["source"] is SOURCE for part in made)
        assert all([len(line) for line in part["target"]] == [5, 3] for part in made)


@pytest.mark.parametrize("case_sensitive", [True, False])
def test_a_word_has_one_label_everywhere(case_sensitive):
    apart = []
    for seed in range(30):
        np.random.seed(seed)
        train, dev = control_task.create_sequence_labeling_dataset(TRAIN, [["cat", "The"]], case_sensitive=case_sensitive)
        labels = dict(zip(sum(SOURCE, []), sum(train["target"], []), strict=True))
        assert dev["target"] == [[labels["cat"], labels["The"]]]
        assert train["target"][1][1] == train["target"][0][1], "the dog"
        assert set(labels.values()) <= {0, 1, 2}
        apart.append(labels["The"] != labels["the"])
    assert any(apart) == case_sensitive


@pytest.mark.parametrize(("kind", "shares"), [("same", [0.7, 0.2, 0.1]), ("uniform", [1 / 3] * 3)])
def test_control_labels_are_distributed_as_asked(kind, shares):
    np.random.seed(0)
    words = [[f"w{number}" for number in range(6000)]]
    labels = [["A"] * 4200 + ["B"] * 1200 + ["C"] * 600]
    [made] = control_task.create_sequence_labeling_dataset({"source": words, "target": labels}, sample_from=kind)
    counts = np.bincount(made["target"][0], minlength=3) / 6000
    assert np.abs(counts - shares).max() < 0.03


def words_and_activations():
    tokens = {"source": [["a", "b", "c"], ["b", "a", "d"]]}
    values = np.array([[8, 0], [1, 5], [-1, 0], [1, -5], [-8, 0], [0.5, 0]], dtype=np.float32)
    return tokens, [values[:3], values[3:]]


def test_top_words_are_ordered_by_mean_z_over_the_largest():
    tokens, activations = words_and_activations()
    found = corpus.get_top_words(tokens, activations, 0)
    z = np.abs(np.concatenate(activations)[:, 0] - np.mean([8, 1, -1, 1, -8, 0.5]))
    means = {"a": (z[0] + z[4]) / 2, "b": (z[1] + z[3]) / 2, "c": z[2], "d": z[5]}
    expected = [(word, pytest.approx(means[word] / means["a"])) for word in sorted(means, key=means.get, reverse=True)]
    assert found == [pair for pair in expected if means[pair[0]] / means["a"] > 0.1]
    assert corpus.get_top_words(tokens, activations, 1)[0] == ("b", 1.0), "either sign counts"


@pytest.mark.parametrize(
    ("how", "words"), [({"num_tokens": 1}, "a"), ({"min_threshold": 0.9}, "a"), ({"min_threshold": -1}, "abcd")]
)
def test_top_words_are_limited_by_number_or_threshold(how, words):
    found = corpus.get_top_words(*words_and_activations(), 0, **how)
    assert {word for word, _ in found} == set(words)
    with pytest.raises(ValueError, match="one of them"):
        corpus.get_top_words(*words_and_activations(), 0, num_tokens=1, min_threshold=0.5)


def test_a_constant_neuron_fires_on_no_word():
    tokens, activations = words_and_activations()
    assert corpus.get_top_words(tokens, [part * 0 + 3 for part in activations], 0) == []


@pytest.fixture
def files(tmp_path):
    """Two sentences of 2 layers x 3 units: text, labels, HDF5, JSON and torch's lists."""
    random = np.random.default_rng(1)
    values = [random.normal(size=(2, tokens, 3)).astype(np.float32) for tokens in (3, 2)]
    (tmp_path / "text").write_text("a dog ran\na cat\n")
    (tmp_path / "labels").write_text("D N V\nD N\n")
    with (tmp_path / "x.json").open("w") as lines:
        for number, sentence in enumerate(values):
            features = [
                {"token": "t", "layers": [{"index": layer, "values": sentence[layer, token].tolist()} for layer in range(2)]}
                for token in range(sentence.shape[1])
            ]
            lines.write(json.dumps({"linex_index": number, "features": features}) + "\n")
    return tmp_path, values


def test_json_is_read(files):
    folder, values = files
    sentences, layers = loader.load_activations(str(folder / "x.json"))
    assert layers == 2 and [sentence.shape for sentence in sentences] == [(3, 6), (2, 6)]
    np.testing.assert_array_equal(sentences[0][:, 3:], values[0][1])
    assert loader.load_activations(folder / "x.json", dtype="float16")[0][0].dtype == np.float16


def test_hdf5_is_read_in_the_order_of_its_index(files):
    h5py = pytest.importorskip("h5py")
    folder, values = files
    with h5py.File(folder / "x.hdf5", "w") as file:
        for number, sentence in enumerate(values):
            file[str(number)] = sentence
        index = file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype())
        index[0] = json.dumps({"a cat": "1", "a dog ran": "0"})
    sentences, layers = loader.load_activations(str(folder / "x.hdf5"))
    assert layers == 2 and [sentence.shape for sentence in sentences] == [(2, 6), (3, 6)]
    np.testing.assert_array_equal(sentences[1][:, :3], values[0][0])


@pytest.mark.parametrize("name", ["x.acts", "x.t7", "x.csv"])
def test_other_kinds_of_files_are_assertion_errors(name):
    with pytest.raises(AssertionError, match="must be"):
        loader.load_activations(name)


def test_text_and_labels_are_read(files):
    folder, values = files
    activations = [np.concatenate(sentence, axis=1) for sentence in values]
    tokens = loader.load_data(folder / "text", folder / "labels", activations, 512)
    assert tokens == {"source": [["a", "dog", "ran"], ["a", "cat"]], "target": [["D", "N", "V"], ["D", "N"]]}
    assert len(activations) == 2
    tokens = loader.load_data(folder / "text", folder / "labels", activations, 512, ignore_start_token=True)
    assert tokens["source"] == [["dog", "ran"], ["cat"]] and len(activations[0]) == 2


def test_sentences_that_are_too_long_or_do_not_fit_are_left_out_everywhere(files):
    folder, values = files
    activations = [np.concatenate(sentence, axis=1) for sentence in values]
    tokens = loader.load_data(folder / "text", folder / "labels", activations, 2)
    assert tokens["source"] == [["a", "cat"]] and [len(sentence) for sentence in activations] == [2]
    activations = [np.zeros((3, 6)), np.zeros((1, 6))]
    assert len(loader.load_data(folder / "text", folder / "labels", activations, 512)["target"]) == len(activations) == 1
    aux = loader.load_aux_data(folder / "text", folder / "labels", folder / "text", [np.zeros((3, 6)), np.zeros((2, 6))], 2)
    assert aux["source_aux"] == [["a", "cat"]]
    with pytest.raises(AssertionError, match="do not match"):
        loader.load_data(folder / "text", folder / "labels", [np.zeros((3, 6))], 512)


def test_sentences_have_one_row(files):
    folder, _ = files
    tokens = loader.load_sentence_data(folder / "text", folder / "labels", [np.zeros((1, 6))] * 2)
    assert tokens["source"] == [["sentence_0"], ["sentence_1"]]
    with pytest.raises(AssertionError, match="more than one row"):
        loader.load_sentence_data(folder / "text", folder / "labels", [np.zeros((2, 6))] * 2)


def test_old_style_layers_are_forward_before_backward():
    [part], _ = loader.filter_activations_by_layers([X], [X], "f2,b1", 2, 2, True)
    assert (part == X[:, [2, 3, 4, 5]]).all()
