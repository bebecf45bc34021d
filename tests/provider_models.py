"""A model of each provider, as the test server knows it."""

from __future__ import annotations

EMBEDDING_MODELS = {
    "openai": "text-embedding-3-small",
    "azure": "ada",
    "cohere": "embed-v4.0",
    "gemini": "gemini-embedding-001",
    "jina": "jina-embeddings-v3",
    "mistral": "mistral-embed",
    "nomic": "nomic-embed-text-v1.5",
    "ollama": "nomic-embed-text",
    "tei": "served",
    "voyage": "voyage-3-large",
}
RERANK_MODELS = {
    "cohere": "rerank-v3.5",
    "jina": "jina-reranker-v2-base-multilingual",
    "tei": "served",
    "typesafe": "jev-latest",
    "voyage": "rerank-2",
}
