"""`python -m milvine` is the `milvine` command."""

from milvine.cli import main

main(prog_name="milvine")
