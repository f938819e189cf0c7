"""Turns the rendered template of the weekly article into a document, Markdown and claims.

This module parses the rendered template into sections, sentences and parts, and derives a claim from each number. The
facts come from `publishing.findings`, the wording from `templates/article.j2`, and HTML is made by the site.

A number enters the text only as an object that carries its query. The template renders each object as one private-use
character, and a digit anywhere else is an error. So readers can check every number in every sentence.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket

from reposignal_pipeline.analysis.weekly import WeeklyTable
from reposignal_pipeline.publishing.answers import without_controls

TEMPLATES = Path(__file__).parent / "templates"
FIRST_MARKER = 0xF0000
"""first character of plane 15 (private use); each object is rendered as one character"""
LONGEST_NAME = 140
"""GitHub's longest owner/name; longer names are clipped"""
LONGEST_QUOTE = 90
"""characters of a description: about a line of print"""

QUERIES = "\n## Queries\n"
"""heading before the queries; no earlier line is the same, because names by strangers are escaped and on one line"""

_CONSTANT = re.compile(f"[A-Za-z ,.:;'()\\n{chr(FIRST_MARKER)}-\U000ffffd-]*")
"""words of the template, and already rendered markers"""
# Characters that Markdown interprets within a line; in strangers' text also mentions, shortcodes and bare links.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&])")
_MARKDOWN_AND_MORE = re.compile(r"([\\`*_\[\]<>#|~&!@]|:(?=\S)|(?<=www)\.)", re.IGNORECASE)
_LINE_START = re.compile(r"([0-9]*)([-+.)])(?=\s)")
_BACKTICKS = re.compile("`+")

_WEEK = ("DATE", "Monday that begins the week, UTC.")
_RUN = ("VARCHAR", "Run that wrote the row, see ops_run.")

ARTICLES = WeeklyTable(
    "weekly_article",
    "Grain: week, from the first week with a reading on. The article of the week, generated from the tables of this "
    "file; each of its numbers is a row of fct_article_claim. Source: the weekly tables, forecasts and daily marts.",
    {
        "week": _WEEK,
        "title": ("VARCHAR", "Headline, plain text; may hold names by strangers."),
        "summary": ("VARCHAR", "The first section as plain text; may hold names by strangers."),
        "as_of_date": (
            "DATE",
            "UTC day of the last reading of the week; nothing later is used. NULL if nothing was read.",
        ),
        "sentences": ("BIGINT", "Sentences of the article."),
        "numbers": ("BIGINT", "Numbers in them, each with its query: rows of fct_article_claim."),
        "document": (
            "JSON",
            "The article as sections > blocks > sentences > parts: text, number (claim and shown), repo, cluster, "
            "language, quote or day. Text by strangers is always in separate parts.",
        ),
        "markdown": ("VARCHAR", "The article as Markdown, followed by its queries; text by strangers is escaped."),
        "run_id": _RUN,
    },
)

CLAIMS = WeeklyTable(
    "fct_article_claim",
    "Grain: week x claim. A number in a sentence of the weekly article, with the query on this file that returns it. "
    "Source: weekly_article and the tables that sql_text names.",
    {
        "week": _WEEK,
        "claim": ("VARCHAR", "section.number of the sentence in the section.quantity, such as languages.2.share."),
        "section": ("VARCHAR", "Section of the article."),
        "sentence": ("INTEGER", "Place of the sentence in the article, from 1."),
        "text": ("VARCHAR", "The sentence as a reader sees it; may hold names by strangers."),
        "sql_text": ("VARCHAR", "Query that returns value: one row, one column; runs on this file, read-only."),
        "value": ("DOUBLE", "Result of the query when the article was written."),
        "shown": ("VARCHAR", "The number as shown in the sentence: rounded, with its unit if it has one."),
        "as_of": ("DATE", "UTC day of the last reading that the article uses; NULL if nothing was read in the week."),
        "run_id": _RUN,
    },
)


class ProseError(Exception):
    """The text cannot be checked: it has a number without a query, or text that is not from the template."""


