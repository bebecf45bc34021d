"""Against a server that answers as the hub does; huggingface_hub is the real one."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hub_server import COMMIT, Repository, git_hash
from milvine.errors import ModelFileError, ModelUnavailableError, UnknownModelError
from milvine.local.finding import hub as hub_module
from milvine.local.finding import sources
from milvine.local.finding.hub import is_hub_id, resolve_hub, snapshot_folder
from milvine.local.finding.hub_files import model_files, needed_files

CONFIG = json.dumps({"model_type": "bert", "architectures": ["BertModel"]}).encode()
MODULES = json.dumps([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}]).encode()
WANTED = {
    "model.safetensors": b"weights " * 5000,
    "1_Pooling/config.json": b'{"pooling_mode": "cls"}',
    "config.json": CONFIG,
    "modules.json": MODULES,
    "tokenizer.json": b"{}",
    "vocab.txt": b"a\nb\n",
}
OTHERS = {
    ".gitattributes": b"*",
    "README.md": b"# A model",
    "pytorch_model.bin": b"the same weights",
    "tf_model.h5": b"the same weights",
    "flax_model.msgpack": b"the same weights",
    "onnx/model.onnx": b"the same weights",
    "onnx/config.json": b"{}",
    "openvino/openvino_model.xml": b"<x/>",
    "2_Unused/config.json": b"{}",
}
NEWER = "f" * 40


@pytest.fixture
def model(hub: Any) -> Repository:
    """A model on the hub."""
    hub.repositories = [Repository("someone/model", WANTED | OTHERS)]
    return hub.repositories[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name not in names}


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(ModelUnavailableError) as raised:
        resolve_hub(*arguments, **options)
    return str(raised.value)


def test_what_the_model_needs_is_fetched_into_the_hugging_face_cache_and_no_more(
    hub: Any, cache: Path, model: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = resolve_hub("someone/model")
    assert folder == cache.parent / "hf" / "models--someone--model" / "snapshots" / COMMIT
    assert contents(folder) == WANTED
    assert model_files(folder)[0] == "model.safetensors"
    assert set(model_files(folder)) == set(WANTED)
    assert capfd.readouterr() == ("", "")

    hub.requests.clear()
    assert resolve_hub("someone/model") == folder
    assert resolve_hub("someone/model", COMMIT, offline=True) == folder
    assert hub.requests == []


def test_other_programs_find_it_there(model: Repository) -> None:
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    folder = resolve_hub("someone/model")
    assert try_to_load_from_cache("someone/model", "config.json") == str(folder / "config.json")
    wanted = [*WANTED]
    assert snapshot_download("someone/model", local_files_only=True, allow_patterns=wanted) == str(folder)


@pytest.mark.parametrize(
    ("names", "places", "needed"),
    [
        (["pytorch_model.bin", "a.json"], [""], ["pytorch_model.bin", "a.json"]),
        (
            [
                "model.safetensors.index.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model-of-another-kind.safetensors",
                "pytorch_model-00001-of-00001.bin",
                "pytorch_model.bin.index.json",
            ],
            [""],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ),
        (
            ["model.safetensors", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "2_Dense/config.json"],
            ["", "1_Pooling", "2_Dense"],
            ["model.safetensors", "2_Dense/model.safetensors", "2_Dense/config.json"],
        ),
        (
            ["config.json", "0_Transformer/model.safetensors", "0_Transformer/tokenizer.json", "x/config.json"],
            ["0_Transformer"],
            ["0_Transformer/model.safetensors", "0_Transformer/tokenizer.json", "config.json"],
        ),
        (
            ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_fp16.onnx", "tokenizer.json", "onnx/x.json"],
            [""],
            ["onnx/model.onnx", "onnx/model.onnx_data", "tokenizer.json"],
        ),
        (
            ["pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt", "artifact.metadata", "optimizer.pt"],
            [""],
            ["pytorch_model.bin", "artifact.metadata", "colbert_linear.pt", "sparse_linear.pt"],
        ),
    ],
    ids=["bin", "parts", "dense", "transformer's folder", "onnx", "BGE-M3 and ColBERT"],
)
def test_of_each_kind_of_file_the_best_is_needed(names: list[str], places: list[str], needed: list[str]) -> None:
    assert needed_files(names, places) == needed


def test_a_checkpoint_in_parts_is_whole_only_with_all_of_them(hub: Any, model: Repository) -> None:
    first, second = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    parts = {first: b"1" * 100, second: b"2" * 100}
    index = json.dumps({"weight_map": {"a": first, "b": second}}).encode()
    model.files = without(WANTED, "model.safetensors") | parts | {"model.safetensors.index.json": index}
    folder = resolve_hub("someone/model")
    assert contents(folder) == model.files
    (folder / second).unlink()
    assert f"lacks {second}" in refusal("someone/model", offline=True)
    assert contents(resolve_hub("someone/model")) == model.files


def test_a_revision_may_be_a_branch_a_tag_or_a_commit(cache: Path, model: Repository) -> None:
    model.branches = ("main", "v1.0", "refs/pr/1")
    for revision in ("v1.0", "refs/pr/1", COMMIT, None):
        assert resolve_hub("someone/model", revision).name == COMMIT
    assert snapshot_folder("someone/model", "v1.0") == snapshot_folder("someone/model")
    with pytest.raises(UnknownModelError, match=r"someone/model has no revision 'v2' on the Hugging Face hub"):
        resolve_hub("someone/model", "v2")
    assert snapshot_folder("someone/model", "../../../models--someone--model/refs/main") is None


def test_a_branch_that_moved_on_is_fetched_when_asked_to(hub: Any, model: Repository) -> None:
    first = resolve_hub("someone/model")
    model.commit, model.files = NEWER, model.files | {"vocab.txt": b"c\n"}
    assert resolve_hub("someone/model") == first
    second = resolve_hub("someone/model", refresh=True)
    assert second.name == NEWER
    assert contents(second) == WANTED | {"vocab.txt": b"c\n"}
    assert sum(name == "model.safetensors" for name in hub.gets()) == 1
    assert contents(resolve_hub("someone/model", COMMIT)) == WANTED


# What may not be believed


def test_gits_name_of_a_small_file_is_that_of_git(tmp_path: Path) -> None:
    # What `git hash-object` prints for a file with the line "hello".
    (tmp_path / "file").write_bytes(b"hello\n")
    assert hub_module._hash(tmp_path / "file", like="0" * 40) == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_bytes_that_are_not_those_that_the_hub_states_are_refused(model: Repository, name: str) -> None:
    data = WANTED[name]
    model.lies = {name: data[:-1] + b"!"}
    message = refusal("someone/model")
    kind = "sha256" if name == "model.safetensors" else "git hash"
    stated = hashlib.sha256(data).hexdigest() if kind == "sha256" else git_hash(data)
    assert f"{name} arrived with the {kind} " in message
    assert f"instead of {stated}" in message
    model.lies = {}
    assert contents(resolve_hub("someone/model")) == WANTED


@pytest.mark.parametrize("name", ["model.safetensors", "1_Pooling/config.json"])
def test_a_cached_file_that_was_altered_is_named_and_replaced_by_a_pull(model: Repository, name: str) -> None:
    path = resolve_hub("someone/model") / name
    path.write_bytes(WANTED[name][:-1] + b"!")
    with pytest.raises(
        ModelFileError, match=r"is corrupt: its hash is .*`milvine models pull someone/model`"
    ) as raised:
        resolve_hub("someone/model")
    assert str(path) in str(raised.value)
    assert contents(resolve_hub("someone/model", refresh=True)) == WANTED


def test_a_snapshot_that_other_programs_left_without_its_modules_is_completed(hub: Any, model: Repository) -> None:
    # As transformers' AutoModel and AutoTokenizer leave it: how tokens are pooled cannot be known from that.
    from huggingface_hub import hf_hub_download

    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        hf_hub_download("someone/model", name, endpoint=hub.url)
    message = refusal("someone/model", offline=True)
    assert "lacks modules.json, or the hub's word that there is none" in message
    assert contents(resolve_hub("someone/model")) == WANTED


@pytest.mark.parametrize("architecture", ["BertModel", "BertForSequenceClassification"])
def test_a_model_may_have_no_modules(hub: Any, model: Repository, architecture: str) -> None:
    config = json.dumps({"architectures": [architecture]}).encode()
    model.files = {"model.safetensors": b"w", "tokenizer.json": b"{}", "config.json": config}
    folder = resolve_hub("someone/model")
    assert resolve_hub("someone/model", offline=True) == folder
    # Without huggingface_hub's note of it, only a classifier's configuration says that none is needed.
    (folder.parent.parent / ".no_exist" / COMMIT / "modules.json").unlink()
    if architecture == "BertForSequenceClassification":
        assert resolve_hub("someone/model", offline=True) == folder
    else:
        assert "lacks modules.json" in refusal("someone/model", offline=True)


@pytest.mark.parametrize("name", [*WANTED])
def test_what_a_snapshot_lacks_is_noticed(model: Repository, name: str) -> None:
    folder = resolve_hub("someone/model")
    (folder / name).unlink()
    if name == "vocab.txt":  # which tokenizer.json makes superfluous
        assert resolve_hub("someone/model", offline=True) == folder
        return
    lacking = "weights" if name == "model.safetensors" else name
    assert f"{folder} lacks {lacking}" in refusal("someone/model", offline=True)
    assert contents(resolve_hub("someone/model")) == WANTED


@pytest.mark.parametrize(
    ("task", "kind", "name"),
    [
        ("hybrid", "xlm-roberta", "sparse_linear.pt"),
        ("hybrid", "xlm-roberta", "colbert_linear.pt"),
        ("multivector", "bert", "artifact.metadata"),
    ],
)
def test_what_only_one_task_needs_is_missed_by_that_task_alone(
    hub: Any, model: Repository, task: str, kind: str, name: str
) -> None:
    config = json.dumps({"model_type": kind, "architectures": ["AModel"]}).encode()
    extras = {"sparse_linear.pt": b"s", "colbert_linear.pt": b"c", "artifact.metadata": b"{}"}
    model.files = {"model.safetensors": b"w", "tokenizer.json": b"{}", "config.json": config, **extras}
    path = resolve_hub("someone/model") / name
    assert path.read_bytes() == extras[name]
    path.unlink()
    resolve_hub("someone/model", offline=True)
    assert f"lacks {name}, or the hub's word" in refusal("someone/model", offline=True, task=task)
    del model.files[name]
    resolve_hub("someone/model", task=task)
    resolve_hub("someone/model", offline=True, task=task)  # the hub has said that there is none


def test_a_module_may_not_lie_outside(hub: Any, model: Repository) -> None:
    modules = json.dumps([{"path": ""}, {"path": "../other"}, {"path": "/etc"}]).encode()
    model.files = without(WANTED, "1_Pooling/config.json") | {"modules.json": modules}
    assert contents(resolve_hub("someone/model")) == model.files


# Refusals


def test_a_model_that_the_hub_does_not_know_is_unknown(hub: Any, model: Repository) -> None:
    with pytest.raises(UnknownModelError, match=r"knows no model 'some/other', or does not show it.*set HF_TOKEN"):
        resolve_hub("some/other")


def test_a_gated_model_says_what_to_do(hub: Any, model: Repository) -> None:
    model.refusal = (403, "GatedRepo")
    message = refusal("someone/model")
    assert "someone/model is gated" in message
    assert f"Accept its terms at {hub.url}/someone/model, set HF_TOKEN" in message
    assert "`milvine models pull someone/model`" in message


@pytest.mark.parametrize(("status", "says"), [(403, "Set HF_TOKEN to a token that may read"), (400, "With a network")])
def test_another_refusal_keeps_its_status(hub: Any, model: Repository, status: int, says: str) -> None:
    model.refusal, model.is_hidden = (status, "Whatever"), True
    message = refusal("someone/model")
    assert f"HTTP {status}" in message
    assert says in message


def test_the_token_goes_to_the_hub_alone_and_into_no_message(
    hub: Any, model: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    resolve_hub("someone/model")
    asked = [auth for (_, path), auth in zip(hub.requests, hub.authorizations, strict=True) if "/large/" not in path]
    given = [auth for (_, path), auth in zip(hub.requests, hub.authorizations, strict=True) if "/large/" in path]
    assert set(asked) == {"Bearer hf_secret"}
    assert given == [None]
    model.refusal, model.is_hidden = (403, "Whatever"), True
    assert "hf_secret" not in refusal("someone/model", refresh=True)


def test_a_repository_without_weights_says_so(model: Repository) -> None:
    model.files = {"config.json": b"{}", "model.gguf": b"x"}
    assert "someone/model holds no weights that milvine reads" in refusal("someone/model")


@pytest.mark.parametrize("switch", ["MILVINE_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(hub: Any, model: Repository, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    monkeypatch.setenv(switch, "1")
    message = refusal("someone/model", NEWER)
    assert message.splitlines() == [
        f"No source could deliver someone/model at {NEWER}:",
        "  - Hugging Face cache: not there",
        f"  - Hugging Face hub: not asked, because {switch} is set",
        f"With a network, run `milvine models pull someone/model --revision {NEWER}`;"
        " or pass the path of a folder that holds its files.",
    ]
    assert hub.requests == []


def test_a_hub_that_cannot_be_reached_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Connection refused" in refusal("someone/model")
    monkeypatch.setattr(sources, "HUB_ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, no one answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "ReadTimeout" in refusal("someone/model")


def start_resolving(repo: str) -> subprocess.Popen[str]:
    """Another process that fetches a model and prints its folder."""
    code = "import sys; from milvine.local.finding.hub import resolve_hub; print(resolve_hub(sys.argv[1]))"
    command = [sys.executable, "-c", code, repo]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_download_leaves_nothing_that_looks_whole(hub: Any, cache: Path, model: Repository) -> None:
    gate = threading.Event()

    def stall(path: str, body: bytes) -> bytes:
        if "/large/" in path:
            gate.wait(30)
        return body

    hub.alter = stall
    killed = start_resolving("someone/model")
    deadline = time.monotonic() + 30
    while not any("/large/" in path for _, path in hub.requests):
        assert time.monotonic() < deadline, "the download did not begin"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    gate.set()
    assert " lacks weights" in refusal("someone/model", offline=True)
    assert contents(resolve_hub("someone/model")) == WANTED


def test_two_processes_at_once_both_get_it(hub: Any, cache: Path, model: Repository) -> None:
    running = [start_resolving("someone/model") for _ in range(2)]
    for process in running:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert contents(Path(out.strip())) == WANTED


def test_the_download_is_shown_where_it_is_wanted(
    hub: Any, model: Repository, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    hub.gate = threading.Event()
    threading.Timer(0.6, hub.gate.set).start()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich draws as on a terminal
    resolve_hub("someone/model", show_progress=True)
    out, errors = capfd.readouterr()
    assert out == ""
    assert "someone/model from the hub" in errors
    assert "Fetching" not in errors  # which is what huggingface_hub's own bar says


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("intfloat/e5-small-v2", True),
        ("a/b_c.d-e", True),
        ("e5-small-v2", False),
        ("a/b/c", False),
        ("./model", False),
        ("../model", False),
        ("/model", False),
        ("a/", False),
        ("~/model", False),
        ("a b/c", False),
        ("", False),
    ],
)
def test_an_id_is_an_owner_and_a_name(name: str, is_one: bool) -> None:
    assert is_hub_id(name) == is_one
    if not is_one:
        with pytest.raises(UnknownModelError, match=r"is no id of a model on the Hugging Face hub; one is like"):
            resolve_hub(name)
