"""The project speaks the field's language, in its code as in its pages."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = {
    r"(?<!grid )worlds?": "environment",
    r"(?-i:slabs?)": "row",  # Linux has a Slab of its own
    r"stretch(es)?": "sequence",
    r"film(s|ed)?": "video",
    r"waves?(?! of aliens)": "chunk",
    r"members?": "trial",
    r"sheets?": "figure",
    r"lineups?": "baselines",
    r"peers?": "baseline",
    r"stud(y|ies)": "benchmark suite",
    r"(?-i:protocols?)": "rules",  # typing.Protocol is another word
    r"sinks?": "logger",
    r"greatest": "largest, or max",
    r"chances": "priorities",
    r"materiali[sz]ed?": "no_fuse",
    r"carr(y|ies) out": "run",
    r"shall": "must, or the present tense",
    r"(is|are) to be had": "is available",
    r"unless (given|told)": "by default",
    r"such of": "those of",
    r"tells?(?!( \S+){0,5} apart)|told(?! apart)": "reports, or notifies",
    r"hears?|heard": "receives",
    r"(some|any)body": "a user",
    r"whoever": "a user who",
}
"""Words of an earlier dialect of this project, as regular expressions, and what to say instead."""


def texts() -> Iterator[tuple[Path, str]]:
    for room in ("jaxrl", "tests"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path != Path(__file__):
                yield path, f"{path.stem}\n{path.read_text()}"
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "experiments").rglob("README.md"))):
        yield path, path.read_text()
    newest = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    yield ROOT / "CHANGELOG.md", re.sub(r"^\|.*", "", newest, flags=re.MULTILINE)  # its tables say what was renamed


def as_prose(text: str) -> str:
    """Text with identifiers taken apart (`env_states`, `GridWorld`), in one line."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text.replace("_", " "))
    return re.sub(r"\s+(#:? )?", " ", text)


def test_no_word_of_the_old_dialect_is_left() -> None:
    found = []
    for path, text in texts():
        prose = as_prose(text)
        for word, instead in WORDS.items():
            for match in re.finditer(rf"\b({word})\b", prose, re.IGNORECASE):
                around = prose[max(match.start() - 40, 0) : match.end() + 40]
                found.append(f"{path.relative_to(ROOT)}: {match[0]!r} (say: {instead}) in ...{around}...")
    assert not found, f"{len(found)} words:\n" + "\n".join(found)