@dataclass(frozen=True)
class Number:
    """A number in a sentence: its name, its query, the value returned and the text shown."""

    name: str
    sql_text: str
    value: float
    shown: str


@dataclass(frozen=True)
class Repo:
    """A repository named in a sentence."""

    repo_key: int
    full_name: str


@dataclass(frozen=True)
class Cluster:
    """A cluster named in a sentence."""

    cluster: int
    label: str


@dataclass(frozen=True)
class Language:
    """A language named in a sentence."""

    language: str


@dataclass(frozen=True)
class Term:
    """A word from the tables: a vertical, a model, a source."""

    text: str


@dataclass(frozen=True)
class Quote:
    """What a repository's owner says it is, in quotation marks and clipped to `LONGEST_QUOTE`."""

    text: str


Part = Number | Repo | Cluster | Language | Term | Quote | dt.date


class Marked(str):
    """Rendered text in which each object is a marker character."""

    __slots__ = ()


@dataclass(frozen=True)
class Article:
    """The article of a week, with its claims."""

    title: str
    summary: str
    document: dict[str, Any]
    markdown: str
    claims: list[dict[str, Any]]

    @property
    def sentences(self) -> int:
        return sum(len(block["sentences"]) for section in self.document["sections"] for block in section["blocks"])


def written(week: dt.date, as_of: dt.date | None, facts: dict[str, Any]) -> Article:
    """Return the article of a week, rendered by the template from facts.

    Args:
        week: Monday that begins the week.
        as_of: day of the last reading; None if nothing was read.
        facts: variables of the template, as returned by `findings.findings`.

    Raises:
        ProseError: the text contains a digit that is not a `Number`, or a headline with a number.
    """
    markers = _Markers()
    text = markers.environment().get_template("article.j2").render(facts)
    headline, parsed = _parsed(text, markers.parts)
    if any(isinstance(part, Number) for part in headline):
        raise ProseError("a headline must not contain a number, because it has no place for the query")
    claims: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    place = 0
    for key, heading, blocks in parsed:
        in_section = 0
        shown_blocks: list[dict[str, Any]] = []
        for kind, sentences in blocks:
            shown_sentences = []
            for parts in sentences:
                place, in_section = place + 1, in_section + 1
                shown, numbers = _shown(parts, f"{key}.{in_section}")
                shown_sentences.append({"id": place, "parts": shown})
                of_sentence = {"section": key, "sentence": place, "text": plain(shown), "as_of": as_of}
                claims += [
                    of_sentence
                    | {"claim": claim, "sql_text": number.sql_text, "value": number.value, "shown": number.shown}
                    for claim, number in numbers
                ]
            shown_blocks.append({"kind": kind, "sentences": shown_sentences})
        sections.append({"key": key, "title": heading, "blocks": shown_blocks})
    title = plain(_shown(headline, "title")[0])
    summary = " ".join(plain(sentence["parts"]) for block in sections[0]["blocks"] for sentence in block["sentences"])
    document: dict[str, Any] = {
        "week": str(week),
        "as_of_date": str(as_of) if as_of else None,
        "title": title,
        "summary": summary,
        "sections": sections,
    }
    return Article(title, summary, document, markdown(document, claims), claims)


def plain(parts: Iterable[dict[str, Any]]) -> str:
    """Return the parts of a sentence as plain text."""
    return "".join(_in_words(part) for part in parts)


def day_in_words(day: dt.date) -> str:
    """Return a day in words, such as 2 January 2024."""
    return f"{day.day} {day:%B %Y}"


def safe(text: str) -> str:
    """Return text by strangers on one line, without control characters and overrides, clipped to `LONGEST_NAME`."""
    clean = " ".join(without_controls(text).split())
    return clean if len(clean) <= LONGEST_NAME else clean[: LONGEST_NAME - 1] + "…"


