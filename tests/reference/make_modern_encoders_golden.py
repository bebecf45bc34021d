"""Writes tests/data/{modernbert,nomic_bert,gte_new,t5}_golden.npz: the last hidden states of the tiny encoders.

Made with torch 2.13.0 (CPU) and transformers 5.23.0. To make them again, in an environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0
    PYTHONPATH=tests python tests/reference/make_modern_encoders_golden.py

The reference is the model in transformers, which loads the checkpoint under its published names from a folder. Texts
run one by one; the padded batch must agree with that to 1e-5, or nothing is written. Two of the references need more:

- GTE: transformers has no "ntk" scaling. It is the "linear" one with another theta and factor; that both give the
  angles of new-impl's formula is checked here.
- NomicBERT: transformers knows neither biases nor `rotary_emb_fraction`, which nomic-ai's own code has. For these,
  `nomic_states` below is a reference of our own, written from a reading of that code; it must agree with transformers
  where transformers can run the model.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

import tiny_modern_encoders as tiny

DATA = Path(__file__).parents[1] / "data"


def loaded(kind: type, config: dict[str, Any], weights: dict[str, np.ndarray]) -> Any:
    """A model of transformers, from the files that are published for it."""
    with tempfile.TemporaryDirectory() as folder:
        save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        (Path(folder) / "config.json").write_text(json.dumps(config))
        model, report = kind.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    problems = {name: found for name, found in report.items() if found}
    assert not problems, problems
    return model.eval()


def states(model: Callable[..., Any]) -> np.ndarray:
    texts = tiny.token_ids()
    padded = torch.zeros((len(texts), max(map(len, texts))), dtype=torch.long)
    mask = torch.zeros_like(padded)
    with torch.no_grad():
        for row, ids in enumerate(texts):
            padded[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        alone = [model(torch.tensor([ids])).last_hidden_state[0].numpy() for ids in texts]
        together = model(padded, attention_mask=mask).last_hidden_state.numpy()
    for row, expected in enumerate(alone):
        difference = np.abs(together[row, : len(expected)] - expected).max()
        assert difference < 1e-5, difference
    return np.concatenate(alone)


def gte_config(config: dict[str, Any]) -> dict[str, Any]:
    """What transformers' GteModel needs to be told where new-impl is told `config`."""
    scaling = config.get("rope_scaling")
    if scaling is None:
        return config | {"model_type": "gte"}
    head, factor = config["hidden_size"] // config["num_attention_heads"], scaling["factor"]
    linear = {"rope_type": "linear", "rope_theta": config["rope_theta"] * factor, "factor": factor ** (2 / head)}
    ours = 1 / linear["rope_theta"] ** (torch.arange(0, head, 2) / head) / linear["factor"]
    # NTKScalingRotaryEmbedding of new-impl, without mixed_b
    theirs = 1 / (config["rope_theta"] * factor) ** (torch.arange(0, head, 2).float() / head) / factor ** (2 / head)
    torch.testing.assert_close(ours, theirs)
    rest = {name: value for name, value in config.items() if name not in ("rope_scaling", "rope_theta")}
    return rest | {"model_type": "gte", "rope_parameters": linear}


def nomic_states(config: dict[str, Any], weights: dict[str, np.ndarray]) -> np.ndarray:
    """NomicBERT, one text at a time, in float64 and as plainly as can be."""
    tensors = {name: torch.from_numpy(tensor).double() for name, tensor in weights.items()}
    heads, head = config["n_head"], config["n_embd"] // config["n_head"]
    turned = int(head * config["rotary_emb_fraction"])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.nn.functional.linear(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        scale, shift = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return torch.nn.functional.layer_norm(x, x.shape[-1:], scale, shift, config["layer_norm_epsilon"])

    def turn(x: torch.Tensor) -> torch.Tensor:
        """Each pair, as a complex number, times a number of length 1."""
        pairs = torch.complex(x[..., : turned // 2], x[..., turned // 2 : turned])
        angles = config["rotary_emb_base"] ** -(torch.arange(0, turned, 2).double() / turned)
        angles = torch.arange(x.shape[0]).double()[:, None] * angles
        pairs = pairs * torch.polar(torch.ones_like(angles), angles)[:, None]
        return torch.cat([pairs.real, pairs.imag, x[..., turned:]], dim=-1)

    def run(ids: list[int]) -> torch.Tensor:
        words, types = (tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "token_type"))
        x = norm(words[ids] + types[0], "emb_ln")
        for number in range(config["n_layer"]):
            layer = f"encoder.layers.{number}"
            query, key, value = linear(x, f"{layer}.attn.Wqkv").reshape(len(ids), 3, heads, head).unbind(1)
            scores = torch.einsum("qhd,khd->hqk", turn(query), turn(key)) / head**0.5
            mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).reshape(len(ids), heads * head)
            x = norm(x + linear(mixed, f"{layer}.attn.out_proj"), f"{layer}.norm1")
            gate = torch.nn.functional.silu(linear(x, f"{layer}.mlp.fc12"))
            x = norm(x + linear(linear(x, f"{layer}.mlp.fc11") * gate, f"{layer}.mlp.fc2"), f"{layer}.norm2")
        return x

    return np.concatenate([run(ids).numpy() for ids in tiny.token_ids()]).astype(np.float32)


modernbert = {
    name: states(loaded(transformers.ModernBertModel, config, tiny.modernbert_weights(config)))
    for name, config in tiny.MODERNBERT.items()
}
gte_new = {
    name: states(loaded(transformers.GteModel, gte_config(config), tiny.gte_weights(config)))
    for name, config in tiny.GTE.items()
}
t5 = {
    name: states(loaded(transformers.T5EncoderModel, config, tiny.t5_weights(config)))
    for name, config in tiny.T5.items()
}
nomic = tiny.NOMIC_BERT
native = loaded(transformers.NomicBertModel, nomic["transformers_5"], tiny.nomic_bert_weights(nomic["own"]))
nomic_bert = {"own": states(native), "biased": nomic_states(nomic["biased"], tiny.nomic_bert_weights(nomic["biased"]))}
ours = nomic_states(nomic["own"], tiny.nomic_bert_weights(nomic["own"]))
assert np.abs(ours - nomic_bert["own"]).max() < 1e-5, np.abs(ours - nomic_bert["own"]).max()

for name, results in {"modernbert": modernbert, "gte_new": gte_new, "t5": t5, "nomic_bert": nomic_bert}.items():
    np.savez_compressed(DATA / f"{name}_golden.npz", **results)
    print(name, {case: f"{np.abs(result).mean():.2f}" for case, result in results.items()})
print("torch", torch.__version__, "transformers", transformers.__version__)
