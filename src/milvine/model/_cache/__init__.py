"""A cache of vectors on disk: a call's texts (call.py) -> what the store has (store.py) -> rows (rows.py) of a file.

`packing.py` makes bytes of vectors and vectors of bytes; `file.py` makes, opens and refuses files.
"""
