"""`neurosieve.distributed`: the units' results are those of one engine, to the bit, wherever they are computed."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

import neurosieve as ns
from neurosieve import distributed as nd
from neurosieve.io import Writer


@pytest.fixture(scope="module")
def wide() -> np.ndarray:
    """700 x 430 in float32, of which some neurons are constant, nearly constant, and each other's copies."""
    random = np.random.default_rng(3)
    x = random.normal(size=(700, 20)) @ random.normal(size=(20, 430)) + random.normal(size=(700, 430))
    x[:, 5], x[:, 300] = 2.5, 1e-9 * x[:, 300]
    x[:, 417] = x[:, 17]
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def problems(wide) -> list[ns.Problem]:
    random = np.random.default_rng(4)
    classes = np.array(["noun", "verb", "other"])[random.integers(0, 3, len(wide))]
    values = wide[:, :3].sum(axis=1) + random.normal(size=len(wide))
    weight = random.integers(0, 3, len(wide)).astype(float)
    path = [ns.Problem(classes, l1=l1, l2=1e-3) for l1 in (0.03, 0.01, 0.003)]
    return [
        *path,
        ns.Problem(classes, l1=0.01, l2=0.01, sample_weight=weight, neurons=np.arange(0, 430, 3)),
        ns.Problem(values, l1=0.02, l2=0.0, regression=True),
        ns.Problem(classes[::-1].copy(), l1=0.01, l2=0.01, norm="frobenius", sample_weight=weight),
    ]


@pytest.fixture(scope="module")
def alone(engine, wide, problems) -> list[ns.Probe]:
    return engine.fit_probes(wide, problems)


