"""Generates hourly files like GH Archive's: `python -m benchmarks.gh_archive_hours DIR --hours 24 [--events N]`.

Event types, payload sizes, key order, repetition of repositories and actors, and gzip level follow recorded hours;
names, texts and numbers are invented. The same arguments give the same bytes. Both layouts, before and since 2015, are
supported. Tests generate damaged files, and `gh_archive` measures the loads.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import functools
import gzip
import json
import os
import random
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

EVENTS = 200_000
EVENT_BYTES = 2_725
"""mean JSON bytes of an event: 545 MB per hour"""
STAR_SHARE = 0.09
OLD_EVENTS = 12_000
"""events per hour before 2015"""
GZIP_LEVEL = 9
"""level in the headers of recorded hours, which their sizes confirm"""

_REPOSITORIES, _ACTORS = 3_000_000, 1_500_000
_IDS_AN_HOUR = 600_000
_EPOCH = dt.datetime(2011, 2, 12)
_MASK = (1 << 64) - 1

_THIN = {
    "PushEvent": 62.0,
    "CreateEvent": 13.5,
    "IssueCommentEvent": 6.5,
    "DeleteEvent": 4.0,
    "IssuesEvent": 3.2,
    "ForkEvent": 2.6,
    "ReleaseEvent": 0.8,
    "MemberEvent": 0.5,
    "GollumEvent": 0.4,
    "CommitCommentEvent": 0.4,
    "PublicEvent": 0.25,
}
"""weights of events without a pull request, other than stars"""
_FAT = {"PullRequestEvent": 60.0, "PullRequestReviewEvent": 25.0, "PullRequestReviewCommentEvent": 15.0}
"""weights of events of about 20 kB; their number determines the size of an hour"""
_OLD = {
    "PushEvent": 550.0,
    "CreateEvent": 125.0,
    "IssueCommentEvent": 105.0,
    "ForkEvent": 54.0,
    "IssuesEvent": 48.0,
    "PullRequestEvent": 45.0,
    "FollowEvent": 32.0,
    "GistEvent": 26.0,
    "GollumEvent": 20.0,
    "CommitCommentEvent": 10.0,
    "DeleteEvent": 8.0,
}


def _around(text: str) -> list[str]:
    """Return the parts of a text between the marks, to be joined with a name."""
    return text.split("\0")


# "\0" is replaced by the repository or the login, "\1" by a number
_USER = _around(
    '"gravatar_id":"","url":"https://api.github.com/users/\0","html_url":"https://github.com/\0",'
    + "".join(
        f'"{key}_url":"https://api.github.com/users/\0/{path}",'
        for key, path in (
            ("followers", "followers"),
            ("following", "following{/other_user}"),
            ("gists", "gists{/gist_id}"),
            ("starred", "starred{/owner}{/repo}"),
            ("subscriptions", "subscriptions"),
            ("organizations", "orgs"),
            ("repos", "repos"),
            ("events", "events{/privacy}"),
            ("received_events", "received_events"),
        )
    )
    + '"type":'
)
_REPOSITORY = _around(
    '"url":"https://api.github.com/repos/\0",'
    + "".join(
        f'"{key}_url":"https://api.github.com/repos/\0/{path}",'
        for key, path in (
            ("forks", "forks"),
            ("keys", "keys{/key_id}"),
            ("collaborators", "collaborators{/collaborator}"),
            ("teams", "teams"),
            ("hooks", "hooks"),
            ("issue_events", "issues/events{/number}"),
            ("events", "events"),
            ("assignees", "assignees{/user}"),
            ("branches", "branches{/branch}"),
            ("tags", "tags"),
            ("blobs", "git/blobs{/sha}"),
            ("git_tags", "git/tags{/sha}"),
            ("git_refs", "git/refs{/sha}"),
            ("trees", "git/trees{/sha}"),
            ("statuses", "statuses/{sha}"),
            ("languages", "languages"),
            ("stargazers", "stargazers"),
            ("contributors", "contributors"),
            ("subscribers", "subscribers"),
            ("subscription", "subscription"),
            ("commits", "commits{/sha}"),
            ("git_commits", "git/commits{/sha}"),
            ("comments", "comments{/number}"),
            ("issue_comment", "issues/comments{/number}"),
            ("contents", "contents/{+path}"),
            ("compare", "compare/{base}...{head}"),
            ("merges", "merges"),
            ("archive", "{archive_format}{/ref}"),
            ("downloads", "downloads"),
            ("issues", "issues{/number}"),
            ("pulls", "pulls{/number}"),
            ("milestones", "milestones{/number}"),
            ("notifications", "notifications{?since,all,participating}"),
            ("labels", "labels{/name}"),
            ("releases", "releases{/id}"),
            ("deployments", "deployments"),
        )
    )
)
_ADDRESSES = _around(
    '"git_url":"git://github.com/\0.git","ssh_url":"git@github.com:\0.git","clone_url":"https://github.com/\0.git",'
    '"svn_url":"https://github.com/\0",'
)
_PULL_LINKS = _around(
    '"commits_url":"https://api.github.com/repos/\0/pulls/\1/commits",'
    '"review_comments_url":"https://api.github.com/repos/\0/pulls/\1/comments",'
    '"review_comment_url":"https://api.github.com/repos/\0/pulls/comments{/number}",'
    '"comments_url":"https://api.github.com/repos/\0/issues/\1/comments",'
    '"statuses_url":"https://api.github.com/repos/\0/statuses/'
)
_PULL_HYPERLINKS = _around(
    '"_links":{"self":{"href":"https://api.github.com/repos/\0/pulls/\1"},'
    '"html":{"href":"https://github.com/\0/pull/\1"},"issue":{"href":"https://api.github.com/repos/\0/issues/\1"},'
    '"comments":{"href":"https://api.github.com/repos/\0/issues/\1/comments"},'
    '"review_comments":{"href":"https://api.github.com/repos/\0/pulls/\1/comments"},'
    '"review_comment":{"href":"https://api.github.com/repos/\0/pulls/comments{/number}"},'
    '"commits":{"href":"https://api.github.com/repos/\0/pulls/\1/commits"},'
    '"statuses":{"href":"https://api.github.com/repos/\0/statuses/'
)


def write_hour(
    folder: Path,
    hour: dt.datetime,
    events: int = EVENTS,
    *,
    json_bytes: int | None = None,
    stars: int | None = None,
    seed: int = 0,
    is_old: bool = False,
) -> Path:
    """Write the file of one hour under its public name, and return its path.

    Args:
        folder: folder of the file.
        hour: hour in its name.
        events: number of events.
        json_bytes: approximate bytes of JSON; None for the mean size of a modern event.
        stars: exact number of WatchEvents; None for the usual share.
        seed: seed of the random numbers.
        is_old: the layout of 2012-2014: no ids, `repository` objects, Pacific time.
    """
    path = folder / f"{hour:%Y-%m-%d}-{hour.hour}.json.gz"
    count = round(events * STAR_SHARE) if stars is None else stars
    size = events * EVENT_BYTES if json_bytes is None else json_bytes
    lines = _old_lines(hour, events, count, seed) if is_old else _lines(hour, events, count, size, seed)
    unfinished = path.with_suffix(".part")
    with (
        unfinished.open("wb") as file,
        gzip.GzipFile(path.name.removesuffix(".gz"), "wb", GZIP_LEVEL, file, int(hour.timestamp())) as packed,
    ):
        batch: list[str] = []
        for line in lines:
            batch.append(line)
            if len(batch) == 500:
                packed.write("".join(batch).encode())
                batch.clear()
        packed.write("".join(batch).encode())
    unfinished.replace(path)
    return path


def write_hours(
    folder: Path, day: dt.date, hours: int, events: int = EVENTS, *, seed: int = 0, is_old: bool = False
) -> list[Path]:
    """Write the files of consecutive hours from midnight on with one process per core; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    midnight = dt.datetime.combine(day, dt.time())
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = [
            pool.submit(write_hour, folder, midnight + dt.timedelta(hours=number), events, seed=seed, is_old=is_old)
            for number in range(hours)
        ]
        return [future.result() for future in made]


