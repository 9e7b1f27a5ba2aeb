"""`neurosieve.io`: what other tools write becomes the native form, bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy

import neurosieve as ns
from neurosieve import io


def read(path):
    """Tensors and metadata as another reader of safetensors has them."""
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return safetensors.numpy.load_file(path), header["__metadata__"]


@pytest.fixture
def cache():
    """Two layers of 5 units in 3 sentences of 4 positions, named as TransformerLens does, and something else."""
    random = np.random.default_rng(0)
    names = ("blocks.10.hook_resid_post", "blocks.2.hook_resid_post")
    return {name: random.normal(size=(3, 4, 5)).astype(np.float32) for name in names} | {"tokens": np.arange(12).reshape(3, 4)}


def test_blocks_become_one_file_that_the_engine_reads(tmp_path, sample):
    x, y = sample
    with io.Writer(tmp_path / "train.safetensors", layers=[3, 5], metadata={"model": "m"}) as writer:
        for first in range(0, 400, 150):
            block = x[first : first + 150]
            words = [f"w {number % 7}" for number in range(len(block))]
            writer.append(block, sentence=np.full(len(block), first), position=np.arange(len(block)), words=words)
        writer.labels("kind", y)
        writer.labels("number", np.arange(400) % 2)
    tensors, metadata = read(tmp_path / "train.safetensors")
    assert (tensors["activations"] == x).all() and tensors["sentence"][399] == 300
    assert metadata["layers"] == "[3, 5]" and metadata["hidden"] == "12" and metadata["model"] == "m"
    names = json.loads(metadata["classes"])
    assert metadata["primary"] == "kind" and names == {"kind": ["noun", "other", "verb"], "number": ["0", "1"]}
    assert [names["kind"][label] for label in tensors["labels"]] == y.tolist()
    assert (tmp_path / "train.tokens.tsv").read_text(encoding="utf-8").splitlines()[:2] == [
        "sentence\tposition\ttoken",
        "0\t0\tw␣0",
    ]
    data = {part: str(tmp_path / "train.safetensors") for part in ("train", "dev", "test")}
    study = ns.Engine("cpu").study({"name": "s", "data": data | {"tasks": ["kind"]}, "probe": {"lambda_ratios": [0.1]}})
    assert study.results["tasks"][0]["oracle"]["test_accuracy"] > 0.5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["train.safetensors", "train.tokens.tsv"]


def test_a_header_that_outgrows_its_room_is_put_in_front(tmp_path):
    x = np.arange(3000, dtype=np.float32).reshape(1500, 2)
    with io.Writer(tmp_path / "a.safetensors") as writer:
        writer.append(x)
        writer.labels("word", [f"a rather long name of a class {number:05d}" for number in range(1500)])
    tensors, metadata = read(tmp_path / "a.safetensors")
    assert (tensors["activations"] == x).all() and (tensors["labels"] == np.arange(1500)).all()
    assert len(json.loads(metadata["classes"])["word"]) == 1500 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("dtype", "stored", "atol"), [(None, "F32", 0), ("float16", "F16", 2e-3), ("bfloat16", "BF16", 2e-2)])
def test_activations_are_stored_in_the_type_that_is_asked_for(tmp_path, dtype, stored, atol):
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    path = tmp_path / "x.safetensors"
    with io.Writer(path, dtype=dtype) as writer:
        writer.append(x)
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    assert json.loads(raw[8:start])["activations"]["dtype"] == stored
    if stored == "BF16":
        bits = np.frombuffer(raw[start:], dtype=np.uint16).reshape(50, 6)
        back = (bits.astype(np.uint32) << 16).view(np.float32)
        next_bits = ((bits + 1).astype(np.uint32) << 16).view(np.float32)
        assert (np.abs(back - x) <= np.abs(next_bits - back)).all()
    else:
        back = safetensors.numpy.load_file(path)["activations"].astype(np.float32)
    np.testing.assert_allclose(back, x, atol=atol)


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path):
    path = tmp_path / "x.safetensors"
    x = np.ones((4, 6), dtype=np.float32)
    for blocks, how, complaint in [
        ([x, x[:, :4]], {}, "same neurons"),
        ([x], {"layers": range(4)}, "same neurons"),
        ([x * 1e5], {"dtype": "float16"}, "65504"),
        ([], {}, "no samples"),
    ]:
        with pytest.raises(ValueError, match=complaint), io.Writer(path, **how) as writer:
            for block in blocks:
                writer.append(block)
    with pytest.raises(ValueError, match="words"), io.Writer(path) as writer:
        writer.append(x)
        writer.append(x, words=list("abcd"))
    with pytest.raises(ValueError, match="labels of t"), io.Writer(path) as writer:
        writer.append(x)
        writer.labels("t", [1, 2])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="dtype"):
        io.Writer(path, dtype="int8")
    with pytest.raises(ValueError, match=r"\.safetensors"):
        io.Writer(tmp_path / "x.npy")


def test_a_cache_becomes_layers_side_by_side(tmp_path, cache):
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    labels = {"pos": list("NVNNDNVND")}
    io.from_tensors(
        cache,
        tmp_path / "x.safetensors",
        names=r"blocks\.\d+\.hook_resid_post",
        mask=mask,
        labels=labels,
        words=list("abcdefghi"),
    )
    tensors, metadata = read(tmp_path / "x.safetensors")
    expected = np.concatenate([cache["blocks.2.hook_resid_post"], cache["blocks.10.hook_resid_post"]], axis=2)[mask.astype(bool)]
    np.testing.assert_array_equal(tensors["activations"], expected)
    assert tensors["sentence"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2] and tensors["position"].tolist() == [
        0,
        1,
        2,
        0,
        1,
        0,
        1,
        2,
        3,
    ]
    assert metadata["hooks"] == "blocks.2.hook_resid_post\nblocks.10.hook_resid_post" and metadata["hidden"] == "5"
    assert tensors["labels"].tolist() == [1, 2, 1, 1, 0, 1, 2, 1, 0]


def test_tensors_that_do_not_fit_are_refused(tmp_path, cache):
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match="tensor tokens"):
        io.from_tensors(cache, path)
    with pytest.raises(ValueError, match="There are blocks"):
        io.from_tensors(cache, path, names=["blocks.3.hook_resid_post"])
    with pytest.raises(ValueError, match="one width"):
        io.from_tensors({"a": np.ones((3, 2)), "b": np.ones((3, 4))}, path)
    with pytest.raises(ValueError, match="mask"):
        io.from_tensors(cache, path, names=r"blocks.*", mask=np.ones((3, 3)))
    assert not list(tmp_path.iterdir())


def test_torch_files_and_bfloat16_are_read_as_they_are(tmp_path, cache):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(values).bfloat16() for name, values in cache.items() if name != "tokens"}
    torch.save(tensors, tmp_path / "cache.pt")
    io.from_torch(tmp_path / "cache.pt", tmp_path / "x.safetensors")
    io.from_tensors({name: tensor.requires_grad_() for name, tensor in tensors.items()}, tmp_path / "y.safetensors")
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()
    from safetensors.torch import load_file

    found = load_file(tmp_path / "x.safetensors")["activations"]
    first = tensors["blocks.2.hook_resid_post"].detach().reshape(12, 5)
    assert found.dtype == torch.bfloat16 and torch.equal(found[:, :5], first)

    class Harm:
        def __reduce__(self):
            return print, ("it ran",)

    torch.save({"x": Harm()}, tmp_path / "bad.pt")
    with pytest.raises(Exception, match="[Ww]eights"):
        io.from_torch(tmp_path / "bad.pt", tmp_path / "z.safetensors")


def test_neurox_files_are_the_same_to_the_engine(tmp_path, tokens):
    pytest.importorskip("h5py")
    neurox = tokens / "neurox"
    io.from_neurox(
        neurox / "test.hdf5", tmp_path / "x.safetensors", source=neurox / "test.word", labels={"fine": neurox / "test.label"}
    )
    found, metadata = read(tmp_path / "x.safetensors")
    native, known = read(tokens / "test.safetensors")
    np.testing.assert_array_equal(found["activations"], native["activations"])
    names = (json.loads(part["classes"])["fine"] for part in (metadata, known))
    ours, theirs = ([classes[label] for label in part["labels"]] for classes, part in zip(names, (found, native), strict=True))
    assert ours == theirs and metadata["hidden"] == known["hidden"] and metadata["layers"] == known["layers"]
    with pytest.raises(ValueError, match="line 1 has"):
        io.from_neurox(neurox / "test.hdf5", tmp_path / "y.safetensors", source=neurox / "dev.word")


def test_neurox_json_is_read_line_by_line(tmp_path):
    values = np.arange(12, dtype=float).reshape(2, 2, 3)
    features = [
        {"token": "t", "layers": [{"index": layer, "values": values[token, layer].tolist()} for layer in range(2)]}
        for token in range(2)
    ]
    (tmp_path / "x.json").write_text(2 * (json.dumps({"linex_index": 0, "features": features}) + "\n"))
    io.from_neurox(tmp_path / "x.json", tmp_path / "x.safetensors")
    np.testing.assert_array_equal(read(tmp_path / "x.safetensors")[0]["activations"], np.tile(values.reshape(2, 6), (2, 1)))


def save(folder, table):
    """As ``Dataset.save_to_disk`` does: the stream format, in two files."""
    pa = pytest.importorskip("pyarrow")
    folder.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, part in zip(names, (table.slice(0, 2), table.slice(2)), strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(part, max_chunksize=1)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names], "_indices_data_files": None})
    )


def test_arrow_folders_become_contexts_of_positions(tmp_path, cache):
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {name: pa.array(values.tolist(), pa.list_(pa.list_(pa.float32()))) for name, values in cache.items() if name != "tokens"}
    )
    table = table.append_column("token_ids", pa.array(cache["tokens"].tolist(), pa.list_(pa.int32())))
    save(tmp_path / "cached", table)
    io.from_arrow(tmp_path / "cached", tmp_path / "x.safetensors", dtype="float16")
    tensors, metadata = read(tmp_path / "x.safetensors")
    expected = np.concatenate([cache["blocks.2.hook_resid_post"], cache["blocks.10.hook_resid_post"]], axis=2).reshape(12, 10)
    np.testing.assert_array_equal(tensors["activations"], expected.astype(np.float16))
    assert tensors["sentence"].tolist() == np.repeat([0, 1, 2], 4).tolist() and metadata["n_layers"] == "2"
    assert (tmp_path / "x.tokens.tsv").read_text().splitlines()[-1] == "2\t3\t11"
    save(tmp_path / "ragged", pa.table({"x": pa.array([[[1.0], [2.0, 3.0]]] * 3, pa.list_(pa.list_(pa.float32())))}))
    with pytest.raises(ValueError, match="other lengths"):
        io.from_arrow(tmp_path / "ragged", tmp_path / "y.safetensors")
    with pytest.raises(ValueError, match=r"state\.json"):
        io.from_arrow(tmp_path, tmp_path / "y.safetensors")
    assert not (tmp_path / "y.safetensors").exists()


def test_datasets_own_folders_are_read(tmp_path, cache):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"hook": datasets.Array2D((4, 5), "float32"), "token_ids": datasets.Sequence(datasets.Value("int32"))}
    )
    rows = {"hook": cache["blocks.2.hook_resid_post"], "token_ids": cache["tokens"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "cached")
    io.from_arrow(tmp_path / "cached", tmp_path / "x.safetensors")
    np.testing.assert_array_equal(read(tmp_path / "x.safetensors")[0]["activations"], rows["hook"].reshape(12, 5))
