"""Which store a URI means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from milvine._texts import as_text
from milvine.errors import InputError, InputTypeError, StoreError
from milvine.store.base import MakeFields, Store

_ADDRESS = re.compile(r"(https?:)/?(.*)|[\w.-]+:\d{2,5}(?:/.*)?", re.DOTALL)  # of a server, but for the "//"

MAX_NAME = 255  # letters, as Milvus allows


class StoreOptions(TypedDict, total=False):
    """The keyword arguments of a collection on a Milvus server; the built-in store has `timeout`, Milvus Lite none.

    Those from `index` to `partition_key` hold for a collection that is made by this; opening one that is there with
    another index type or partition key is refused.

    Attributes:
        token: What the server asks for, such as "user:password" or an API key; else of `user` and `password`, of the
            URI, or of the environment variable MILVUS_TOKEN. It is never stored nor shown.
        user: The user, with `password` instead of `token`.
        password: The user's password.
        db_name: The database; else what follows the URI's host, or the server's default one.
        timeout: Seconds that a request may take, and that a write waits for a server that restarts; by default 30. In
            the built-in store, where one process writes at a time, how long a write waits for others.
        consistency_level: For searches and reads: "Strong" (all that anybody wrote is found, for up to .2 s a search),
            "Session" (the default: what this object wrote is found), "Bounded" or "Eventually".
        search_params: Parameters of searches of dense fields, as the index knows them: `{"ef": 200}`.
        index: The index of dense fields: a type ("HNSW", "IVF_FLAT"; by default "AUTOINDEX", of int8 fields "HNSW", of
            binary ones "BIN_FLAT"), or a mapping of "index_type" and its parameters; or a mapping of field names,
            sparse ones too, to such.
        shards: Over how many shards rows are spread; by default the server's own number.
        replicas: How many times the collection is loaded, unless it is loaded already.
        partition_key: The metadata key by whose value rows are kept apart, such as a tenant's name; every record must
            have it then, as a string. A filter `tenant == "a"` reads that tenant's part alone.
        server_pem_path: The file of the authority's certificate, for TLS (`https://`) with a certificate of one's own.
        server_name: The name in the server's certificate, if it is another than the URI's.
        client_pem_path: The file of the client's certificate, for TLS in both directions.
        client_key_path: The file of the client's key, likewise.
        ca_pem_path: The file of the authority's certificate, likewise.
    """

    token: str | None
    user: str | None
    password: str | None
    db_name: str | None
    timeout: float | None
    consistency_level: str | None
    search_params: Mapping[str, Any] | None
    index: str | Mapping[str, Any] | None
    shards: int | None
    replicas: int | None
    partition_key: str | None
    server_pem_path: str | None
    server_name: str | None
    client_pem_path: str | None
    client_key_path: str | None
    ca_pem_path: str | None


def open_store(
    uri: str | Path,
    name: str,
    *,
    fields: MakeFields,
    config: dict[str, Any] | None = None,
    must_be_new: bool = False,
    columns: Mapping[str, str] | None = None,
    options: StoreOptions | None = None,
) -> Store:
    """Open a collection's store, or make it.

    Args:
        uri: The path of a file, such as `kb.milvine`: the built-in store. A path that ends in `.db`: Milvus Lite, in
            this process. Or the address of a Milvus server or cluster, such as `http://host:19530`; `https://` for TLS.
        name: The collection.
        fields: Given the collection's configuration, the fields that it has; called with the stored configuration when
            the collection exists, so that a mismatch can be refused before anything is touched.
        config: What to store with a new collection; `None` if the collection, and its database, must exist.
        must_be_new: Refuse a collection that exists.
        columns: For a collection that another tool made: which column holds what; see `Collection.attach`.
        options: How to reach a server, and how to make a collection there.

    Raises:
        InputError: The URI means no store that milvine has, the name is not allowed, or an option is not.
        StoreNotFoundError: There is no database, and `config` is `None`; or no folder to hold one.
        StoreLockedError: Another process has the Milvus Lite database open, or kept the built-in store's file locked.
        CollectionNotFoundError: There is no such collection, and `config` is `None`.
        CollectionExistsError: There is one, and it must be new.
        CollectionMismatchError: It is not milvine's, or a newer milvine's, or `fields` refuses it, or it was made with
            other options.
        StoreConnectionError: The server cannot be reached.
        StoreError: The server refuses the token.
    """
    text = str(uri) if isinstance(uri, Path) else as_text(uri, "uri")
    given = {key: value for key, value in (options or {}).items() if value is not None}
    if unknown := given.keys() - StoreOptions.__annotations__.keys():
        raise InputTypeError(f"{', '.join(sorted(unknown))}: no such argument; see milvine.Collection")
    if not name.isidentifier() or not name.isascii() or len(name) > MAX_NAME:
        raise InputError(
            f"a collection's name must be of letters, digits and underscores, {MAX_NAME} at most and no digit first,"
            f" not {_shown(name)!r}"
        )
    if "://" in text:
        from milvine.store.milvus_server import MilvusServerStore

        return MilvusServerStore(
            text, name, fields=fields, config=config, must_be_new=must_be_new, columns=columns, options=given
        )
    if not isinstance(uri, Path) and (address := _ADDRESS.fullmatch(text)):
        scheme, rest = (address[1], address[2]) if address[1] else ("http:", text)
        raise InputError(
            f'{text!r} looks like the address of a Milvus server, which is written "{scheme}//{rest}"; a file of this'
            f' name would be "./{text}"'
        )
    path = _path(text)
    is_lite = text.endswith(".db")
    if refused := given.keys() - (set() if is_lite else {"timeout"}):
        raise InputError(
            f"{', '.join(sorted(refused))}: for Milvus servers alone, and {text!r} is a path on this machine; leave it"
            " out"
        )
    if not is_lite:
        from milvine.store.builtin import BuiltinStore

        if columns is not None:
            raise InputError(f"{text!r} is a file of milvine's own, which no other tool makes; use Collection.open")
        timeout: Any = given.get("timeout", 30.0)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise InputTypeError(f"timeout must be a number of seconds, not {type(timeout).__name__} ({timeout!r})")
        if not 0 <= timeout <= 86_400:
            raise InputError(f"timeout must be from 0 to 86,400 seconds, not {timeout}")
        return BuiltinStore(path, name, fields=fields, config=config, must_be_new=must_be_new, timeout=timeout)
    from milvine.store.milvus_lite import MilvusLiteStore

    return MilvusLiteStore(path, name, fields=fields, config=config, must_be_new=must_be_new, columns=columns)


def _path(text: str) -> Path:
    """The path, if it can be one, of a file or of Milvus Lite's folder.

    Raises:
        InputError: It cannot.
        StoreError: This user may not look there.
    """
    problem = ""
    if text.strip() and text != ":memory:" and not text.endswith(("/", "\\")) and "\0" not in text:
        try:
            path = Path(text).expanduser()
            with suppress(FileNotFoundError, NotADirectoryError):
                path.stat()
            return path
        except PermissionError as error:
            raise StoreError(f"{text!r} may not be read by this user: {error.strerror}") from error
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, no such user, no Unicode
            problem = f" ({getattr(error, 'strerror', None) or error})"
    raise InputError(
        f'{_shown(text)!r} is no store{problem}: it must be the path of a file, such as "kb.milvine", a path that ends'
        ' in .db (Milvus Lite), or the address of a Milvus server, such as "http://localhost:19530"'
    )


def _shown(text: str) -> str:
    return text if len(text) <= MAX_NAME else f"{text[:20]}…"
