"""The heads that a `config.json` decides: terms by a masked language model, and the logit of a classifier.

What the checkpoints call their parts is data, by `model_type`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from milvine.local.architectures.base import ACTIVATIONS, Config, check, check_activation
from milvine.local.graph import Graph
from milvine.local.heads import LayerNorm, Linear, Pooling, Step


@dataclass(frozen=True)
class LanguageNames:
    """What a checkpoint calls the parts of a masked language model's head.

    Attributes:
        dense: The first matrix.
        norm: The layer norm after it.
        decoder: The matrix that scores every token of the vocabulary, if the checkpoint holds it.
        tied: The table of token vectors, which is that matrix where the checkpoint holds no other.
        biases: The scores' bias: the first of these that the checkpoint holds.
        activation: The field of `config.json` that names the activation; `None` where it is always "gelu".
        epsilon: The field that has the layer norm's epsilon; `None` where it is always 1e-12.
    """

    dense: str
    norm: str
    decoder: str
    biases: tuple[str, ...]
    tied: str = "embeddings.word_embeddings.weight"
    activation: str | None = "hidden_act"
    epsilon: str | None = "layer_norm_eps"


_BERT = LanguageNames(
    dense="cls.predictions.transform.dense",
    norm="cls.predictions.transform.LayerNorm",
    decoder="cls.predictions.decoder.weight",
    biases=("cls.predictions.decoder.bias", "cls.predictions.bias"),
)
_DISTILBERT = LanguageNames(
    dense="vocab_transform",
    norm="vocab_layer_norm",
    decoder="vocab_projector.weight",
    biases=("vocab_projector.bias",),
    activation="activation",
    epsilon=None,
)
_ROBERTA = LanguageNames(
    dense="lm_head.dense",
    norm="lm_head.layer_norm",
    decoder="lm_head.decoder.weight",
    biases=("lm_head.decoder.bias", "lm_head.bias"),
    activation=None,
)
LANGUAGE_HEADS = {
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
}


@dataclass(frozen=True)
class Splade:
    """The weight of every token of the vocabulary: log(1 + relu(logit)), the largest that any token of the text gives.

    SPLADE v2 (Formal et al. 2021, https://arxiv.org/abs/2109.10086), section 3; `twice` is the second logarithm of Geng
    et al. 2025 (https://arxiv.org/abs/2504.14839). Both grow with the logit, so the largest logit is taken first.
    """

    names: LanguageNames
    hidden: int
    vocabulary: int
    activation: str
    epsilon: float
    is_tied: bool
    twice: bool = False

    def width(self, inputs: int) -> int:  # noqa: ARG002
        """See `Step`."""
        return self.vocabulary

    def build(self, g: Graph, x: str, mask: str) -> str:
        """See `Step`."""
        # Padding becomes a copy of the text's first token, which changes no maximum and costs next to nothing.
        is_token = g.op("Cast", g.op("Unsqueeze", mask, g.ints(2)), to=9)
        x = g.op("Where", is_token, x, g.op("Slice", x, g.ints(0), g.ints(1), g.ints(1)))
        x = g.op("Reshape", x, g.ints(-1, self.hidden))
        kind, options = ACTIVATIONS[self.activation]
        x = g.op(kind, g.linear(x, self.names.dense, self.hidden, self.hidden), **options)
        x = g.layer_norm(x, self.names.norm, self.hidden, self.epsilon)
        decoder = self.names.tied if self.is_tied and not g.holds(self.names.decoder) else self.names.decoder
        logits = g.op("Gemm", x, g.weight(decoder, (self.vocabulary, self.hidden)), transB=1)
        shape = g.op("Concat", g.op("Shape", mask), g.ints(self.vocabulary), axis=0)
        best = g.op("ReduceMax", g.op("Reshape", logits, shape), g.ints(1), keepdims=0)
        bias = next((name for name in self.names.biases if g.holds(name)), self.names.biases[-1])
        best = g.op("Relu", g.op("Add", best, g.weight(bias, (self.vocabulary,))))
        for _ in range(1 + self.twice):
            best = g.op("Log", g.op("Add", best, g.number(1.0)))
        return best

    def __str__(self) -> str:
        return "splade, twice" if self.twice else "splade"


def language_head(raw: Mapping[str, Any], config: Config, source: str, *, twice: bool = False) -> tuple[Step, ...]:
    """The head of a sparse model.

    Args:
        raw: The object of its `config.json`.
        config: What its architecture made of it.
        source: The path of that file.
        twice: Whether the logarithm is taken twice.

    Raises:
        ModelFileError: The architecture has no such head that is known, or it does what is not known here.
    """
    model_type = str(raw.get("model_type"))
    check(
        source,
        (
            model_type in LANGUAGE_HEADS,
            f"no masked language model of the architecture {model_type!r} is known here; known are"
            f" {', '.join(LANGUAGE_HEADS)}",
        ),
    )
    names = LANGUAGE_HEADS[model_type]
    activation = raw.get(names.activation) if names.activation else "gelu"
    epsilon = raw.get(names.epsilon, 1e-12) if names.epsilon else 1e-12
    check_activation(source, str(activation))
    is_tied = raw.get("tie_word_embeddings", True) is not False
    return (Splade(names, config.hidden_size, config.vocab_size, str(activation), float(epsilon), is_tied, twice),)


@dataclass(frozen=True)
class ClassifierNames:
    """What a checkpoint calls the parts of a classifier over a whole text.

    Attributes:
        dense: The first matrix, over the first token's state.
        last: The matrix that gives the logits.
        activation: What stands between them: a name of `milvine.local.heads.ACTIVATIONS`.
    """

    dense: str
    last: str
    activation: str = "Tanh"


_OF_ROBERTA = ClassifierNames("classifier.dense", "classifier.out_proj")
_OF_BERT = ClassifierNames("pooler.dense", "classifier")
CLASSIFIERS = {
    "bert": _OF_BERT,
    "albert": ClassifierNames("pooler", "classifier"),
    "distilbert": ClassifierNames("pre_classifier", "classifier", "ReLU"),
    "roberta": _OF_ROBERTA,
    "xlm-roberta": _OF_ROBERTA,
    "camembert": _OF_ROBERTA,
    "mpnet": _OF_ROBERTA,
    "new": _OF_BERT,
    "gte": _OF_BERT,
}


def classifier_head(raw: Mapping[str, Any], config: Config, source: str) -> tuple[Step, ...]:
    """The head of a reranker: a classifier with one logit, the relevance.

    Args:
        raw: The object of its `config.json`.
        config: What its architecture made of it.
        source: The path of that file.

    Raises:
        ModelFileError: It has several logits, or the architecture has no classifier that is known.
    """
    model_type, hidden = str(raw.get("model_type")), config.hidden_size
    labels = raw.get("id2label")
    count = len(labels) if isinstance(labels, dict) else raw.get("num_labels", 2)  # 2 is transformers' default
    check(
        source,
        (
            count == 1,
            f"the model tells {count} labels apart; a reranker gives one logit, the relevance, and no score can be made"
            " of several",
        ),
        (
            model_type in CLASSIFIERS or model_type == "modernbert",
            f"no classifier of the architecture {model_type!r} is known here; known are"
            f" {', '.join((*CLASSIFIERS, 'modernbert'))}",
        ),
    )
    if model_type == "modernbert":
        return _modernbert_classifier(raw, hidden, source)
    names = CLASSIFIERS[model_type]
    return (
        Pooling(("cls",)),
        Linear(names.dense, hidden, hidden, names.activation),
        Linear(names.last, hidden, 1),
    )


def _modernbert_classifier(raw: Mapping[str, Any], hidden: int, source: str) -> tuple[Step, ...]:
    pooling, activation = raw.get("classifier_pooling", "cls"), raw.get("classifier_activation", "gelu")
    check(
        source,
        (pooling in ("cls", "mean"), f"classifier_pooling is {pooling!r}; known are cls, mean"),
        (activation == "gelu", f"classifier_activation is {activation!r}; only 'gelu' is known here"),
    )
    epsilon, has_bias = float(raw.get("norm_eps", 1e-5)), bool(raw.get("norm_bias", False))
    return (
        Pooling((pooling,)),
        Linear("head.dense", hidden, hidden, "GELU", bias=bool(raw.get("classifier_bias", False))),
        LayerNorm("head.norm", hidden, epsilon, bias=has_bias),
        Linear("classifier", hidden, 1),
    )


TASK_HEADS: dict[str, Callable[[Mapping[str, Any], Config, str], tuple[Step, ...]]] = {
    "sparse": language_head,
    "reranker": classifier_head,
}
"""For each task whose head `config.json` decides, what makes it."""
