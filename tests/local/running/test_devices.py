from __future__ import annotations

import inspect
from typing import Any

import onnxruntime as ort
import pytest

from milvine.errors import InputError, InputTypeError, MissingExtraError
from milvine.local.encoder import LocalModel
from milvine.local.options import LocalOptions
from milvine.local.running.devices import CUDA, check_device, is_cuda, providers

HAS_CUDA = CUDA in ort.get_available_providers()


@pytest.mark.parametrize("device", ["cpu", "", None, "CPU"])
def test_the_processor_goes_by_several_names(device: str | None) -> None:
    check_device(device)
    assert providers(device) == ["CPUExecutionProvider"]
    assert not is_cuda(device)


@pytest.mark.parametrize("device", ["cuda", "CUDA", "Cuda:1"])
def test_a_cuda_device_is_known_in_any_case(device: str) -> None:
    check_device(device)
    assert is_cuda(device)


@pytest.mark.skipif(HAS_CUDA, reason="the onnxruntime installed here can use CUDA devices")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_without_cuda_the_error_says_what_to_install(device: str) -> None:
    with pytest.raises(MissingExtraError, match=r"needs an onnxruntime that has CUDA.*pip install 'onnxruntime-gpu"):
        LocalModel("all-MiniLM-L6-v2", "dense", device=device)


@pytest.mark.skipif(not HAS_CUDA, reason="the onnxruntime installed here cannot use CUDA devices")
def test_a_cuda_device_is_picked_by_its_number() -> None:
    assert providers("cuda:1")[0] == (CUDA, {"device_id": 1, "use_tf32": 0})
    assert providers("cuda")[0] == (CUDA, {"device_id": 0, "use_tf32": 0})


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "mps", "cpu:0", " cpu"])
def test_another_device_is_refused(device: str) -> None:
    for check in (check_device, providers):
        with pytest.raises(InputError, match='device must be "cpu", "cuda" or "cuda:N"'):
            check(device)


@pytest.mark.parametrize("device", [0, True, ["cpu"]])
def test_a_device_is_a_string(device: Any) -> None:
    with pytest.raises(InputTypeError, match=r"device must be a string such as .*, not (int|bool|list)"):
        check_device(device)


def test_the_options_that_are_documented_are_those_that_there_are() -> None:
    keywords = inspect.signature(LocalModel.__init__).parameters.values()
    names = {each.name for each in keywords if each.kind is each.KEYWORD_ONLY}
    assert names | {"backend"} == {*LocalOptions.__annotations__, "device"}
