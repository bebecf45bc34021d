"""What a folder says of the heads that give something for each token: hybrid models, and late interaction.

- BGE-M3 (Chen et al. 2024, https://arxiv.org/abs/2402.03216): `sparse_linear.pt` and `colbert_linear.pt` beside the
  encoder, as FlagEmbedding's `M3Embedder` reads them.
- mGTE (Zhang et al. 2024, https://arxiv.org/abs/2407.19669): a classifier of tokens with one label, as the model's own
  `scripts/gte_embedding.py` reads it.
- ColBERT: see `late_interaction.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milvine.local.building.architectures.base import Config, check, check_switches
from milvine.local.building.heads import Linear, Pooling, Step
from milvine.local.building.task_heads import labels_of
from milvine.local.building.token_heads import EachToken, Residual
from milvine.local.reading.json_files import read_json
from milvine.local.reading.modules import Found, Module, read_linear
from milvine.local.reading.weights import read_weights, weights_file
from milvine.local.running.late_interaction import (
    STANFORD_DIM,
    LateInteraction,
    of_pylate,
    of_sentence_transformers,
    of_stanford,
)

SPARSE_FILE, COLBERT_FILE = "sparse_linear.pt", "colbert_linear.pt"
STANFORD_SETTINGS = "artifact.metadata"
_AFTER_DENSE = ("MultiVectorMask", "Normalize")


def hybrid_heads(modules: list[Module], raw: Mapping[str, Any], config: Config) -> Found:
    """The outputs of BGE-M3, `dense`, `sparse` and `colbert_vecs`, or those of mGTE, `dense` and `sparse`.

    Raises:
        ModelFileError: The model is neither.
    """
    root, hidden = modules[0].path, config.hidden_size
    heads: dict[str, tuple[Step, ...]] = {"dense": (Pooling(("cls",)),)}
    checkpoints = []
    if (root / SPARSE_FILE).is_file():
        heads["sparse"] = (EachToken((Linear("sparse_linear", hidden, 1, "ReLU"),)),)
        checkpoints.append(("sparse_linear.", root / SPARSE_FILE))
    if (root / COLBERT_FILE).is_file():
        heads["colbert_vecs"] = (EachToken((Linear("colbert_linear", hidden, _outputs(root / COLBERT_FILE)),)),)
        checkpoints.append(("colbert_linear.", root / COLBERT_FILE))
    if checkpoints:
        return heads, checkpoints
    source = str(root / "config.json")
    named = raw.get("architectures") or []
    check(source, (isinstance(named, list), f"architectures is {named!r}; it must be a list"))
    kinds = [str(kind) for kind in named]
    check(
        source,
        (
            any(kind.endswith("ForTokenClassification") for kind in kinds),
            f"the architecture {', '.join(kinds) or 'it does not name'} is of no hybrid model; one is a classifier of"
            f" tokens (mGTE), or has {SPARSE_FILE} and {COLBERT_FILE} beside it (BGE-M3)",
        ),
    )
    count = len(labels_of(raw, source))
    check(source, (count == 1, f"the model tells {count} labels of tokens apart; a token's weight is one number"))
    heads["sparse"] = (EachToken((Linear("classifier", hidden, 1, "ReLU"),)),)
    return heads, []


def _outputs(path: Path) -> int:
    weight = read_weights(path).get("weight")
    check(str(path), (weight is not None and weight.ndim == 2, "it holds no matrix called 'weight'"))
    return 0 if weight is None else len(weight)


def multivector_heads(modules: list[Module], raw: Mapping[str, Any], config: Config) -> Found:
    """The output `vectors` of a late-interaction model: each token's state through its projection.

    Raises:
        ModelFileError: The model has no projection, or what follows it is not known here.
    """
    root, width = modules[0].path, config.hidden_size
    if modules[0].is_alone:
        metadata = _stanford(root, raw)
        dim = metadata.get("dim", STANFORD_DIM)
        is_dim = isinstance(dim, int) and not isinstance(dim, bool) and dim > 0
        check(str(root / STANFORD_SETTINGS), (is_dim, f"dim is {dim!r}; it must be a whole number above 0"))
        return {"vectors": (EachToken((Linear("linear", width, dim, bias=False),)),)}, []
    kinds = [module.kind for module in modules[1:]]
    projections = [module for module in modules if module.kind == "Dense"]
    after = kinds[len(projections) :]
    is_chain = bool(projections) and set(kinds[: len(projections)]) == {"Dense"} and set(after) <= set(_AFTER_DENSE)
    says = (
        f"a chain of Transformer, {', '.join(kinds)} is of no late-interaction model; one has Dense modules, and then"
        " perhaps a MultiVectorMask and a Normalize"
    )
    check(str(root), (is_chain and len(after) == len(set(after)), says))
    steps: list[Step] = []
    for module in projections:
        steps.append(_projection(module, width))
        width = steps[-1].width(width)
    return {"vectors": (EachToken(tuple(steps)),)}, [
        (f"{each.place}/", weights_file(each.path)) for each in projections
    ]


def _projection(module: Module, width: int) -> Step:
    names = ("module_input_name", "module_output_name")
    check_switches(module.source, module.config, **dict.fromkeys(names, "token_embeddings"))
    layer = read_linear(module, width, "torch.nn.Identity")
    if not module.config.get("use_residual"):
        return layer
    out = layer.width(width)
    return Residual(layer, None if out == width else Linear(f"{module.place}/residual", width, out, bias=False))


def late_interaction(
    folder: Path, modules: list[Module], raw: Mapping[str, Any], settings: Mapping[str, Any], max_length: int
) -> LateInteraction:
    """How the model of a folder makes tokens of queries and documents.

    Args:
        folder: The folder.
        modules: Its chain of modules.
        raw: The object of its `config.json`.
        settings: What Sentence Transformers keeps beside the transformer.
        max_length: Tokens of a text that are read where nothing else is stated.

    Raises:
        ModelFileError: A setting is of the wrong type, or not known here.
    """
    if modules[0].is_alone:
        return of_stanford(_stanford(folder, raw), str(folder / STANFORD_SETTINGS))
    after = {module.kind: module for module in modules if module.kind in _AFTER_DENSE}
    if "MultiVectorMask" in after:
        mask, source = after["MultiVectorMask"].config, str(modules[0].path)
        normalize = after.get("Normalize")
        if normalize:
            switches = ("module_input_name", "module_output_name")
            check_switches(normalize.source, normalize.config, **dict.fromkeys(switches, "token_embeddings"))
        return of_sentence_transformers(settings, mask, source, normalize=normalize is not None, max_length=max_length)
    path = folder / "config_sentence_transformers.json"
    return of_pylate(read_json(path, dict), str(path))


def _stanford(folder: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    path = folder / STANFORD_SETTINGS
    is_one = path.is_file() or raw.get("architectures") == ["HF_ColBERT"]
    says = f"the model has no projection of tokens: there is neither a modules.json nor an {STANFORD_SETTINGS}"
    check(str(folder), (is_one, says))
    metadata = read_json(path, dict) if path.is_file() else {}
    wrapped = metadata.get("config")
    return wrapped if isinstance(wrapped, dict) else metadata
