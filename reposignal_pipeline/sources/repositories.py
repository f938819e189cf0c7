"""Daily totals and attributes of the tracked repositories, from GitHub's GraphQL API.

This module requests repositories in batches and handles responses that are partly wrong. Rate limits and tokens are
handled in `github`, the set of tracked repositories in `universe`, and the meaning of the numbers in dbt.

A repository without a total gets a state with a reason, never a count of 0. A repository that GraphQL leaves out is
looked up over REST, which distinguishes deleted from blocked.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reposignal_pipeline.sources.github import REFUSED_STATES, ResourceLimitError
from reposignal_pipeline.sources.schemas import REPOSITORIES, admitted, utc_now
from reposignal_pipeline.sources.transport import UpstreamError, sort_out

if TYPE_CHECKING:
    from reposignal_pipeline.sources.github import GitHub

BATCH = 100
"""maximum number of ids in one GraphQL `nodes(ids:)`"""
BATCHES_AT_ONCE = 10
"""requested concurrently and loaded together: the most that a killed run loses"""
FEW_LOST = 5
"""fewer repositories than this may really be deleted, or lose their stars, on one day"""
REST_LOOKUPS = 200
"""per run: more repositories than this do not vanish in a day, so the rest waits for the next run"""

FINAL_ERRORS = ("NOT_FOUND", "FORBIDDEN")
"""types of GraphQL errors that a retry does not change"""

NEEDED = ("repo_id", "node_id", "full_name", "stars_total")
"""columns that an observation requires; any other invalid value becomes unknown, and the row is kept"""

_FIELDS = """
    id databaseId nameWithOwner stargazerCount forkCount description createdAt pushedAt isArchived isFork
    primaryLanguage { name }
    repositoryTopics(first: 20) { nodes { topic { name } } }
    licenseInfo { spdxId }
    issues(states: OPEN) { totalCount }
    pullRequests(states: OPEN) { totalCount }
"""
_COST = "rateLimit { cost }"
"""requested so that the reserve is respected even if a query costs more than expected"""
_BY_ID = f"query($ids: [ID!]!) {{ {_COST} nodes(ids: $ids) {{ ... on Repository {{ {_FIELDS} }} }} }}"

Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One repository to request: by node id, or by name if the node id is not known yet."""

    full_name: str
    repo_id: int | None = None
    node_id: str | None = None
    stars_total: int | None = None
    """total of the last observation, if the repository was public then; a new total is checked against it"""


@dataclass
class Lookups:
    """The number of REST look-ups that a run may still make."""

    left: int = REST_LOOKUPS


@dataclass(frozen=True)
class _Node:
    node: Any
    error: str | None
    at: dt.datetime

    @property
    def is_lost(self) -> bool:
        """Return whether GraphQL gave neither a node nor a final error for it."""
        return self.node is None and not (self.error or "").startswith(FINAL_ERRORS)


async def observe(github: GitHub, asked: Sequence[Asked], lookups: Lookups) -> AsyncIterator[list[Row]]:
    """Yield rows of the `repositories` table, some batches at a time, without day, run and load columns.

    Raises:
        UpstreamError: the upstream does not respond, its quota is spent or no token is left. All rows read so far have
            been yielded by then. Also raised if most repositories lose their stars, or are refused, at the same time.
    """
    # GraphQL requires a token; without one, each repository takes one of the few REST requests
    ask, size = (_observed, BATCH) if github.has_tokens else (_observed_by_rest, 1)
    batches = [asked[start : start + size] for start in range(0, len(asked), size)]
    tally: Counter[str] = Counter()

    async def answered(batch: Sequence[Asked]) -> list[tuple[Asked, Row]]:
        return list(zip(batch, await ask(github, batch, lookups), strict=True))

    for start in range(0, len(batches), BATCHES_AT_ONCE):
        some = batches[start : start + BATCHES_AT_ONCE]
        answers, failure = sort_out(await asyncio.gather(*(answered(batch) for batch in some), return_exceptions=True))
        pairs = [pair for batch in answers for pair in batch]
        verdict = _lost_stars(pairs) or _refused_by_the_api(pairs, tally)
        yield [row for _, row in pairs]
        if verdict:
            raise UpstreamError(verdict)
        if failure:
            raise failure


def _lost_stars(pairs: list[tuple[Asked, Row]]) -> str | None:
    """Return a message if most repositories lost most of their stars, and mark those totals as unreadable.

    A source can return zeros for all repositories with status 200.
    """
    judged = [
        (one.stars_total, row["stars_total"])
        for one, row in pairs
        if one.stars_total is not None and one.stars_total >= FEW_LOST and row["state"] == "public"
    ]
    lost = sum(2 * now < before for before, now in judged)
    if lost < FEW_LOST or 2 * lost <= len(judged):
        return None
    verdict = f"totals fell to less than half for {lost:,} of {len(judged):,} repositories"
    _make_unreadable(pairs, {"public"}, f"{verdict}, so none is believed")
    return f"{verdict} since they were last read; these totals are discarded"


