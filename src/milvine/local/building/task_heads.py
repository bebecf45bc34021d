"""The heads that a `config.json` decides: terms by a masked language model, and the logits of a classifier.

What the checkpoints call their parts is data, by `model_type`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from milvine.local.building.architectures.base import ACTIVATIONS, Config, check, check_activation
from milvine.local.building.graph import Graph
from milvine.local.building.heads import LayerNorm, Linear, Pooling, Step


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
        epsilon: The field that has the layer norm's epsilon, if one has.
        usual_epsilon: What holds where none has, or it is left out.
        unbiased: Which of `"dense"`, `"norm"` and `"decoder"` may lack a bias: for each, the field that says whether it
            has one, and what holds where the field is left out.
    """

    dense: str
    norm: str
    decoder: str
    biases: tuple[str, ...]
    tied: str = "embeddings.word_embeddings.weight"
    activation: str | None = "hidden_act"
    epsilon: str | None = "layer_norm_eps"
    usual_epsilon: float = 1e-12
    unbiased: Mapping[str, tuple[str, bool]] = field(default_factory=dict)


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
_MODERNBERT = LanguageNames(
    dense="head.dense",
    norm="head.norm",
    decoder="decoder.weight",
    biases=("decoder.bias",),
    tied="embeddings.tok_embeddings.weight",
    activation="classifier_activation",
    epsilon="norm_eps",
    usual_epsilon=1e-5,
    unbiased={"dense": ("classifier_bias", False), "norm": ("norm_bias", False), "decoder": ("decoder_bias", True)},
)
LANGUAGE_HEADS = {
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
    "modernbert": _MODERNBERT,
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
    unbiased: tuple[str, ...] = ()
    twice: bool = False

    def width(self, inputs: int) -> int:  # noqa: ARG002
        """See `Step`."""
        return self.vocabulary

    def build(self, g: Graph, x: str, mask: str) -> str:
        """See `Step`."""
        batch = g.op("Slice", g.op("Shape", mask), g.ints(0), g.ints(1), g.ints(0))
        # Padding becomes a copy of the text's first token, which changes no maximum and costs next to nothing.
        is_token = g.op("Cast", g.op("Unsqueeze", mask, g.ints(2)), to=9)
        x = g.op("Where", is_token, x, g.op("Slice", x, g.ints(0), g.ints(1), g.ints(1)))
        x = g.op("Reshape", x, g.ints(-1, self.hidden))
        kind, options = ACTIVATIONS[self.activation]
        x = g.linear(x, self.names.dense, self.hidden, self.hidden, bias="dense" not in self.unbiased)
        x = g.op(kind, x, **options)
        x = g.layer_norm(x, self.names.norm, self.hidden, self.epsilon, bias="norm" not in self.unbiased)
        # NaN or infinity of any token becomes NaN of its text: a maximum would pass over that of all but the first.
        by_text = g.op("Reshape", g.op("Mul", x, g.number(0.0)), g.op("Concat", batch, g.ints(-1), axis=0))
        harm = g.op("ReduceSum", by_text, g.ints(1))
        decoder = self.names.tied if self.is_tied and not g.holds(self.names.decoder) else self.names.decoder
        logits = g.product(x, decoder, self.hidden, self.vocabulary)
        shape = g.op("Concat", g.op("Shape", mask), g.ints(self.vocabulary), axis=0)
        best = g.op("ReduceMax", g.op("Reshape", logits, shape), g.ints(1), keepdims=0)
        if "decoder" not in self.unbiased:
            bias = next((name for name in self.names.biases if g.holds(name)), self.names.biases[-1])
            best = g.op("Add", best, g.weight(bias, (self.vocabulary,)))
        best = g.op("Add", g.op("Relu", best), harm)
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
    activation = raw.get(names.activation, "gelu") if names.activation else "gelu"
    epsilon = raw.get(names.epsilon, names.usual_epsilon) if names.epsilon else names.usual_epsilon
    check_activation(source, str(activation))
    return (
        Splade(
            names,
            config.hidden_size,
            config.vocab_size,
            str(activation),
            float(epsilon),
            is_tied=raw.get("tie_word_embeddings", True) is not False,
            unbiased=tuple(part for part, (name, default) in names.unbiased.items() if not raw.get(name, default)),
            twice=twice,
        ),
    )


@dataclass(frozen=True)
class ClassifierNames:
    """What a checkpoint calls the parts of a classifier over a whole text.

    Attributes:
        dense: The first matrix, over the first token's state.
        last: The matrix that gives the logits.
        activation: What stands between them: a name of `milvine.local.building.heads.ACTIVATIONS`.
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


MOST_LABELS = 1 << 16
"""A configuration that only counts its labels may count so many: a name is made for each."""


def labels_of(raw: Mapping[str, Any], source: str, logits: int | None = None) -> tuple[str, ...]:
    """The names of a classifier's labels, one for each logit, in the logits' order.

    Args:
        raw: The object of its `config.json`.
        source: The path of that file.
        logits: How many logits there are, where that is known otherwise; names of another number are not taken then.

    Raises:
        ModelFileError: They are not numbered from 0.
    """
    names = _names_of_labels(raw, source)
    return names if logits in (None, len(names)) else tuple(f"LABEL_{number}" for number in range(logits or 0))


def _names_of_labels(raw: Mapping[str, Any], source: str) -> tuple[str, ...]:
    given = raw.get("id2label")
    if given is None:
        count = raw.get("num_labels", 2)  # 2 is transformers' default
        is_count = isinstance(count, int) and not isinstance(count, bool) and 0 < count <= MOST_LABELS
        check(source, (is_count, f"num_labels is {count!r}; it must be a whole number above 0, up to {MOST_LABELS}"))
        return tuple(f"LABEL_{number}" for number in range(count))
    numbers = [str(number) for number in range(len(given))] if isinstance(given, dict) else []
    is_numbered = bool(numbers) and set(given) == set(numbers)
    check(source, (is_numbered, f"id2label is {given!r}; it must be an object whose keys are 0, 1 and so on"))
    return tuple(str(given[number]) for number in numbers)


def classifier_head(raw: Mapping[str, Any], config: Config, source: str) -> tuple[Step, ...]:
    """The head of a classifier over a text or a pair of texts, with a logit for each of its labels.

    Args:
        raw: The object of its `config.json`.
        config: What its architecture made of it.
        source: The path of that file.

    Raises:
        ModelFileError: The architecture has no classifier that is known, or the labels are not numbered.
    """
    model_type, hidden = str(raw.get("model_type")), config.hidden_size
    count = len(labels_of(raw, source))
    check(
        source,
        (
            model_type in CLASSIFIERS or model_type == "modernbert",
            f"no classifier of the architecture {model_type!r} is known here; known are"
            f" {', '.join((*CLASSIFIERS, 'modernbert'))}",
        ),
    )
    if model_type == "modernbert":
        return _modernbert_classifier(raw, hidden, count, source)
    names = CLASSIFIERS[model_type]
    return (
        Pooling(("cls",)),
        Linear(names.dense, hidden, hidden, names.activation),
        Linear(names.last, hidden, count),
    )


def _modernbert_classifier(raw: Mapping[str, Any], hidden: int, count: int, source: str) -> tuple[Step, ...]:
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
        Linear("classifier", hidden, count),
    )


TASK_HEADS: dict[str, Callable[[Mapping[str, Any], Config, str], tuple[Step, ...]]] = {
    "sparse": language_head,
    "reranker": classifier_head,
}
"""For each task whose head `config.json` decides, what makes it."""
