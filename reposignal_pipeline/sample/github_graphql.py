"""GraphQL of the embedded GitHub API: a subset of GitHub's schema, executed by graphql-core on a world.

This module holds the schema, the resolvers and GitHub's error format. Other modules implement HTTP, limits and faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from reposignal_pipeline.sample.github_world import PUBLIC, Repository, World

MAX_NODES = 100
SCHEMA = """
scalar DateTime
enum IssueState { OPEN CLOSED }
enum PullRequestState { OPEN CLOSED MERGED }
interface Node { id: ID! }
interface RepositoryOwner { login: String! }
type User implements RepositoryOwner { login: String! }
type Language { name: String! }
type License { spdxId: String }
type Topic { name: String! }
type RepositoryTopic { topic: Topic! }
type RepositoryTopicConnection { nodes: [RepositoryTopic] totalCount: Int! }
type IssueConnection { totalCount: Int! }
type PullRequestConnection { totalCount: Int! }
type StargazerConnection { totalCount: Int! }
type RateLimit { limit: Int! cost: Int! remaining: Int! used: Int! resetAt: DateTime! }
type Repository implements Node {
  id: ID!
  databaseId: Int
  name: String!
  nameWithOwner: String!
  owner: RepositoryOwner!
  stargazerCount: Int!
  forkCount: Int!
  primaryLanguage: Language
  repositoryTopics(first: Int, last: Int): RepositoryTopicConnection!
  description: String
  createdAt: DateTime!
  pushedAt: DateTime
  isArchived: Boolean!
  isFork: Boolean!
  isPrivate: Boolean!
  isDisabled: Boolean!
  licenseInfo: License
  issues(first: Int, last: Int, states: [IssueState!]): IssueConnection!
  pullRequests(first: Int, last: Int, states: [PullRequestState!]): PullRequestConnection!
  stargazers(first: Int, last: Int): StargazerConnection!
}
type Query {
  node(id: ID!): Node
  nodes(ids: [ID!]!): [Node]!
  repository(owner: String!, name: String!, followRenames: Boolean = true): Repository
  rateLimit(dryRun: Boolean = false): RateLimit
}
"""


class GitHubError(GraphQLError):
    """An error with GitHub's `type` as well as a message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message, extensions={"type": kind})


@dataclass(frozen=True)
class Limit:
    """The rate limit of the caller after this query."""

    limit: int
    remaining: int
    reset_at: datetime


@dataclass(frozen=True)
class Context:
    """The context that the resolvers of one query use."""

    world: World
    instant: datetime
    limit: Limit


