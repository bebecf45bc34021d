"""OpenAI's models as Azure serves them, each under the name of its deployment."""

from __future__ import annotations

from typing import Final

from milvine.hosted.providers.openai import OPENAI, encodings
from milvine.hosted.shapes import item_vectors, openai_body
from milvine.hosted.spec import EmbeddingEndpoint, Provider

__all__ = ["AZURE", "DEPLOYMENTS_PATH"]

DEPLOYMENTS_PATH: Final = "/openai/deployments/{model}/embeddings"
"""The endpoint of the older API, which wants an `api-version`: openai-python 3.54.0, lib/azure.py (read 2026-11-23)."""

AZURE: Final = Provider(
    name="azure",
    # Each resource has its own: https://YOUR-RESOURCE-NAME.openai.azure.com
    base_url=None,
    # What the AzureOpenAI client reads: openai-python 3.54.0, lib/azure.py (read 2026-11-23).
    base_url_variables=("AZURE_OPENAI_ENDPOINT",),
    key_variables=("AZURE_OPENAI_API_KEY",),
    key_page="https://portal.azure.com, at the resource, under Keys and Endpoint",
    key_header="api-key",
    key_prefix="",
    error_messages=OPENAI.error_messages,
    error_codes=OPENAI.error_codes,
    spent_codes=OPENAI.spent_codes,
    too_long=OPENAI.too_long,
    # No limits: x-ratelimit-remaining-requests counts down a window of seconds, not of the limit's minute, and -1 was
    # seen (https://clemenssiebler.com/posts/understanding-azure-openai-x-ratelimit-remaining-tokens-x-ratelimit-remaining-requests-headers/,
    # https://learn.microsoft.com/en-us/answers/questions/5625878; read 2026-11-23). A refusal says how long to wait.
    # The correlation id that Azure's own logs show: https://github.com/BerriAI/litellm/issues/1721 (read 2026-11-23).
    request_id_header="apim-request-id",
    # https://learn.microsoft.com/azure/foundry/openai/how-to/embeddings: the v1 API takes an API key and, as model, the
    # name of the deployment. POST /embeddings, header api-key, 2,048 inputs, 8,192 tokens an input, 300,000 a request,
    # no empty input, encoding_format: https://azure-foundry.mintlify.app/api-reference/embeddings (both read
    # 2026-11-23). Which model a deployment serves cannot be told from its name, so its dimension is learnt.
    embeddings=EmbeddingEndpoint(
        path="/openai/v1/embeddings",
        body=openai_body,
        vectors=item_vectors,
        max_texts=2_048,
        max_tokens=300_000,
        encodings=encodings("base64"),
    ),
)
