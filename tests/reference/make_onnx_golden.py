"""Writes tests/data/onnx/*.onnx, small models of transformers exported by PyTorch, and what they give themselves.

Made with torch 2.13.0 (CPU), transformers 5.23.0, onnx 1.23.2 and onnxscript 0.7.2. To make them again, in an
environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0 onnx==1.23.2 onnxscript==0.7.2
    PYTHONPATH=tests python tests/reference/make_onnx_golden.py

The golden values are transformers', text by text; poolings over them are written out here.
"""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    RobertaConfig,
    RobertaModel,
)

from tiny_bert import tokenizer_json
from tiny_onnx import CONFIGS, DATA, QUERY, TEXTS

DATA.mkdir(exist_ok=True)
tokenizer = Tokenizer.from_str(tokenizer_json())
tokenizer.no_padding()
tokenizer.no_truncation()


def made(model, scale: float = 4.0):
    """The model with weights so large that every part of it leaves its mark."""
    torch.manual_seed(20261123)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=float(name.endswith("LayerNorm.weight")), std=0.1 * scale)
    return model.eval()


class States(torch.nn.Module):
    """Gives the tokens' states, and BERT's pooler beside them as exporters do."""

    def __init__(self, model, dtype=torch.float32):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, input_ids, attention_mask, token_type_ids):
        found = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return found.last_hidden_state.to(self.dtype), found.pooler_output.to(self.dtype)


class Vectors(torch.nn.Module):
    """Gives the tokens' states and the normalised mean, as exports of Sentence Transformers do."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        mean = (states * mask).sum(1) / mask.sum(1)
        return states, torch.nn.functional.normalize(mean, dim=1)


class Logits(torch.nn.Module):
    """Gives a classifier's logits, or those of a masked language model."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


class Positions(torch.nn.Module):
    """Takes positions, and 32-bit integers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids):
        ids, mask, positions = (value.long() for value in (input_ids, attention_mask, position_ids))
        return self.model(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state


def export(name: str, model, inputs: list[str], outputs: list[str], dtype=torch.int64) -> None:
    model.eval()  # or the exporter puts what the model wraps back into training
    example = tuple(torch.ones((2, 5), dtype=dtype) for _ in inputs)
    axes = {each: {0: "batch_size", 1: "sequence_length"} for each in [*inputs, *outputs]}
    with torch.no_grad():
        given = model(*example)
    for each, value in zip(outputs, given if isinstance(given, tuple) else (given,), strict=True):
        axes[each] = {axis: axes[each][axis] for axis in range(value.ndim - 1)}
    torch.onnx.export(
        model,
        example,
        DATA / f"{name}.onnx",
        input_names=inputs,
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=14,
        dynamo=False,
    )


def ids(text: str, second: str | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    encoding = tokenizer.encode(text) if second is None else tokenizer.encode(text, second)
    return tuple(torch.tensor([part]) for part in (encoding.ids, encoding.attention_mask, encoding.type_ids))


bert = lambda **more: BertConfig(**{**CONFIGS["states"], **more}, attn_implementation="eager")  # noqa: E731
base = made(BertModel(bert()))
classifier = made(BertForSequenceClassification(bert(num_labels=1)))
language = made(BertForMaskedLM(bert()), 2.0)
roberta = made(
    RobertaModel(RobertaConfig(**CONFIGS["positions"], attn_implementation="eager"), add_pooling_layer=False)
)

three, two = ["input_ids", "attention_mask", "token_type_ids"], ["input_ids", "attention_mask"]
export("states", States(base), three, ["last_hidden_state", "pooler_output"])
export("half", States(base, torch.float16), ["input_ids", "input_mask", "segment_ids"], ["output_0", "output_1"])
export("vectors", Vectors(base), two, ["token_embeddings", "sentence_embedding"])
export("logits", Logits(classifier), three, ["logits"])
export("terms", Logits(language), three, ["logits"])
export("positions", Positions(roberta), [*two, "position_ids"], ["last_hidden_state"], torch.int32)

golden: dict[str, list[np.ndarray]] = {
    name: [] for name in ("states_mean", "states_cls", "logits", "terms", "positions")
}
with torch.no_grad():
    for text in TEXTS:
        tokens, mask, types = ids(text)
        states = base(input_ids=tokens, attention_mask=mask, token_type_ids=types).last_hidden_state[0].numpy()
        golden["states_mean"].append(states.mean(0))
        golden["states_cls"].append(states[0])
        logits = language(input_ids=tokens, attention_mask=mask, token_type_ids=types).logits[0]
        golden["terms"].append(torch.log1p(torch.relu(logits.max(0).values)).numpy())
        golden["positions"].append(roberta(input_ids=tokens, attention_mask=mask).last_hidden_state[0].numpy().mean(0))
        tokens, mask, types = ids(QUERY, text)
        golden["logits"].append(
            classifier(input_ids=tokens, attention_mask=mask, token_type_ids=types).logits[0].numpy()
        )
np.savez_compressed(DATA.parent / "onnx_golden.npz", **{name: np.stack(rows) for name, rows in golden.items()})
for name, rows in golden.items():
    print(name, np.stack(rows).shape, np.abs(np.stack(rows)).mean(), np.stack(rows)[:3, :4])