def quoted(text: str) -> str:
    """Return a description in quotation marks, clipped after a whole word, without the full stop at its end."""
    clean = " ".join(without_controls(text).split()).rstrip(". ")
    if len(clean) > LONGEST_QUOTE:
        clean = textwrap.shorten(clean, LONGEST_QUOTE, placeholder="…")
        if clean == "…":  # one word longer than the limit
            clean = " ".join(text.split())[: LONGEST_QUOTE - 1] + "…"
    return f"\N{LEFT DOUBLE QUOTATION MARK}{clean}\N{RIGHT DOUBLE QUOTATION MARK}"


def markdown(document: dict[str, Any], claims: list[dict[str, Any]]) -> str:
    """Return a document as Markdown, followed by the queries of its claims."""
    environment = _environment(lambda value: value)
    environment.filters |= {
        "escaped": _escaped,
        "escaped_strictly": _escaped_strictly,
        "sentence": _sentence,
        "fenced": _fenced,
    }
    queries: dict[int, list[dict[str, Any]]] = {}
    for claim in claims:
        queries.setdefault(claim["sentence"], []).append(claim)
    return environment.get_template("article.md.j2").render(article=document, queries=queries).strip() + "\n"


def without_queries(text: str) -> str:
    """Return the sections of an article's Markdown without the queries that follow them."""
    return text.partition(QUERIES)[0].rstrip() + "\n"


def as_json(document: dict[str, Any]) -> str:
    """Return a document as compact JSON text, as stored in its table."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


class _Markers:
    """The objects of a rendering, in order of appearance."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def environment(self) -> jinja2.Environment:
        environment = _environment(self.marked)
        environment.filters |= {"plural": _plural, "listed": self.listed, "opening": _opening}
        return environment

    def marked(self, value: object) -> Marked:
        """Return the marker of a value in the rendered text."""
        if isinstance(value, Marked):
            return value
        if isinstance(value, Number | Repo | Cluster | Language | Term | Quote | dt.date):
            self.parts.append(value)
            return Marked(chr(FIRST_MARKER + len(self.parts) - 1))
        if isinstance(value, str) and _CONSTANT.fullmatch(value):  # a word of the template
            return Marked(value)
        raise ProseError(f"neither a word of the template nor an object with a query: {value!r}")

    def listed(self, values: Iterable[object], conjunction: str = "and") -> Marked:
        """Return values as "a, b and c"."""
        *firsts, last = [self.marked(value) for value in values]
        return Marked(f"{', '.join(firsts)} {conjunction} {last}" if firsts else last)