class _World:
    """Repositories and accounts, the same for all hours of a seed, from which the events of one hour are drawn."""

    def __init__(self, hour: dt.datetime, seed: int) -> None:
        texts = random.Random(seed)
        self.seed, self.hour = seed, hour
        self.rng = random.Random(f"{seed} {hour:%Y-%m-%d-%H}")
        self.words = _words(texts)
        self.lines = _prose(texts, self.words)
        self.past = [
            f"{_EPOCH + dt.timedelta(seconds=texts.randrange(int((hour - _EPOCH).total_seconds()))):%Y-%m-%dT%H:%M:%SZ}"
            for _ in range(20_000)
        ]
        self.user = functools.lru_cache(20_000)(self._user)
        self.repository = functools.lru_cache(4_000)(self._repository)
        self.recent: deque[tuple[int, int]] = deque(maxlen=3_000)
        self.now = self.past[0]

    def number(self, *of: int) -> int:
        """Return 64 bits that depend only on the numbers and the seed."""
        value = self.seed + 1
        for part in of:
            value = (value ^ part) * 0x9E3779B97F4A7C15 & _MASK
            value ^= value >> 29
        return value

    def login(self, actor: int) -> str:
        bits = self.number(1, actor)
        first, second = self.words[bits % 4_000], self.words[(bits >> 16) % 3_000]
        return (first + second, f"{first}-{second}", f"{first}{bits % 9_999}", first + second + "dev")[bits >> 62]

    def actor_id(self, actor: int) -> int:
        return 1_000 + actor * 97 + self.number(2, actor) % 97

    def repo_id(self, repository: int) -> int:
        return 1_300_000 + repository * 283 + self.number(3, repository) % 283

    def owner(self, repository: int) -> int:
        return self.number(4, repository) % _ACTORS

    def is_organisation(self, actor: int) -> bool:
        return self.number(5, actor) % 10 < 3

    def short_name(self, repository: int) -> str:
        bits = self.number(6, repository)
        first, second, third = (self.words[(bits >> shift) % 5_000] for shift in (0, 16, 32))
        return (first, f"{first}-{second}", f"{first}_{second}", f"{first}-{second}-{third}")[bits >> 62]

    def name(self, repository: int) -> str:
        return f"{self.login(self.owner(repository))}/{self.short_name(repository)}"

    def popular(self, power: float = 4) -> int:
        """Return a repository by a power law with the exponent of recorded hours."""
        return int(_REPOSITORIES * self.rng.random() ** power)

    def anyone(self) -> int:
        return int(_ACTORS * self.rng.random() ** 4)

    def _at_work(self, repository: int, actor: int) -> tuple[int, int]:
        """Return the pair, or a recently active pair as often as in recorded hours."""
        if self.rng.random() < 0.42 and self.recent:
            back = int(len(self.recent) * self.rng.random() ** 2.5)
            return self.recent[-1 - back]
        self.recent.append((repository, actor))
        return repository, actor

    def sha(self) -> str:
        return f"{self.rng.getrandbits(160):040x}"

    def branch(self) -> str:
        return f"{self.rng.choice(_PREFIXES)}{self.rng.choice(self.words)}"

    def moment(self) -> str:
        return self.past[self.rng.getrandbits(14)]

    def text(self, most: int, apart: str = "\\r\\n") -> str:
        """Return up to `most` lines of text, usually few, escaped for JSON."""
        count = 1 + int(most * self.rng.random() ** 3)
        start = self.rng.randrange(len(self.lines) - count)
        return apart.join(self.lines[start : start + count])

    def _user(self, actor: int) -> str:
        login, key = self.login(actor), self.actor_id(actor)
        kind = '"Organization"' if self.is_organisation(actor) else '"User"'
        return (
            f'{{"login":"{login}","id":{key},"node_id":"{_node("04:User", key)}",'
            f'"avatar_url":"https://avatars.githubusercontent.com/u/{key}?v=4",'
            f'{login.join(_USER)}{kind},"site_admin":false}}'
        )

    def _repository(self, repository: int, owner: int) -> str:
        login, short, key = self.login(owner), self.short_name(repository), self.repo_id(repository)
        name, bits = f"{login}/{short}", self.number(7, repository, owner)
        stars, forks, issues = int(5_000 * (bits % 997 / 997) ** 8), bits % 89, bits % 31
        language = ("JavaScript", "Python", "Java", "TypeScript", "C++", "Go", "Rust", "HTML")[bits >> 61]
        description = self.lines[bits % len(self.lines)]
        times = ",".join(
            f'"{what}_at":"{self.past[(bits >> shift) % 20_000]}"'
            for what, shift in (("created", 3), ("updated", 17), ("pushed", 31))
        )
        return (
            f'{{"id":{key},"node_id":"{_node("010:Repository", key)}","name":"{short}","full_name":"{name}",'
            f'"private":false,"owner":{self.user(owner)},"html_url":"https://github.com/{name}",'
            f'"description":"{description}","fork":false,{name.join(_REPOSITORY)}{times},{name.join(_ADDRESSES)}'
            f'"homepage":null,"size":{bits % 99_991},"stargazers_count":{stars},"watchers_count":{stars},'
            f'"language":"{language}","has_issues":true,"has_projects":true,"has_downloads":true,"has_wiki":true,'
            f'"has_pages":false,"has_discussions":false,"forks_count":{forks},"mirror_url":null,"archived":false,'
            f'"disabled":false,"open_issues_count":{issues},"license":{{"key":"mit","name":"MIT License",'
            '"spdx_id":"MIT","url":"https://api.github.com/licenses/mit","node_id":"MDc6TGljZW5zZTEz"},'
            '"allow_forking":true,"is_template":false,"web_commit_signoff_required":false,"topics":[],'
            f'"visibility":"public","forks":{forks},"open_issues":{issues},"watchers":{stars},"default_branch":"main"}}'
        )

    def push(self, repository: int, actor: int) -> str:
        count = 1 if self.rng.random() < 0.92 else 2 + int(18 * self.rng.random() ** 4)
        name, login = self.name(repository), self.login(actor)
        shas = [self.sha() for _ in range(count)]
        email = f"{self.number(8, actor):016x}{self.number(9, actor):016x}{actor:08x}@users.noreply.github.com"
        commits = ",".join(
            f'{{"sha":"{sha}","author":{{"email":"{email}","name":"{login}"}},"message":"{self.text(2)}",'
            f'"distinct":true,"url":"https://api.github.com/repos/{name}/commits/{sha}"}}'
            for sha in shas
        )

        return (
            f'{{"push_id":{self.rng.getrandbits(34)},"size":{count},'
            f'"distinct_size":{count},"ref":"refs/heads/{self.rng.choice(_BRANCHES)}","head":"{shas[-1]}",'
            f'"before":"{self.sha()}","commits":[{commits}]}}'
        )

    def create(self, repository: int, actor: int) -> str:
        kind = self.rng.choice(("branch", "branch", "tag", "repository"))
        ref = "null" if kind == "repository" else f'"{self.branch()}"'
        bits = self.number(7, repository)
        description = f'"{self.lines[bits % len(self.lines)]}"' if bits >> 62 == 0 else "null"
        rest = f'"master_branch":"main","description":{description},"pusher_type":"user"'
        return f'{{"ref":{ref},"ref_type":"{kind}",{rest}}}'

    def delete(self, repository: int, actor: int) -> str:
        return f'{{"ref":"{self.branch()}","ref_type":"branch","pusher_type":"user"}}'

    def fork(self, repository: int, actor: int) -> str:
        return f'{{"forkee":{self._repository(repository, actor)[:-1]},"public":true}}}}'

    def member(self, repository: int, actor: int) -> str:
        return f'{{"member":{self.user(self.anyone())},"action":"added"}}'

    def public(self, repository: int, actor: int) -> str:
        return "{}"

    def gollum(self, repository: int, actor: int) -> str:
        page = self.rng.choice(self.words).title()
        return (
            f'{{"pages":[{{"page_name":"{page}","title":"{page}","summary":null,"action":"edited",'
            f'"sha":"{self.sha()}","html_url":"https://github.com/{self.name(repository)}/wiki/{page}"}}]}}'
        )

    def release(self, repository: int, actor: int) -> str:
        key, name, tag = (
            self.rng.getrandbits(27),
            self.name(repository),
            f"v{self.rng.getrandbits(3)}.{self.rng.getrandbits(5)}",
        )
        api = f"https://api.github.com/repos/{name}"
        return (
            f'{{"action":"published","release":{{"url":"{api}/releases/{key}","assets_url":"{api}/releases/{key}/assets",'
            f'"upload_url":"https://uploads.github.com/repos/{name}/releases/{key}/assets{{?name,label}}",'
            f'"html_url":"https://github.com/{name}/releases/tag/{tag}","id":{key},"author":{self.user(actor)},'
            f'"node_id":"{_node("07:Release", key)}","tag_name":"{tag}","target_commitish":"main","name":"{tag}",'
            f'"draft":false,"prerelease":false,"created_at":"{self.moment()}","published_at":"{self.now}","assets":[],'
            f'"tarball_url":"{api}/tarball/{tag}","zipball_url":"{api}/zipball/{tag}","body":"{self.text(30)}",'
            '"short_description_html":null,"is_short_description_html_truncated":false}}'
        )

    def issue(self, repository: int, author: int) -> str:
        name, number = self.name(repository), self._issue_number()
        api, key = f"https://api.github.com/repos/{name}", self.rng.getrandbits(31)
        return (
            f'{{"url":"{api}/issues/{number}","repository_url":"{api}",'
            f'"labels_url":"{api}/issues/{number}/labels{{/name}}","comments_url":"{api}/issues/{number}/comments",'
            f'"events_url":"{api}/issues/{number}/events","html_url":"https://github.com/{name}/issues/{number}",'
            f'"id":{key},"node_id":"{_node("05:Issue", key)}","number":{number},"title":"{self.text(1)}",'
            f'"user":{self.user(author)},"labels":[],"state":"open","locked":false,"assignee":null,"assignees":[],'
            f'"milestone":null,"comments":{self.rng.getrandbits(4)},"created_at":"{self.moment()}",'
            f'"updated_at":"{self.now}","closed_at":null,"author_association":"NONE","active_lock_reason":null,'
            f'"body":"{self.text(45)}","reactions":{{"url":"{api}/issues/{number}/reactions","total_count":0,"+1":0,'
            '"-1":0,"laugh":0,"hooray":0,"confused":0,"heart":0,"rocket":0,"eyes":0},'
            f'"timeline_url":"{api}/issues/{number}/timeline","performed_via_github_app":null,"state_reason":null}}'
        )

    def issues(self, repository: int, actor: int) -> str:
        return f'{{"action":"{self.rng.choice(("opened", "closed"))}","issue":{self.issue(repository, actor)}}}'

    def issue_comment(self, repository: int, actor: int) -> str:
        name, key = self.name(repository), self.rng.getrandbits(31)
        api = f"https://api.github.com/repos/{name}"
        return (
            f'{{"action":"created","issue":{self.issue(repository, self.anyone())},"comment":{{'
            f'"url":"{api}/issues/comments/{key}","html_url":"https://github.com/{name}/issues/1#issuecomment-{key}",'
            f'"issue_url":"{api}/issues/1","id":{key},"node_id":"{_node("012:IssueComment", key)}",'
            f'"user":{self.user(actor)},"created_at":"{self.now}","updated_at":"{self.now}",'
            f'"author_association":"NONE","body":"{self.text(14)}","reactions":{{"url":"{api}/issues/comments/{key}/reactions",'
            '"total_count":0,"+1":0,"-1":0,"laugh":0,"hooray":0,"confused":0,"heart":0,"rocket":0,"eyes":0},'
            '"performed_via_github_app":null}}'
        )

    def commit_comment(self, repository: int, actor: int) -> str:
        name, key, sha = self.name(repository), self.rng.getrandbits(27), self.sha()
        return (
            f'{{"comment":{{"url":"https://api.github.com/repos/{name}/comments/{key}",'
            f'"html_url":"https://github.com/{name}/commit/{sha}#commitcomment-{key}","id":{key},'
            f'"node_id":"{_node("013:CommitComment", key)}","user":{self.user(actor)},"position":null,"line":null,'
            f'"path":null,"commit_id":"{sha}","created_at":"{self.now}","updated_at":"{self.now}",'
            f'"author_association":"NONE","body":"{self.text(20)}"}}}}'
        )

    def pull_request(self, repository: int, author: int, more: str) -> str:
        name, key, number = self.name(repository), self.rng.getrandbits(31), str(self._issue_number())
        api, base = f"https://api.github.com/repos/{name}", self.owner(repository)
        head = base if self.rng.random() < 0.6 else author
        sha, branch = self.sha(), self.branch()
        login = self.login(base)
        return (
            f'{{"url":"{api}/pulls/{number}","id":{key},"node_id":"{_node("011:PullRequest", key)}",'
            f'"html_url":"https://github.com/{name}/pull/{number}",'
            f'"diff_url":"https://github.com/{name}/pull/{number}.diff",'
            f'"patch_url":"https://github.com/{name}/pull/{number}.patch","issue_url":"{api}/issues/{number}",'
            f'"number":{number},"state":"open","locked":false,"title":"{self.text(1)}","user":{self.user(author)},'
            f'"body":"{self.text(75)}","created_at":"{self.moment()}","updated_at":"{self.now}","closed_at":null,'
            f'"merged_at":null,"merge_commit_sha":"{self.sha()}","assignee":null,"assignees":[],'
            '"requested_reviewers":[],"requested_teams":[],"labels":[],"milestone":null,"draft":false,'
            f'{name.join(_PULL_LINKS).replace(chr(1), number)}{sha}",'
            f'"head":{{"label":"{self.login(head)}:{branch}","ref":"{branch}","sha":"{sha}","user":{self.user(head)},'
            f'"repo":{self.repository(repository, head)}}},"base":{{"label":"{login}:main","ref":"main",'
            f'"sha":"{self.sha()}","user":{self.user(base)},"repo":{self.repository(repository, base)}}},'
            f'{name.join(_PULL_HYPERLINKS).replace(chr(1), number)}{sha}"}}}},"author_association":"NONE",'
            f'"auto_merge":null,"active_lock_reason":null{more}}}'
        )

    def pull_requests(self, repository: int, actor: int) -> str:
        bits = self.rng.getrandbits(24)
        more = (
            f',"merged":false,"mergeable":null,"rebaseable":null,"mergeable_state":"unknown","merged_by":null,'
            f'"comments":{bits & 3},"review_comments":0,"maintainer_can_modify":false,"commits":{1 + (bits >> 2 & 3)},'
            f'"additions":{bits >> 14},"deletions":{bits >> 4 & 255},"changed_files":{1 + (bits >> 20)}'
        )
        return (
            f'{{"action":"{self.rng.choice(("opened", "closed"))}","number":{self._issue_number()},'
            f'"pull_request":{self.pull_request(repository, actor, more)}}}'
        )

    def review(self, repository: int, actor: int) -> str:
        name, key, number = self.name(repository), self.rng.getrandbits(31), self._issue_number()
        return (
            f'{{"action":"created","review":{{"id":{key},"node_id":"{_node("017:PullRequestReview", key)}",'
            f'"user":{self.user(actor)},"body":null,"commit_id":"{self.sha()}","submitted_at":"{self.now}",'
            f'"state":"commented","html_url":"https://github.com/{name}/pull/{number}#pullrequestreview-{key}",'
            f'"pull_request_url":"https://api.github.com/repos/{name}/pulls/{number}","author_association":"NONE",'
            f'"_links":{{"html":{{"href":"https://github.com/{name}/pull/{number}#pullrequestreview-{key}"}},'
            f'"pull_request":{{"href":"https://api.github.com/repos/{name}/pulls/{number}"}}}}}},'
            f'"pull_request":{self.pull_request(repository, self.anyone(), "")}}}'
        )

    def review_comment(self, repository: int, actor: int) -> str:
        name, key, number = self.name(repository), self.rng.getrandbits(31), self._issue_number()
        api, sha = f"https://api.github.com/repos/{name}", self.sha()
        return (
            f'{{"action":"created","comment":{{"url":"{api}/pulls/comments/{key}",'
            f'"pull_request_review_id":{self.rng.getrandbits(31)},"id":{key},'
            f'"node_id":"{_node("024:PullRequestReviewComment", key)}",'
            f'"diff_hunk":"@@ -8,6 +8,9 @@ {self.text(24, chr(92) + "n+")}",'
            f'"path":"src/{self.rng.choice(self.words)}.py","position":5,"original_position":5,"commit_id":"{sha}",'
            f'"original_commit_id":"{sha}","user":{self.user(actor)},"body":"{self.text(8)}",'
            f'"created_at":"{self.now}","updated_at":"{self.now}",'
            f'"html_url":"https://github.com/{name}/pull/{number}#discussion_r{key}",'
            f'"pull_request_url":"{api}/pulls/{number}","author_association":"NONE",'
            f'"_links":{{"self":{{"href":"{api}/pulls/comments/{key}"}},'
            f'"html":{{"href":"https://github.com/{name}/pull/{number}#discussion_r{key}"}},'
            f'"pull_request":{{"href":"{api}/pulls/{number}"}}}}}},'
            f'"pull_request":{self.pull_request(repository, self.anyone(), "")}}}'
        )

    def _issue_number(self) -> int:
        return 1 + int(9_000 * self.rng.random() ** 4)

    def watch(self, repository: int, actor: int) -> str:
        return '{"action":"started"}'

    def event(self, kind: str, key: int, created_at: str) -> str:
        """Return one event of a kind as a line."""
        self.now = created_at
        is_star = kind == "WatchEvent"
        repository = self.popular(2.5 if is_star else 4)
        owner = self.owner(repository)
        stranger = is_star or kind == "ForkEvent" or self.is_organisation(owner) or self.rng.random() < 0.3
        actor = self.anyone() if stranger else owner
        if not is_star:
            repository, actor = self._at_work(repository, actor)
            owner = self.owner(repository)
        login, name = self.login(actor), self.name(repository)
        number, payload = self.actor_id(actor), _PAYLOADS[kind](self, repository, actor)
        org = ""
        if self.is_organisation(owner):
            house, house_id = self.login(owner), self.actor_id(owner)
            org = (
                f',"org":{{"id":{house_id},"login":"{house}","gravatar_id":"",'
                f'"url":"https://api.github.com/orgs/{house}",'
                f'"avatar_url":"https://avatars.githubusercontent.com/u/{house_id}?"}}'
            )
        return (
            f'{{"id":"{key}","type":"{kind}","actor":{{"id":{number},"login":"{login}","display_login":"{login}",'
            f'"gravatar_id":"","url":"https://api.github.com/users/{login}",'
            f'"avatar_url":"https://avatars.githubusercontent.com/u/{number}?"}},'
            f'"repo":{{"id":{self.repo_id(repository)},"name":"{name}","url":"https://api.github.com/repos/{name}"}},'
            f'"payload":{payload},"public":true,"created_at":"{created_at}"{org}}}\n'
        )


