"""The other libraries: environments of their own, and models and data in the forms that they read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".milvine"
REQUIREMENTS = (
    ("torch==2.13.0",),  # first and alone: where a registry has a build for the CPU, nothing asks for another
    (
        "sentence-transformers==6.2.0",
        "transformers==5.23.0",
        "fastembed==0.9.1",
        "pymilvus==3.0.2",
        "pymilvus.model==0.3.4",
        f"onnxruntime=={version('onnxruntime')}",  # the same as milvine's, so that libraries are compared and not it
        "onnx==1.23.2",
    ),
)
LEXICAL_REQUIREMENTS = (
    (
        "pymilvus==3.0.2",
        "pymilvus.model==0.3.4",
        "nltk==3.10.4",
        "bm25s==0.3.16",
        "rank-bm25==0.2.2",
        *(f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "PyStemmer", "scipy")),  # milvine's own
    ),
)
HOSTED_REQUIREMENTS = (
    (
        "openai==3.54.0",
        "pymilvus==3.0.2",
        "pymilvus.model==0.3.4",
        f"numpy=={version('numpy')}",
    ),
)
SEARCH_REQUIREMENTS = (
    (
        "chromadb==1.5.9",
        "lancedb==0.40.0",
        "qdrant-edge-py==0.9.0",
        "apsw==3.54.1.0",  # SQLite for sqlite-vec: many a Python's own cannot load extensions
        "sqlite-vec==0.1.9",
        f"numpy=={version('numpy')}",
    ),
)
NLTK_DATA = ("llama-index-core==0.14.25", "llama_index/core/_static/nltk_cache/")
"""A wheel that carries NLTK's English sentence model and stop words, and where; NLTK would download them elsewhere."""
LEAST_PYTHON = (3, 11)
"""What these versions need."""
MODELS = ("sentence-transformers", "onnx-256", "onnx-512", "albert", "cross-encoder")
"""The folders that `make_models` makes."""


