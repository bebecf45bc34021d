"""Azure OpenAI's embeddings API as it is documented: the v1 API, and the older one by deployment and API version.

https://learn.microsoft.com/azure/foundry/openai/how-to/embeddings and
https://azure-foundry.mintlify.app/api-reference/embeddings; the older path and its query as `openai.AzureOpenAI` 3.54.0
sends them; without an API version it is not found: https://github.com/openclaw/openclaw/pull/139436 (all read
2026-11-23). `openai.AzureOpenAI` and `openai.OpenAI` talk to it in `tests/model/dense/test_azure_openai.py`.
"""

from __future__ import annotations

from typing import Any

from provider_apis.openai import embedded
from provider_server import KEY, REQUEST_ID, RefusalError, Request

RESPONSE_HEADERS = {"apim-request-id": REQUEST_ID}

DEPLOYMENTS = {"my small one": "text-embedding-3-small", "ada": "text-embedding-ada-002"}


def _answer(request: Request, deployment: Any) -> Any:
    if request.headers.get("api-key") != KEY:
        said = "Access denied due to invalid subscription key or wrong API endpoint."
        raise RefusalError(401, {"error": {"code": "401", "message": said}})
    if deployment not in DEPLOYMENTS:
        said = "The API deployment for this resource does not exist."
        raise RefusalError(404, {"error": {"code": "DeploymentNotFound", "message": said}})
    return embedded({**request.body, "model": DEPLOYMENTS[deployment]})


def newer(request: Request) -> Any:
    """`POST /openai/v1/embeddings`: the deployment is named in the body."""
    if request.query.get("api-version", "v1") not in ("v1", "preview"):
        raise RefusalError(400, {"error": {"code": "BadRequest", "message": "API version not supported"}})
    return _answer(request, request.body.get("model"))


def older(request: Request) -> Any:
    """`POST /openai/deployments/NAME/embeddings?api-version=...`."""
    if "api-version" not in request.query:
        raise RefusalError(404, {"error": {"code": "404", "message": "Resource not found"}})
    return _answer(request, request.path.split("/")[4].replace("%20", " "))


ROUTES = {"POST /azure/openai/v1/embeddings": newer, "POST /azure/openai/deployments/*/embeddings": older}