_BRANCHES = ("main", "main", "main", "master", "master", "develop", "gh-pages", "dev")
_PREFIXES = ("", "", "feature/", "fix/", "dependabot/npm_and_yarn/", "renovate/")
_PAYLOADS: dict[str, Callable[[_World, int, int], str]] = {
    "PushEvent": _World.push,
    "CreateEvent": _World.create,
    "DeleteEvent": _World.delete,
    "ForkEvent": _World.fork,
    "IssueCommentEvent": _World.issue_comment,
    "IssuesEvent": _World.issues,
    "ReleaseEvent": _World.release,
    "MemberEvent": _World.member,
    "GollumEvent": _World.gollum,
    "CommitCommentEvent": _World.commit_comment,
    "PublicEvent": _World.public,
    "PullRequestEvent": _World.pull_requests,
    "PullRequestReviewEvent": _World.review,
    "PullRequestReviewCommentEvent": _World.review_comment,
    "WatchEvent": _World.watch,
}


def _lines(hour: dt.datetime, events: int, stars: int, json_bytes: int, seed: int) -> Iterator[str]:
    if events > _IDS_AN_HOUR:
        raise ValueError(f"an hour has ids for {_IDS_AN_HOUR} events, not for {events}")
    world = _World(hour, seed)
    kinds = _kinds(world, events, stars, json_bytes)
    step = max(1, _IDS_AN_HOUR // max(1, events))
    first = 1_000_000_000 + int((hour - _EPOCH).total_seconds()) // 3600 * _IDS_AN_HOUR
    times = [f"{hour + dt.timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}" for second in range(3600)]
    for place, kind in enumerate(kinds):
        yield world.event(kind, first + place * step + world.rng.randrange(step), times[place * 3600 // events])


def _kinds(world: _World, events: int, stars: int, json_bytes: int) -> list[str]:
    """Return the type of every event: `stars` stars, and as many large events as the size of the hour requires."""
    rng = world.rng

    def mean(kinds: dict[str, float]) -> float:
        sizes = {kind: sum(len(world.event(kind, 10**10, world.now)) for _ in range(500)) / 500 for kind in kinds}
        return sum(sizes[kind] * weight for kind, weight in kinds.items()) / sum(kinds.values())

    others = events - stars
    left = (json_bytes - stars * mean({"WatchEvent": 1.0})) / max(1, others)
    thin, fat = mean(_THIN), mean(_FAT)
    many = round(others * min(1.0, max(0.0, (left - thin) / (fat - thin))))
    kinds = ["WatchEvent"] * stars
    kinds += rng.choices(list(_FAT), list(_FAT.values()), k=many)
    kinds += rng.choices(list(_THIN), list(_THIN.values()), k=others - many)
    rng.shuffle(kinds)
    return kinds


def _old_lines(hour: dt.datetime, events: int, stars: int, seed: int) -> Iterator[str]:
    world = _World(hour, seed)
    rng = world.rng
    kinds = ["WatchEvent"] * stars + rng.choices(list(_OLD), list(_OLD.values()), k=events - stars)
    rng.shuffle(kinds)
    for place, kind in enumerate(kinds):
        world.now = f"{hour + dt.timedelta(seconds=place * 3600 // events):%Y-%m-%dT%H:%M:%S}-07:00"
        yield json.dumps(_shuffled(rng, _old_event(world, kind)), separators=(",", ":"), ensure_ascii=False) + "\n"


def _old_event(world: _World, kind: str) -> dict[str, Any]:
    rng, repository, actor = world.rng, world.popular(), world.anyone()
    login, owner, name = world.login(actor), world.login(world.owner(repository)), world.short_name(repository)
    bits, url = world.number(7, repository), f"https://github.com/{owner}/{name}"
    email = f"{world.number(8, actor):016x}{world.number(9, actor) >> 32:08x}@example.com"

    def text(most: int) -> str:
        decoded: str = json.loads(f'"{world.text(most)}"')
        return decoded

    event: dict[str, Any] = {
        "type": kind,
        "public": True,
        "created_at": world.now,
        "actor": login,
        "payload": {"action": "started"},
        "url": url,
        "actor_attributes": {
            "type": "User",
            "login": login,
            "name": login.title(),
            "gravatar_id": f"{world.number(10, actor):016x}{world.number(11, actor):016x}",
            "email": email,
            "location": world.words[bits % 4_000].title(),
        },
        "repository": {
            "id": world.repo_id(repository) // 50,
            "name": name,
            "owner": owner,
            "url": url,
            "description": json.loads(f'"{world.lines[bits % len(world.lines)]}"'),
            "homepage": "",
            "stargazers": bits % 997,
            "watchers": bits % 997,
            "forks": bits % 89,
            "open_issues": bits % 31,
            "size": bits % 9_973,
            "language": ("JavaScript", "Python", "Java", "Ruby", "C++", "PHP", "C", "Shell")[bits >> 61],
            "fork": False,
            "private": False,
            "has_issues": True,
            "has_wiki": True,
            "has_downloads": True,
            "pushed_at": world.now,
            "created_at": world.moment().replace("Z", "-07:00"),
        },
    }
    if kind == "PushEvent":
        shas = [[world.sha(), email, text(4), login.title(), True] for _ in range(1 + int(4 * rng.random() ** 3))]
        event["payload"] = {"shas": shas, "ref": "refs/heads/master", "head": shas[-1][0], "size": len(shas)}
    elif kind == "PullRequestEvent":
        detail = json.loads(world.pull_request(repository, actor, ""))
        event["payload"] = {"action": "opened", "number": detail["number"], "pull_request": detail}
    elif kind == "IssueCommentEvent":
        event["payload"] = {"comment_id": rng.getrandbits(23), "issue_id": rng.getrandbits(23)}
    elif kind == "IssuesEvent":
        event["payload"] = {"action": "opened", "number": rng.getrandbits(9), "issue": rng.getrandbits(23)}
    elif kind == "CreateEvent":
        event["payload"] = {"ref": rng.choice(world.words), "ref_type": "branch", "master_branch": "master"}
    elif kind in ("FollowEvent", "GistEvent"):
        # these events have no repository
        del event["repository"]
        event["payload"] = {"action": "create", "id": rng.getrandbits(22), "desc": text(1)}
    elif kind != "WatchEvent":
        event["payload"] = {"sha": world.sha(), "comment": text(6)}
    return event


def _shuffled(rng: random.Random, found: dict[str, Any]) -> dict[str, Any]:
    keys = list(found)
    rng.shuffle(keys)
    nested = ("repository", "actor_attributes")
    return {key: _shuffled(rng, found[key]) if key in nested else found[key] for key in keys}


def _words(rng: random.Random) -> list[str]:
    """Return distinct invented words, short ones first, because common words are short."""
    sounds = (
        "b br c ch d dr f g gr h j k l m n p pr qu r s st t tr v w z/a e i o u ai ea io ou/b ck d l m n nd r s st x"
    )
    starts, middles, ends = (part.split() for part in sounds.split("/"))
    found: dict[str, None] = {}
    while len(found) < 6_000:
        syllables = 1 + (len(found) > 150) + (rng.random() < len(found) / 6_000)
        found["".join(rng.choice(starts) + rng.choice(middles) + rng.choice(["", *ends]) for _ in range(syllables))] = (
            None
        )
    return list(found)


def _prose(rng: random.Random, words: list[str]) -> list[str]:
    """Return lines escaped for JSON: sentences, lists, code and URLs, about as compressible as human text."""
    weights = [(rank + 2) ** -1.15 for rank in range(len(words))]
    flow = iter(rng.choices(words, weights, k=500_000))
    lines = []
    for _ in range(20_000):
        form = rng.random()
        count = 1 + int(24 * rng.random() ** 1.5)
        line = " ".join(next(flow) for _ in range(count))
        if form < 0.08:
            line = f"https://{next(flow)}.example.com/{line.replace(' ', '/')}?{next(flow)}={rng.getrandbits(32):x}"
        elif form < 0.2:
            line = f"    {next(flow)}_{next(flow)}({line.replace(' ', ', ')[:60]}) == {rng.getrandbits(10)}"
        elif form < 0.3:
            line = f'- **{next(flow)}**: \\"{line}\\"'
        elif form < 0.35:
            line = f"{line} — {next(flow)}é…"
        elif form < 0.5:
            line = ""
        else:
            line = line.capitalize() + "."
        lines.append(line)
    return lines


def _node(kind: str, key: int) -> str:
    return base64.b64encode(f"{kind}{key}".encode()).decode()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gh_archive_hours", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument(
        "--events", type=int, help=f"events per hour (default: {EVENTS}, or {OLD_EVENTS} in the old layout)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--day", type=dt.date.fromisoformat, help="default: 2024-12-03, or 2012-10-15 in the old layout"
    )
    parser.add_argument("--old", action="store_true", help="the layout of 2012 to 2014")
    options = parser.parse_args()
    day = options.day or (dt.date(2012, 10, 15) if options.old else dt.date(2024, 12, 3))
    events = options.events or (OLD_EVENTS if options.old else EVENTS)
    for path in write_hours(options.folder, day, options.hours, events, seed=options.seed, is_old=options.old):
        print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    main()
