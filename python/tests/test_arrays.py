"""Arrays reach the engine as they are: the same answers whatever the layout and type, and no copy where none is promised."""

from __future__ import annotations

import numpy as np
import pytest

import neurosieve as ns
from neurosieve import _arrays


def wide(x: np.ndarray) -> np.ndarray:
    """The values in the middle of a larger array: neither row nor column is adjacent to the next."""
    out = np.full((2 * x.shape[0], 3 * x.shape[1]), np.nan, dtype=x.dtype)
    out[::2, ::3] = x
    return out[::2, ::3]


LAYOUTS = {
    "rows": lambda x: x,
    "columns": np.asfortranarray,
    "strided": wide,
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_layout_and_type_is_read_where_it_is(engine, sample, layout, dtype):
    x = LAYOUTS[layout](sample[0].astype(dtype))
    assert np.shares_memory(_arrays.activations(x), x)
    expected = np.corrcoef(x.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(engine.correlation(x).r, expected, atol=5e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_operations_on_values_at_hand_take_every_layout(engine, sample, layout):
    x, y = sample
    plain = engine.rank(x, y, "auroc")["auroc"]
    np.testing.assert_array_equal(engine.rank(LAYOUTS[layout](x), y, "auroc")["auroc"].scores, plain.scores)


def test_a_mapped_file_is_read_where_it_is(engine, sample, tmp_path):
    np.save(tmp_path / "x.npy", sample[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(_arrays.activations(mapped), mapped)
    np.testing.assert_array_equal(engine.correlation(mapped).r, engine.correlation(sample[0]).r)


def test_bfloat16_is_read_from_its_bits(engine, sample):
    bits = (sample[0].view(np.uint32) >> 16).astype(np.uint16)
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    marked = ns.bfloat16(bits)
    assert np.shares_memory(_arrays.activations(marked), bits)
    np.testing.assert_array_equal(engine.correlation(marked).r, engine.correlation(values).r)
    assert not np.array_equal(values, sample[0])
    with pytest.raises(ns.InvalidInputError, match="bits of bfloat16"):
        engine.correlation(bits)


@pytest.mark.parametrize("change", [lambda x: x.astype(np.float64), lambda x: x.astype(">f4"), lambda x: x.tolist()])
def test_other_types_are_converted(engine, sample, change):
    np.testing.assert_array_equal(engine.correlation(change(sample[0])).r, engine.correlation(sample[0]).r)


def test_what_is_not_aligned_is_copied(engine, sample):
    x = sample[0]
    raw = np.zeros(x.nbytes + 1, dtype=np.uint8)
    crooked = raw[1:].view(np.float32).reshape(x.shape)
    crooked[:] = x
    assert not crooked.flags.aligned
    assert not np.shares_memory(_arrays.activations(crooked), raw)
    np.testing.assert_array_equal(engine.correlation(crooked).r, engine.correlation(x).r)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(5, np.float32), "shape is"),
        (np.zeros((0, 5), np.float32), "shape is"),
        (np.zeros((2, 2), complex), "real numbers"),
        (np.array([["a", "b"]]), "real numbers"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(engine, x, message):
    with pytest.raises(ns.InvalidInputError, match=message):
        engine.correlation(x)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_refused_by_row_and_neuron(engine, sample, bad):
    x = sample[0].astype(np.float64)
    x[17, 5] = bad
    for operation in (engine.correlation, lambda x: engine.rank(x, sample[1], "anova")):
        with pytest.raises(ns.InvalidInputError, match=r"row 17, neuron 5") as refused:
            operation(x)
        assert isinstance(refused.value, ValueError)


def test_pandas_frames_are_activations(engine, sample):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(sample[0])
    np.testing.assert_array_equal(engine.correlation(frame).r, engine.correlation(sample[0]).r)


class Tensor:
    """What any library hands out by DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_tensor_on_the_cpu_is_read_where_it_is(engine, sample, dtype):
    x = sample[0].astype(dtype)
    assert np.shares_memory(_arrays.activations(Tensor(x)), x)
    np.testing.assert_array_equal(engine.correlation(Tensor(x)).r, engine.correlation(x).r)
    labels = Tensor(np.unique(sample[1], return_inverse=True)[1])
    assert "anova" in engine.rank(Tensor(x), labels, "anova")


def test_bfloat16_of_ml_dtypes_is_recognised(engine, sample):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = sample[0].astype(ml_dtypes.bfloat16)
    assert np.shares_memory(_arrays.activations(x), x)
    np.testing.assert_array_equal(engine.correlation(x).r, engine.correlation(x.astype(np.float32)).r)


class OnTheDevice:
    """A tensor as CUDA libraries hand it out."""

    device = "cuda:0"

    def __dlpack_device__(self):
        return (2, 0)


def test_a_tensor_on_another_device_is_refused_with_what_to_do(engine):
    with pytest.raises(ns.InvalidInputError, match=r"cuda:0.*tensor\.cpu\(\)"):
        engine.correlation(OnTheDevice())


def test_torch_tensors_are_read_where_they_are(engine, sample):
    torch = pytest.importorskip("torch")
    x = torch.tensor(sample[0], requires_grad=True)
    assert np.shares_memory(_arrays.activations(x), x.detach().numpy())
    np.testing.assert_array_equal(engine.correlation(x).r, engine.correlation(sample[0]).r)
    half = x.detach().to(torch.bfloat16)
    np.testing.assert_array_equal(engine.correlation(half).r, engine.correlation(half.float()).r)
    labels = torch.tensor(np.unique(sample[1], return_inverse=True)[1])
    assert "anova" in engine.rank(x, labels, "anova")