def _refused_by_the_api(pairs: list[tuple[Asked, Row]], tally: Counter[str]) -> str | None:
    """Return a message if the API refuses most repositories that were public, and mark them as unreadable."""
    tally.update(row["state"] for one, row in pairs if one.stars_total is not None)
    refused = sum(tally[state] for state in REFUSED_STATES)
    if refused < FEW_LOST or refused <= tally["public"]:
        return None
    _make_unreadable(pairs, REFUSED_STATES, "most repositories were refused")
    return (
        f"totals are refused for {refused:,} of {refused + tally['public']:,} repositories that were public when they"
        " were last read: the cause is the API, not the repositories"
    )


def _make_unreadable(pairs: list[tuple[Asked, Row]], states: Collection[str], cause: str) -> None:
    """Replace rows of these states by 'unreadable', so that the repositories are requested again today."""
    for place, (one, row) in enumerate(pairs):
        if row["state"] in states and one.stars_total is not None:
            said = f"{row['stars_total']:,} stars" if row["state"] == "public" else row["reason"]
            pairs[place] = (one, _absent(one, "unreadable", f"{said}: {cause}", row["observed_at"]))


async def _observed(github: GitHub, batch: Sequence[Asked], lookups: Lookups) -> list[Row]:
    """Return the rows of a batch; a batch that is too large for GitHub is split in half until it fits."""
    try:
        answers = await _query(github, batch)
        lost = [n for n, answer in enumerate(answers) if answer.is_lost]
        if len(lost) > len(batch) // 2:
            raise ResourceLimitError(f"GraphQL left out {len(lost)} of {len(batch)}: {answers[lost[0]].error}")
        if lost:
            for n, answer in zip(lost, await _query(github, [batch[n] for n in lost]), strict=True):
                answers[n] = answer
    except ResourceLimitError as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            halves = [await _observed(github, half, lookups) for half in (batch[:middle], batch[middle:])]
            return halves[0] + halves[1]
        answers = [_Node(None, str(error), utc_now())]
    rows = []
    for one, answer in zip(batch, answers, strict=True):
        row, cause = _row(one, answer.node, answer.at)
        try:
            rows.append(row or await _looked_up(github, one, answer.error or cause, lookups))
        except UpstreamError as error:  # the other rows of the batch are good
            rows.append(_absent(one, "unreadable", f"{answer.error or cause}; REST: {error}", answer.at))
    return rows


async def _observed_by_rest(github: GitHub, batch: Sequence[Asked], _: Lookups) -> list[Row]:
    return [await _by_rest(github, one, "requested over REST") for one in batch]


async def _query(github: GitHub, batch: Sequence[Asked]) -> list[_Node]:
    """Return GraphQL's node or error for each repository of a batch."""
    by_id = all(one.node_id for one in batch)
    if by_id:
        answer = await github.graphql(_BY_ID, {"ids": [one.node_id for one in batch]})
    else:
        variables = {}
        for n, one in enumerate(batch):
            variables[f"o{n}"], variables[f"n{n}"] = one.full_name.split("/", 1)
        declared = ", ".join(f"${name}: String!" for name in variables)
        aliases = "\n".join(f"r{n}: repository(owner: $o{n}, name: $n{n}) {{ ...facts }}" for n in range(len(batch)))
        query = f"query({declared}) {{ {_COST} {aliases} }}\nfragment facts on Repository {{ {_FIELDS} }}"
        answer = await github.graphql(query, variables)
    data, errors = _at(answer.content, "data"), _at(answer.content, "errors")
    causes: dict[int | str, str] = {}
    complaints = errors if isinstance(errors, list) else [errors] if errors else []
    for error in complaints:
        path = _at(error, "path")
        if isinstance(path, list) and len(path) > by_id and isinstance(path[by_id], int | str):
            causes[path[by_id]] = _error_text(error)
    if not isinstance(data, dict):
        cause = _error_text(complaints[0]) if complaints else "no error"
        raise ResourceLimitError(f"GraphQL answered without data: {cause}")
    nodes = data.get("nodes") if by_id else [data.get(f"r{n}") for n in range(len(batch))]
    if not isinstance(nodes, list) or len(nodes) != len(batch):
        raise ResourceLimitError("GraphQL answered with a different number of nodes than requested")
    return [_Node(node, causes.get(n if by_id else f"r{n}"), answer.answered_at) for n, node in enumerate(nodes)]


def _error_text(error: Any) -> str:
    kind, message = (error.get("type"), error.get("message")) if isinstance(error, dict) else (None, error)
    return " ".join(f"{kind or 'error'}: {message}".split())[:200]


