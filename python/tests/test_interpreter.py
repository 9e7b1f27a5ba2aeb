"""The interpreter goes on while the engine computes: other threads run, Ctrl-C and callbacks end a computation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import neurosieve as ns


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, np.ndarray]:
    """What takes well over ten seconds to fit on two cores."""
    random = np.random.default_rng(0)
    return random.normal(size=(20_000, 600)).astype(np.float32), random.integers(0, 20, 20_000)


def long_batch(labels: np.ndarray) -> list[ns.Problem]:
    return [ns.Problem(labels, l1=1e-5 * k, l2=1e-5) for k in range(1, 30)]


def test_other_threads_run_meanwhile(engine, large):
    turns = []
    done = threading.Event()

    def count():
        while not done.wait(0.01):
            turns.append(time.monotonic())

    thread = threading.Thread(target=count)
    thread.start()
    started = time.monotonic()
    engine.correlation(large[0])
    ended = time.monotonic()
    done.set()
    thread.join()
    during = [t for t in turns if started < t < ended]
    assert len(during) > 0.2 * (ended - started) / 0.01, "a hundred turns a second, were the lock free all the time"


@pytest.fixture
def heeded():
    """Ctrl-C is heeded, also where whoever started the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_computation_at_once(engine, large, heeded):
    x, labels = large
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(1.0, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        engine.fit_probes(x, long_batch(labels), stop="certified")
    assert time.monotonic() - sent[0] < 1.0
    timer.join()
    for _ in range(60):  # seconds; the batch itself takes minutes
        before = time.process_time()
        time.sleep(1)
        if time.process_time() - before < 0.1:
            break
    else:
        pytest.fail("the computation goes on")
    assert engine.correlation(x[:100]).r.shape == (600, 600), "and the engine goes on"


def test_a_callback_hears_the_steps_and_can_end_them(engine, large):
    x, labels = large
    heard = []
    engine.correlation(x, progress=lambda step, share: heard.append((step, share)))
    assert {"correlations"} <= {step for step, _ in heard} <= {"moments", "correlations"}

    def enough(step, share):
        if step == "probes":
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        engine.fit_probes(x, long_batch(labels), stop="certified", progress=enough)


def test_importing_needs_no_gpu_and_nothing_optional():
    program = (
        "import sys, neurosieve as ns; assert ns.Engine('cpu').kind == 'cpu'; ns.devices();"
        "assert not {'sklearn', 'pandas', 'torch', 'scipy'} & set(sys.modules), sys.modules.keys()"
    )
    hidden = {"VK_ICD_FILENAMES": os.devnull, "VK_DRIVER_FILES": os.devnull, "PATH": os.environ.get("PATH", "")}
    subprocess.run([sys.executable, "-c", program], check=True, env=hidden)


def test_auto_is_the_cpu_where_there_is_no_gpu():
    program = "import neurosieve as ns; e = ns.Engine(); print(e.kind, ns.devices())"
    hidden = os.environ | {"VK_ICD_FILENAMES": os.devnull, "VK_DRIVER_FILES": os.devnull}
    done = subprocess.run([sys.executable, "-c", program], check=True, env=hidden, capture_output=True, text=True)
    assert done.stdout == "cpu []\n"


@pytest.fixture(scope="module")
def gpu() -> ns.Engine:
    if not ns.devices():
        if os.environ.get("NEUROSIEVE_REQUIRE_GPU"):
            pytest.fail("no adapter, and NEUROSIEVE_REQUIRE_GPU is set")
        pytest.skip("no adapter")
    return ns.Engine(0)


def test_a_gpu_goes_on_after_a_computation_was_ended(gpu, large, sample):
    x, labels = large

    def enough(step, share):
        if step == "probes":
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        gpu.fit_probes(x[:2000], long_batch(labels[:2000]), stop="certified", progress=enough)
    [probe] = gpu.fit_probes(sample[0], ns.Problem(sample[1], 0.01, 0.01))
    assert probe.certificate.converged


def test_a_gpu_gives_the_same_answers(gpu, sample):
    x, y = sample
    cpu = ns.Engine("cpu")
    assert gpu.kind == "gpu" and gpu.name == ns.devices()[0].name
    for dtype in (np.float32, np.float16):
        np.testing.assert_allclose(gpu.correlation(x.astype(dtype)).r, cpu.correlation(x.astype(dtype)).r, atol=5e-6)
    problem = ns.Problem(y, 0.01, 0.01)
    [here], [there] = (e.fit_probes(x, problem, stop="certified") for e in (cpu, gpu))
    assert abs(here.objective - there.objective) < 2e-6 * here.objective
    orders = {"anova": cpu.rank(x, y, "anova")["anova"]}
    curves = [e.sweep(x, y, here, orders)["anova"].correct for e in (cpu, gpu)]
    assert np.abs(curves[0].astype(int) - curves[1].astype(int)).max() <= 1