def iso(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _topics(repository: Repository) -> Any:
    def resolve(_: GraphQLResolveInfo, first: int | None = None, last: int | None = None) -> dict[str, Any]:
        if first is None and last is None:
            raise GitHubError(
                "MISSING_PAGINATION_BOUNDARIES",
                "You must provide a `first` or `last` value to properly paginate the `repositoryTopics` connection.",
            )
        shown = repository.topics[:first] if first is not None else repository.topics[-(last or 0) :]
        return {
            "nodes": [{"topic": {"name": topic}} for topic in shown],
            "totalCount": len(repository.topics),
        }

    return resolve


def _counted(open_now: int) -> Any:
    """Return a resolver that counts issues or pull requests: four closed per open one, half of closed PRs merged."""

    def resolve(info: GraphQLResolveInfo, states: Sequence[str] | None = None, **_: Any) -> dict[str, int]:
        merged = 2 * open_now if info.field_name == "pullRequests" else 0
        counts = {"OPEN": open_now, "CLOSED": 4 * open_now - merged, "MERGED": merged}
        return {"totalCount": sum(counts[state] for state in states or counts)}

    return resolve


def _stargazers(_: GraphQLResolveInfo, **__: Any) -> None:
    raise GitHubError(
        "FORBIDDEN", "The stargazers of this repository are only visible to its administrators and collaborators."
    )


def _repository(context: Context, repository: Repository) -> dict[str, Any]:
    at = context.instant
    full_name = repository.name(at)
    owner, _, name = full_name.partition("/")
    return {
        "__typename": "Repository",
        "id": repository.node_id,
        "databaseId": repository.repo_id,
        "name": name,
        "nameWithOwner": full_name,
        "owner": {"__typename": "User", "login": owner},
        "stargazerCount": context.world.total(repository, at),
        "forkCount": repository.forked(at),
        "primaryLanguage": {"name": repository.language} if repository.language else None,
        "repositoryTopics": _topics(repository),
        "description": repository.description(at),
        "createdAt": iso(repository.created_at),
        "pushedAt": iso(repository.pushed(at)),
        "isArchived": repository.is_archived,
        "isFork": repository.is_fork,
        "isPrivate": False,
        "isDisabled": False,
        "licenseInfo": {"spdxId": repository.license} if repository.license else None,
        "issues": _counted(repository.issues),
        "pullRequests": _counted(repository.pull_requests),
        "stargazers": _stargazers,
    }


def _by_node_id(context: Context, node_id: str) -> dict[str, Any] | GitHubError:
    repository = context.world.by_node_id.get(node_id)
    if repository is None or repository.state(context.instant) != PUBLIC:
        return GitHubError("NOT_FOUND", f"Could not resolve to a node with the global id of '{node_id}'")
    return _repository(context, repository)


def _resolve_node(_: Any, info: GraphQLResolveInfo, id: str) -> Any:
    return _by_node_id(info.context, id)


def _resolve_nodes(_: Any, info: GraphQLResolveInfo, ids: list[str]) -> list[Any]:
    if len(ids) > MAX_NODES:
        raise GitHubError(
            "ARGUMENT_LIMIT", f"You may not provide more than {MAX_NODES} node ids; you provided {len(ids)}."
        )
    return [_by_node_id(info.context, node_id) for node_id in ids]


def _resolve_repository(_: Any, info: GraphQLResolveInfo, owner: str, name: str, **options: bool) -> dict[str, Any]:
    context: Context = info.context
    holder = context.world.holder(f"{owner}/{name}", context.instant)
    if (
        holder is None
        or holder.repository.state(context.instant) != PUBLIC
        or not (holder.is_current or options["followRenames"])
    ):
        raise GitHubError("NOT_FOUND", f"Could not resolve to a Repository with the name '{owner}/{name}'.")
    return _repository(context, holder.repository)


def _resolve_rate_limit(_: Any, info: GraphQLResolveInfo, **__: bool) -> dict[str, Any]:
    limit: Limit = info.context.limit
    return {
        "limit": limit.limit,
        "cost": 1,
        "remaining": limit.remaining,
        "used": limit.limit - limit.remaining,
        "resetAt": iso(limit.reset_at),
    }


@cache
def _schema() -> GraphQLSchema:
    schema = build_schema(SCHEMA)
    query = schema.query_type
    assert query
    query.fields["node"].resolve = _resolve_node
    query.fields["nodes"].resolve = _resolve_nodes
    query.fields["repository"].resolve = _resolve_repository
    query.fields["rateLimit"].resolve = _resolve_rate_limit
    return schema


@lru_cache(maxsize=64)
def _document(query: str) -> DocumentNode | tuple[GraphQLError, ...]:
    """Return the parsed query, or its errors."""
    try:
        document = parse(query)
    except GraphQLError as error:
        return (error,)
    return tuple(validate(_schema(), document)) or document


def _shown(error: GraphQLError) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if error.extensions and "type" in error.extensions:
        shown["type"] = error.extensions["type"]
    if error.path:
        shown["path"] = error.path
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return {**shown, "message": error.message}


def answer(query: str, variables: Mapping[str, Any] | None, operation: str | None, context: Context) -> dict[str, Any]:
    """Return GitHub's response to a query: `data`, and `errors` if there are any."""
    document = _document(query)
    if isinstance(document, tuple):
        return {"errors": [_shown(error) for error in document]}
    result = execute_sync(
        _schema(), document, context_value=context, variable_values=dict(variables or {}), operation_name=operation
    )
    answered: dict[str, Any] = {"data": result.data}
    if result.errors:
        answered["errors"] = [_shown(error) for error in result.errors]
    return answered