async def _looked_up(github: GitHub, one: Asked, cause: str, lookups: Lookups) -> Row:
    """Return the row of a repository that GraphQL left out, from REST, which gives the reason."""
    if lookups.left <= 0:
        reason = f"{cause}; not looked up, because the run had more than {REST_LOOKUPS} such repositories"
        return _absent(one, "unreadable", reason, utc_now())
    lookups.left -= 1
    return await _by_rest(github, one, cause)


async def _by_rest(github: GitHub, one: Asked, cause: str) -> Row:
    path = f"/repositories/{one.repo_id}" if one.repo_id else f"/repos/{one.full_name}"
    answer = await github.get(path)
    if answer.refusal:
        return _absent(one, answer.refusal, f"{cause}; REST answered {answer.status}", answer.answered_at)
    if answer.status != 200 or not isinstance(answer.content, dict):
        return _absent(one, "unreadable", f"{cause}; REST answered {answer.status}", answer.answered_at)
    row, why = _row(one, _as_node(answer.content), answer.answered_at)
    return row or _absent(one, "unreadable", f"{cause}; REST: {why}", answer.answered_at)


def _as_node(rest: dict[str, Any]) -> dict[str, Any]:
    """Return a REST repository in the form of a GraphQL node, without issue and pull request counts.

    REST counts issues and pull requests in one number.
    """
    license_, language, topics = rest.get("license"), rest.get("language"), rest.get("topics")
    return {
        "id": rest.get("node_id"),
        "databaseId": rest.get("id"),
        "nameWithOwner": rest.get("full_name"),
        "stargazerCount": rest.get("stargazers_count"),
        "forkCount": rest.get("forks_count"),
        "description": rest.get("description"),
        "createdAt": rest.get("created_at"),
        "pushedAt": rest.get("pushed_at"),
        "isArchived": rest.get("archived"),
        "isFork": rest.get("fork"),
        "primaryLanguage": {"name": language} if language else None,
        "repositoryTopics": {
            "nodes": [{"topic": {"name": topic}} for topic in topics] if isinstance(topics, list) else topics
        },
        "licenseInfo": {"spdxId": license_.get("spdx_id")} if isinstance(license_, dict) else None,
    }


def _row(one: Asked, node: Any, observed_at: dt.datetime) -> tuple[Row | None, str]:
    """Return (row, '') for a valid node, else (None, what is wrong with it)."""
    if not isinstance(node, dict) or not node:
        return None, "GraphQL returned no node"
    topics = _at(node, "repositoryTopics", "nodes")
    names = [_at(entry, "topic", "name") for entry in topics] if isinstance(topics, list) else []
    row, refused = admitted(
        REPOSITORIES,
        {
            "repo_id": node.get("databaseId"),
            "node_id": node.get("id"),
            "asked_name": None if one.node_id else one.full_name,
            "full_name": node.get("nameWithOwner"),
            "state": "public",
            "stars_total": node.get("stargazerCount"),
            "forks_total": node.get("forkCount"),
            "issues_open": _at(node, "issues", "totalCount"),
            "pull_requests_open": _at(node, "pullRequests", "totalCount"),
            "language": _text(_at(node, "primaryLanguage", "name")),
            "topics": json.dumps([name for name in names if isinstance(name, str) and name]),
            "description": _text(node.get("description")),
            "license": _text(_at(node, "licenseInfo", "spdxId")),
            "created_at": _time(node.get("createdAt")),
            "pushed_at": _time(node.get("pushedAt")),
            "is_archived": node.get("isArchived"),
            "is_fork": node.get("isFork"),
            "observed_at": observed_at,
        },
    )
    if topics is not None and not isinstance(topics, list):
        refused["topics"] = f"topics are {ascii(topics)[:40]}, not a list"
    if lacking := [name for name in NEEDED if row[name] is None]:
        return None, "; ".join(refused.get(name, f"{name} is missing") for name in lacking)
    if one.repo_id is not None and row["repo_id"] != one.repo_id:
        return None, f"repo_id is {row['repo_id']}, which is another repository"
    if refused:
        row["reason"] = f"kept as unknown: {'; '.join(refused.values())}"[:500]
    return row, ""


def _absent(one: Asked, state: str, reason: str, observed_at: dt.datetime) -> Row:
    return {
        "repo_id": one.repo_id,
        "node_id": one.node_id,
        "asked_name": None if one.node_id else one.full_name,
        "full_name": one.full_name,
        "state": state,
        "reason": reason[:500],
        "observed_at": observed_at,
    }


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> Any:
    """Return a text without NUL characters, None if empty; other types pass unchanged and `admitted` rejects them."""
    return value.replace("\x00", "") or None if isinstance(value, str) else value


def _time(value: Any) -> Any:
    """Return a time in UTC; other values pass unchanged and `admitted` rejects them."""
    try:
        return dt.datetime.fromisoformat(value).astimezone(dt.UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError):
        return value