class _Compiled(jinja2.BytecodeCache):
    """In-memory cache of compiled templates, shared by the environments of all articles of a process."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


def _environment(finalize: Callable[[object], object]) -> jinja2.Environment:
    # no autoescaping: text by strangers never enters the rendered text, and Markdown has its own escapes
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        bytecode_cache=_COMPILED,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _plural(number: Number, one: str, many: str) -> str:
    return one if number.value == 1 else many


def _opening(term: Term | Language) -> Term | Language:
    """Return a term capitalised for the beginning of a sentence."""
    return Term(term.text[:1].upper() + term.text[1:]) if isinstance(term, Term) else term


_Parsed = list[tuple[str, str, list[tuple[str, list[list[str | Part]]]]]]


def _parsed(text: str, objects: list[Part]) -> tuple[list[str | Part], _Parsed]:
    """Return (title, sections) of rendered text: `# title`, `## key | Title`, one sentence per line, `- ` for items."""
    title: list[str | Part] = []
    sections: _Parsed = []
    joins = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("# "):
            title = _parts(line[2:], objects)
        elif line.startswith("## "):
            key, _, heading = line[3:].partition(" | ")
            sections.append((key, heading, []))
        elif line:
            kind, sentence = ("list", line[2:]) if line.startswith("- ") else ("paragraph", line)
            blocks = sections[-1][2]
            if not (joins and blocks and blocks[-1][0] == kind):
                blocks.append((kind, []))
            if sentence[-1] not in ".:?!":
                raise ProseError(f"a sentence without an end: {sentence!r}")
            blocks[-1][1].append(_parts(sentence, objects))
        joins = bool(line) and not line.startswith("#")
    return title, [(key, heading, [block for block in blocks if block[1]]) for key, heading, blocks in sections]


def _parts(line: str, objects: list[Part]) -> list[str | Part]:
    parts: list[str | Part] = []
    for piece in re.split(f"([{chr(FIRST_MARKER)}-\U000ffffd])", line):
        if piece and ord(piece[0]) >= FIRST_MARKER:
            parts.append(objects[ord(piece) - FIRST_MARKER])
        elif piece:
            text = " ".join(piece.split())
            if any(unicodedata.category(character)[0] == "N" for character in text):
                raise ProseError(f"a number without a query: {text!r}")
            # a space next to an object is part of the text
            parts.append(" " * piece[0].isspace() + text + " " * (piece[-1].isspace() and bool(text)))
    return parts


def _shown(parts: list[str | Part], prefix: str) -> tuple[list[dict[str, Any]], list[tuple[str, Number]]]:
    """Return (parts in the form of a document, (claim, number) for each number)."""
    shown: list[dict[str, Any]] = []
    numbers: dict[str, Number] = {}
    for part in parts:
        match part:
            case Number():
                claim, again = f"{prefix}.{part.name}", 1
                while claim in numbers:
                    again += 1
                    claim = f"{prefix}.{part.name}_{again}"
                numbers[claim] = part
                shown.append({"number": claim, "shown": part.shown})
            case Repo():
                shown.append({"repo": part.repo_key, "name": safe(part.full_name)})
            case Cluster():
                shown.append({"cluster": part.cluster, "label": safe(part.label)})
            case Language():
                shown.append({"language": safe(part.language)})
            case Term():
                shown.append({"text": safe(part.text)})
            case Quote():
                shown.append({"quote": quoted(part.text)})
            case dt.date():
                shown.append({"day": str(part)})
            case str():
                shown.append({"text": part})
    return shown, list(numbers.items())


def _in_words(part: dict[str, Any]) -> str:
    if "day" in part:
        return day_in_words(dt.date.fromisoformat(part["day"]))
    text: str = part[next(key for key in ("text", "shown", "name", "label", "language", "quote") if key in part)]
    return text


def _sentence(parts: list[dict[str, Any]]) -> str:
    """Return a sentence as Markdown, escaped so that it does not begin a list or a heading."""
    line = "".join(
        (_escaped if part.keys() & {"text", "shown", "day"} else _escaped_strictly)(_in_words(part)) for part in parts
    )
    start = _LINE_START.match(line)
    return f"{start[1]}\\{start[2]}{line[start.end() :]}" if start else line


def _escaped(text: str) -> str:
    """Return trusted text with all Markdown characters escaped."""
    return _MARKDOWN.sub(r"\\\1", text)


def _escaped_strictly(text: str) -> str:
    return _MARKDOWN_AND_MORE.sub(r"\\\1", text)


def _fenced(sql: str) -> str:
    longest = max(map(len, _BACKTICKS.findall(sql)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sql\n{sql}\n{fence}"


# --- how numbers are written

MINUS = "\N{MINUS SIGN}"


def count(value: float) -> str:
    """Return a whole number: 1,234."""
    return f"{value:,.0f}".replace("-", MINUS)


def count_or_none(value: float) -> str:
    """Return a whole number, or "none"."""
    return count(value) if value else "none"


def decimal(value: float) -> str:
    """Return a number with significant decimals only: 28.4, 0.83, 2,045."""
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 2
    return f"{value:,.{places}f}".replace("-", MINUS)


def percent(value: float) -> str:
    """Return a share as percent: 40 %, 4.2 %, 0.77 %."""
    hundred = value * 100
    places = 0 if abs(hundred) >= 9.95 or hundred == round(hundred) else 1 if abs(hundred) >= 0.95 else 2
    return f"{hundred:,.{places}f} %".replace("-", MINUS)


def bare_percent(value: float) -> str:
    """Return a share as whole percent without the sign, for the lower end of an interval."""
    return f"{value * 100:.0f}"


def whole_percent(value: float) -> str:
    """Return a share as whole percent."""
    return f"{value * 100:.0f} %"


def score(value: float) -> str:
    """Return a score: 72.4."""
    return f"{value:.1f}"