@pytest.fixture(scope="module")
def client():
    """Of two processes of one thread each, with one thing each that units may ask for."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        resources={"GPU": 1},
        env={"RAYON_NUM_THREADS": "1", "NEUROSIEVE_DEVICE": "cpu"},
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def assert_same(found, expected):
    """Of correlations or probes: every array and number, to the bit."""
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif hasattr(expected, "__dataclass_fields__"):
        assert type(found) is type(expected)
        for name in expected.__dataclass_fields__:
            assert_same(getattr(found, name), getattr(expected, name))
    else:
        assert found == expected


@pytest.mark.parametrize("asked", [{}, {"at_least": 0.3}, {"top_k": 7}], ids=str)
@pytest.mark.parametrize("block", [1, 100, 384, 1000])
def test_blocks_of_correlations_are_the_whole(engine, wide, asked, block):
    x = wide[:, :40] if block == 1 else wide
    found = nd.correlation(x, block=block, device="cpu", **asked)
    assert_same(found, engine.correlation(x, **asked))
    assert block == 1 or (found.moments.constant.tolist(), found.moments.nearly_constant.tolist()) == ([5], [300])


@pytest.mark.parametrize("asked", [{}, {"at_least": 0.1}, {"top_k": 7}], ids=str)
@pytest.mark.parametrize("dtype", [np.float16, "bfloat16"])
def test_blocks_of_two_models_are_the_whole(engine, wide, asked, dtype):
    other = (wide[:, 100:310] ** 2).astype(np.float16)
    x = ns.bfloat16((wide.view(np.uint32) >> 16).astype(np.uint16)) if dtype == "bfloat16" else wide.astype(dtype)
    found = nd.cross_correlation(x, other, block=150, device="cpu", **asked)
    assert_same(found, engine.cross_correlation(x, other, **asked))


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_a_probe_depends_on_itself_alone(wide, problems, alone, at_once):
    heard = []
    found = nd.fit_probes(wide, problems, at_once=at_once, device="cpu", progress=lambda step, share: heard.append((step, share)))
    assert_same(found, alone)
    assert heard[-1] == ("probes", 1.0) and len(heard) == -(-len(problems) // at_once)


def test_workers_find_what_one_engine_finds(client, engine, wide, problems, alone):
    how = {"client": client, "resources": {"GPU": 1}}
    assert_same(nd.fit_probes(wide, problems, **how), alone)
    for asked in ({}, {"at_least": 0.3}, {"top_k": 7}):
        assert_same(nd.correlation(wide, block=150, **how, **asked), engine.correlation(wide, **asked))
    assert_same(nd.cross_correlation(wide, wide[:, :70], block=150, **how), engine.cross_correlation(wide, wide[:, :70]))


def test_a_file_goes_as_its_path(client, engine, wide, tmp_path):
    np.save(tmp_path / "x.npy", wide)
    with Writer(tmp_path / "x.safetensors", dtype="bfloat16") as writer:
        writer.append(wide)
    whole = engine.correlation(wide)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_same(nd.correlation(tmp_path / "x.npy", block=150, client=client), whole)
    part = mapped[600:20:-2, 30:250:3]
    assert nd._data.handed(part).path == str(tmp_path / "x.npy"), "and no array"
    assert_same(nd.correlation(part, block=50, client=client), engine.correlation(np.array(part)))
    assert nd._data.handed(wide).open() is wide
    found = nd.correlation(str(tmp_path / "x.safetensors"), block=150, client=client)
    rounded = nd._data.opened(tmp_path / "x.safetensors")
    assert isinstance(nd._data.handed(rounded), nd._data.Mapped)
    assert_same(found, engine.correlation(ns.bfloat16(rounded)))
    np.testing.assert_allclose(found.r, whole.r, atol=0.02)
    (tmp_path / "other.npy").write_bytes(bytes(1000))
    (tmp_path / "other.npy").replace(tmp_path / "x.npy")
    with pytest.raises(ns.InvalidInputError, match="it has 1000 bytes on this worker"):
        nd.correlation(part, client=client)
    (tmp_path / "x.npy").unlink()
    with pytest.raises(ns.FileError, match="on a worker") as absent:
        nd.correlation(part, client=client)
    assert absent.value.errno == 2 and absent.value.filename == str(tmp_path / "x.npy")


@pytest.fixture(scope="module")
def slow(engine) -> tuple[np.ndarray, list[ns.Problem], list[ns.Probe]]:
    """Problems that take a thread about a third of a second each."""
    random = np.random.default_rng(5)
    x = random.normal(size=(1500, 250)).astype(np.float32)
    classes = random.integers(0, 8, len(x))
    problems = [ns.Problem(classes, l1=1e-3, l2=1e-4 * k) for k in range(1, 6)]
    return x, problems, engine.fit_probes(x, problems, stop="certified")


@pytest.mark.parametrize("killed", [1, 2], ids=["one", "all"])
def test_what_dead_workers_were_at_is_computed_again(client, slow, killed):
    x, problems, alone = slow
    client.wait_for_workers(2)
    processes = client.run(os.getpid)
    assert len(processes) == 2
    shares = []

    def kill(step, share):
        if not shares:  # One unit is done, so each of the two is in the middle of another.
            for process in list(processes.values())[:killed]:
                os.kill(process, 9)
        shares.append(share)

    assert_same(nd.fit_probes(x, problems, stop="certified", client=client, progress=kill), alone)
    assert shares == [done / len(problems) for done in range(1, len(problems) + 1)], "no unit is told of twice"
    client.wait_for_workers(2)
    left = set(client.run(os.getpid).values()) & set(processes.values())
    assert len(left) == 2 - killed, "the others are new"


def test_studies_are_those_of_one_engine(client, engine, tokens, tmp_path):
    quick = {
        "probe": {"lambda_ratios": [0.1], "relative_gap": 1e-2},
        "clusters": {"thresholds": [0.3]},
        "layers": {"deltas": [0.03]},
        "minimal_set": {"deltas": [0.03], "rankings": ["probeless"], "bootstrap": 0, "random_sets": 0, "disjoint": 0},
        "combined": {"thresholds": [0.3], "deltas": [0.03]},
        "control": {"draws": 0},
    }
    relative = {part: os.path.relpath(tokens / f"{part}.safetensors") for part in ("train", "dev")}
    labels = {"coarse": os.path.relpath(tokens / "test.labels.coarse.txt")}
    test = {"activations": os.path.relpath(tokens / "test.activations.npy"), "labels": labels}
    specs = [
        quick | {"name": name, "data": relative | {"test": tokens / "test.safetensors", "tasks": [name]}}
        for name in ("coarse", "fine")
    ]
    folders = dict.fromkeys(client.run(os.getcwd).values())
    client.run(os.chdir, tmp_path)
    try:
        found = nd.study(specs, client=client)
        assert nd._study._located({"data": relative | {"test": test}})["data"]["test"] == {
            "activations": str(tokens / "test.activations.npy"),
            "labels": {"coarse": str(tokens / "test.labels.coarse.txt")},
        }
    finally:
        client.run(os.chdir, *folders)
    for spec, study in zip(specs, found, strict=True):
        expected = engine.study(spec).results
        assert study.results["tasks"] == expected["tasks"] and study.results["name"] == spec["name"]
        assert study.results["clusters"] == expected["clusters"]
    with pytest.raises(ns.InvalidInputError, match="lambda_ratio"):
        nd.study(specs[0] | {"probe": {"lambda_ratio": [0.1]}}, client=client)


def test_a_specification_in_a_file(engine, tokens, tmp_path):
    for part in ("train", "dev", "test"):
        shutil.copy(tokens / f"{part}.safetensors", tmp_path)
    spec = tmp_path / "study.toml"
    spec.write_text(
        '[data]\ntrain = "train.safetensors"\ndev = "dev.safetensors"\ntest = "test.safetensors"\ntasks = ["coarse"]\n'
        "[probe]\nlambda_ratios = [0.1]\n[minimal_set]\nbootstrap = 0\nrandom_sets = 0\ndisjoint = 0\n[control]\ndraws = 0\n"
    )
    [found] = nd.study(spec, device="cpu")
    expected = engine.study(spec).results
    assert found.results | {"timings": None} == expected | {"timings": None}


def test_mistakes_are_told_here(client, wide, problems, tmp_path):
    hole = wide.copy()
    hole[3, 400] = np.nan
    for where in ({"client": client}, {"device": "cpu"}):
        with pytest.raises(ns.InvalidInputError, match="row 3, neuron 400"):
            nd.correlation(hole, block=100, **where)
        with pytest.raises(ns.InvalidInputError, match="row 3, neuron 400"):
            nd.fit_probes(hole, problems[:2], **where)
        with pytest.raises(ns.InvalidInputError, match="as many as memory is planned for"):
            nd.correlation(wide, at_least=0.0, block=300, memory=12 * 80_000, **where)
    for call, message in [
        (lambda: nd.correlation(wide, at_least=0.1, top_k=2), "both were given"),
        (lambda: nd.correlation(wide, top_k=0), "allowed is 1 or more"),
        (lambda: nd.correlation(wide, block=0), "block: it is 0"),
        (lambda: nd.correlation(wide, at_least=1.5, device="cpu"), "not from 0 to 1"),
        (lambda: nd.cross_correlation(wide, wide[:-1]), "same samples"),
        (lambda: nd.fit_probes(wide, problems, at_once=0), "at_once: it is 0"),
        (lambda: nd.fit_probes(wide, problems, client="tcp://somewhere"), "Give a distributed.Client"),
        (lambda: nd.correlation(tmp_path / "x.csv"), "cannot be mapped"),
    ]:
        with pytest.raises(ns.InvalidInputError, match=message):
            call()
    with pytest.raises(ns.FileError, match=r"x\.npy") as absent:
        nd.correlation(tmp_path / "x.npy")
    assert absent.value.errno == 2 and isinstance(absent.value, OSError)
    for name, held in {"a.npy": b"no array", "a.safetensors": b"\x08" + bytes(7) + b"{}      "}.items():
        (tmp_path / name).write_bytes(held)
        with pytest.raises(ns.InvalidInputError, match=name):
            nd.correlation(tmp_path / name)
    with pytest.raises(ns.DeviceError, match="no-such-gpu"):
        nd.correlation(wide, device="no-such-gpu", client=client)


def test_progress_can_end_it(client, wide, problems):
    def enough(step, share):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        nd.fit_probes(wide, problems * 10, client=client, progress=enough)
    assert len(nd.fit_probes(wide, problems[:2], client=client)) == 2, "the cluster goes on"


def test_the_default_client_is_taken(client, wide, problems, alone):
    pid = lambda shared: os.getpid()  # noqa: E731
    anywhere = nd._run.Where(None, None, None)
    with client.as_current():
        found = {pid for _, pid in nd._run.run(anywhere, "processes", pid, None, [()] * 3)}
        assert found <= set(client.run(os.getpid).values())
    assert list(nd._run.run(anywhere, "processes", pid, None, [()])) == [(0, os.getpid())], "and none is made"
