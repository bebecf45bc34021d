"""Scripts that are written without spaces between words: characters and pairs of characters, no dictionary.

A run of Chinese, Japanese, Korean, Thai, Lao, Khmer or Burmese characters gives each of them and each two that touch:
`東京都` is 東, 京, 都, 東京, 京都. Single characters are among the terms so that a query of one finds something;
pairs carry the meaning. In Thai, Lao, Khmer and Burmese one character is a cluster as it is read: a consonant with the
vowels and tone marks around it.

Source:
    J.-Y. Nie, J. Gao, J. Zhang and M. Zhou, "On the Use of Words and N-grams for Chinese Information Retrieval",
    IRAL 2000: single characters with bigrams retrieve as well as words from a dictionary.
"""

from __future__ import annotations

import re
from functools import cache
from operator import add

from milvine.analysis.unicode import marks

# Ideographs with 々 〆 〇, kana with their marks, bopomofo, Hangul with its jamo, Yi.
_IDEOGRAPHIC = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\U0001b000-\U0001b16f"
    "\u3105-\u312f\u31a0-\u31bf"
    "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb"
    "\ua000-\ua48c"
)
# Thai, Lao, Burmese, Khmer; digits are plain ones by now.
_CLUSTERED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf"
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\u1780-\u17d3\u17d7\u17dc\u17dd"
)

_RUNS = re.compile(f"([{_IDEOGRAPHIC}]+|[{_CLUSTERED}]+)")
_FIRST_CLUSTERED, _LAST_CLUSTERED = "\u0e01", "\u17dd"

# Thai and Lao vowels that stand before their consonant, and those after it.
_LEADING, _FOLLOWING = "\u0e40-\u0e44\u0ec0-\u0ec4", "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
# Khmer and Burmese signs that put the next consonant below.
_STACKING = "\u17d2\u1039"
# Spellings that look the same: two SARA E for SARA AE, and a tone mark typed after the ring of SARA AM.
_TWICE_SARA_E = ("\u0e40\u0e40", "\u0e41")
_RING_BEFORE_TONE = re.compile("(\u0e4d)([\u0e48-\u0e4b])(?=\u0e32)")


def split_runs(text: str) -> list[str]:
    """What lies between runs of such a script at even places, maybe empty, and the runs at odd places."""
    return _RUNS.split(text)


def has_runs(text: str) -> bool:
    """Whether the text has a character of such a script."""
    return not text.isascii() and _RUNS.search(text) is not None


def ngrams(run: str) -> list[str]:
    """The characters of a run in their order, then each two that touch."""
    units = _clusters(run) if _FIRST_CLUSTERED <= run[0] <= _LAST_CLUSTERED else list(run)
    return [*units, *map(add, units, units[1:])]


def _clusters(run: str) -> list[str]:
    return _cluster_pattern().findall(_RING_BEFORE_TONE.sub(r"\2\1", run.replace(*_TWICE_SARA_E)))


@cache
def _cluster_pattern() -> re.Pattern[str]:
    base = f".(?:[{marks()}]|(?<=[{_STACKING}]).)*"
    return re.compile(f"[{_LEADING}]?{base}[{_FOLLOWING}]?")