def make_peers(
    given: Path | None = None, name: str = "peers", requirements: tuple[tuple[str, ...], ...] = REQUIREMENTS
) -> str:
    """A Python that has the peers: the one given, or that of an environment which is made if need be."""
    if given:
        return str(given)
    if sys.version_info < LEAST_PYTHON:
        wanted = ".".join(map(str, LEAST_PYTHON))
        raise click.ClickException(
            f"the peers' versions need Python {wanted} or later; run this with it, or name a Python that has the peers"
            " by --peers"
        )
    folder = HOME / name
    python, done = folder / "bin" / "python", folder / "milvine-requirements.json"
    wanted = json.dumps(requirements)
    if not done.is_file() or done.read_text(encoding="utf-8") != wanted:
        packages = ", ".join(package for names in requirements for package in names)
        click.echo(f"Setting up {folder} (minutes, once): {packages}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for names in requirements:
            subprocess.run([str(python), "-m", "pip", "install", "-qq", *names], check=True)
        done.write_text(wanted, encoding="utf-8")
    return str(python)


def make_nltk_data(python: str) -> str:
    """The folder of NLTK's data, unpacked from a wheel if need be; nothing of the wheel is installed.

    Args:
        python: A Python that has pip.
    """
    folder = HOME / "nltk-data"
    if not folder.is_dir():
        package, inside = NLTK_DATA
        made = folder.with_name("nltk-data.partial")
        shutil.rmtree(made, ignore_errors=True)
        command = [python, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:", "-d", str(made)]
        subprocess.run([*command, package], check=True)
        with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
            names = [name for name in wheel.namelist() if name.startswith(inside) and not name.endswith(".zip")]
            wheel.extractall(made, names)
        (made / inside).rename(folder)
        shutil.rmtree(made)
    return str(folder)


def make_models(python: str, minilm: Path, tokenizer: Path) -> dict[str, str]:
    """The folders of the peers' models, made by the peers' own libraries if need be.

    Args:
        python: What `make_peers` gave.
        minilm: A folder with the files of all-MiniLM-L6-v2.
        tokenizer: The tokenizer.json of ms-marco-MiniLM-L-12-v2.
    """
    folder = HOME / "peers-models"
    if not all((folder / name).is_dir() for name in MODELS):
        click.echo(f"Making {folder} (once): all-MiniLM-L6-v2 as an ONNX file, and a cross-encoder of seeded weights")
        made = folder.with_name("peers-models.partial")
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        command = [python, "-m", "benchmarks.peers", str(minilm), str(tokenizer), str(made)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise click.ClickException(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        made.rename(folder)
    return {name: str(folder / name) for name in MODELS}


def _main(minilm: str, tokenizer: str, made: str) -> None:
    """In the peers' environment: make the folders of `MODELS`."""
    _save_sentence_transformer(minilm, Path(made, "sentence-transformers"))
    for length in (256, 512):
        _save_onnx(minilm, Path(made, f"onnx-{length}"), length)
    _save_albert(minilm, Path(made, "albert"))
    _save_cross_encoder(Path(tokenizer), Path(made, "cross-encoder"))


def _save_sentence_transformer(source: str, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer, models

    words = models.Transformer(source, max_seq_length=256)
    modules = [words, models.Pooling(words.get_embedding_dimension()), models.Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))


def _save_onnx(source: str, folder: Path, length: int) -> None:
    """An export by PyTorch, its attention, GELU and layer norms fused by onnxruntime's own optimizer for BERT.

    That is the form in which ONNX files of such models are published for speed.
    """
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoModel

    path = _export(AutoModel.from_pretrained(source, attn_implementation="eager"), folder)
    optimized = optimize_model(path, model_type="bert", num_heads=12, hidden_size=384, opt_level=0)
    fused = optimized.get_fused_operator_statistics()["Attention"]
    if fused != 6:
        raise RuntimeError(f"onnxruntime's optimizer fused {fused} of 6 attention layers; the peers would be wronged")
    optimized.save_model_to_file(path)
    shutil.copy(Path(source, "config.json"), folder)
    _save_tokenizer(Path(source, "tokenizer.json"), folder, length)


def _save_albert(source: str, folder: Path) -> None:
    """An ALBERT of paraphrase-albert-small-v2's shape, pymilvus.model's default, with seeded weights.

    The shape is that of the model's config.json (https://huggingface.co/sentence-transformers/
    paraphrase-albert-small-v2), but for the vocabulary, which is that of the tokenizer in `source`.
    """
    import torch
    from transformers import AlbertConfig, AlbertModel

    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=30522,
        embedding_size=128,
        hidden_size=768,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=3072,
        hidden_act="gelu_new",
        max_position_embeddings=512,
        attn_implementation="eager",
    )
    _export(AlbertModel(config), folder)
    config.save_pretrained(folder)
    _save_tokenizer(Path(source, "tokenizer.json"), folder, 512)


def _export(network: Any, folder: Path) -> str:
    """Write `model.onnx`, which gives the tokens' states."""
    import torch

    class LastHiddenState(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network.eval()

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            return self.network(**given).last_hidden_state

    folder.mkdir(parents=True)
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    outputs = ["last_hidden_state"]
    ones = torch.ones(2, 16, dtype=torch.long)
    path = str(folder / "model.onnx")
    torch.onnx.export(
        LastHiddenState(),
        (ones, ones, ones * 0),
        path,
        input_names=inputs,
        output_names=outputs,
        dynamic_axes={name: {0: "batch", 1: "length"} for name in inputs + outputs},
        opset_version=18,
        dynamo=False,
    )
    return path


def _save_tokenizer(source: Path, folder: Path, length: int) -> None:
    tokenizer = json.loads(source.read_text(encoding="utf-8")) | {"padding": None, "truncation": None}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": length, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(names), encoding="utf-8")


def _save_cross_encoder(tokenizer: Path, folder: Path) -> None:
    """A classifier of ms-marco-MiniLM-L-12-v2's shape with seeded weights: speed does not depend on their values."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
        num_labels=1,
        initializer_range=0.05,  # so that scores differ
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    _save_tokenizer(tokenizer, folder, 512)


if __name__ == "__main__":
    _main(*sys.argv[1:])
