"""The command line `reposignal`: commands that write start Dagster runs, commands that read open the published copy.

This module parses arguments, prints results and sets the exit status. Runs are defined in `defs`, queries in
`publishing`. Imports are local to the commands, so that a query does not wait for the import of Dagster.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from reposignal_pipeline.config import (
    SAMPLE_CYCLES,
    SAMPLE_FIRST_DAY,
    SAMPLE_LAST_DAY,
    SOURCES,
    ConfigError,
    Profile,
    Settings,
    load_settings,
    use_live_archive,
)
from reposignal_pipeline.sources.names import FULL_NAME, NAME, name_in
from reposignal_pipeline.trouble import STAYS, chain, described, one_line, recognised

if TYPE_CHECKING:
    from reposignal_pipeline.defs.runs import Done
    from reposignal_pipeline.lake.catalog import Lake


class CommandError(Exception):
    """An error shown to the user as one line, with exit status 1."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 success, 1 error, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    verb: Callable[[Settings, argparse.Namespace], int] = options.verb
    try:
        _output()
        _refuse_other_encodings(options)
        status = verb(load_settings(), options)
        _output().flush()
    except (CommandError, ConfigError) as error:
        status = _say(str(error), 1)
    except BrokenPipeError:
        _discard_output()  # the reader of the output has closed it
        status = 0
    except (Exception, KeyboardInterrupt) as error:
        status = _failed(error, options)
    return status


def _refuse_other_encodings(options: argparse.Namespace) -> None:
    for name, value in vars(options).items():
        if isinstance(value, str | Path) and not str(value).isascii():
            try:
                str(value).encode()
            except UnicodeEncodeError:
                raise CommandError(f"the argument {name} is not UTF-8: {str(value)!a}") from None


def _failed(error: BaseException, options: argparse.Namespace) -> int:
    """Print an error that the command did not handle, and return the exit status."""
    is_load = options.verb in (_demo, _run, _backfill)
    if any(isinstance(each, KeyboardInterrupt) for each in chain(error)):  # DuckDB wraps it
        status = _say(f"interrupted{'; ' + STAYS if is_load else ''}", 130)
        if not is_load:
            os._exit(status)  # the interpreter would close the connection of the query: see `answers.answer`
        return status
    if isinstance(error, OSError) and error.filename is None and not is_load:  # queries write only to standard output
        _discard_output()
        return _say(f"standard output: {error.strerror}", 1)
    return _say(_unforeseen(error), 1)


def _say(line: str, status: int) -> int:
    """Write a line to standard error, unless it is closed, and return the status."""
    if sys.stderr:
        with suppress(OSError):
            print(f"reposignal: {line}", file=sys.stderr, flush=True)
    return status


def _output() -> TextIO:
    """Return standard output.

    Raises:
        CommandError: the caller closed it, so the output would be lost silently.
    """
    if sys.stdout is None:
        raise CommandError("standard output is closed")
    return sys.stdout


def _discard_output() -> None:
    """Redirect the remaining output to /dev/null, so that the interpreter does not fail on it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unforeseen(error: BaseException) -> str:
    """Return an unhandled error as one line; the traceback of an unrecognised error goes to a log file."""
    settings, messages = load_settings(), described(error)
    if line := recognised(messages, settings.home):
        return line
    log = settings.command_log
    if not log.parent.is_dir():
        log = Path(tempfile.gettempdir()) / "reposignal.log"
    stack = "".join(traceback.format_exception(error))
    try:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} {stack}")
    except OSError:
        return one_line(messages[-1])
    return f"{one_line(messages[-1])} ({type(error).__name__}; details in {log})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reposignal", description="Star histories turned into signal.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def verb(name: str, run: Callable[[Settings, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(verb=run)
        return added

    demo = verb("demo", _demo, "run the whole pipeline on the embedded sample")
    demo.add_argument(
        "--lake", action="store_true", help="use the lake set by REPOSIGNAL_LAKE_CATALOG and REPOSIGNAL_LAKE_DATA"
    )
    run = verb("run", _run, "run the whole pipeline for one day")
    run.add_argument("--day", type=_day, help="YYYY-MM-DD (default: yesterday, UTC)")
    run.add_argument("--source", action="append", choices=SOURCES, help="repeatable (default: every configured source)")
    backfill = verb("backfill", _backfill, "load a range of past days, then rebuild the tables that depend on them")
    backfill.add_argument("source", choices=SOURCES)
    backfill.add_argument("--from", dest="first", type=_day, required=True, help="YYYY-MM-DD")
    backfill.add_argument("--to", dest="last", type=_day, required=True, help="YYYY-MM-DD, included")
    backfill.add_argument(
        "--reread", action="store_true", help="star_history only: read loaded days again to detect revised counts"
    )
    backfill.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="number of processes that load concurrently (lake only)",
    )
    lake = verb("lake", _lake_status, "the lake: init, status, import, export")
    lake_verbs = lake.add_subparsers(title="commands", metavar="COMMAND")
    for name, act, text in (
        ("init", _lake_init, "create the tables of a lake; an existing lake is not changed"),
        ("status", _lake_status, "show snapshots, files, the last release, and how to attach it"),
        ("import", _lake_import, "copy the warehouse files of a home into the lake"),
        ("export", _lake_export, "copy the lake into the warehouse files of a new home"),
    ):
        lake_verb = lake_verbs.add_parser(name, help=text, description=text)
        lake_verb.set_defaults(verb=act)
        if name in ("import", "export"):
            lake_verb.add_argument("home", metavar="HOME", type=Path)
    sql = verb("sql", _sql, "run a read-only query on the published warehouse")
    sql.add_argument("query", nargs="?", default="-", help="SQL; - or nothing reads standard input")
    sql.add_argument("--format", choices=("table", "csv", "json"), default="table")
    explain = verb("explain", _explain, "explain the signal score of a repository by its components")
    explain.add_argument(
        "full_name",
        type=_repository,
        metavar="REPOSITORY",
        help="owner/name, a GitHub URL, or a name that only one owner has",
    )
    explain.add_argument("--day", type=_day, help="YYYY-MM-DD (default: its last reading)")
    site = verb("site", _site, "build the site from the current marts, and optionally serve it on 127.0.0.1")
    site.add_argument("--serve", type=_port, metavar="PORT", help="serve the site on this port until Ctrl-C")
    verb(
        "doctor",
        _doctor,
        "check configuration, reachability, freshness and coverage of each source; exit 1 if a check fails",
    )
    return parser


class _Version(argparse.Action):
    """Reads the package metadata only if the version is requested, so that other commands start faster."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"reposignal {version('reposignal')}")
        parser.exit()


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day, YYYY-MM-DD") from None


def _repository(text: str) -> str:
    name = name_in(text) or text
    if not FULL_NAME.fullmatch(name) and not re.fullmatch(NAME, name):
        raise argparse.ArgumentTypeError(f"{text!r} is neither owner/name, a name nor a GitHub URL")
    return name


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _demo(settings: Settings, options: argparse.Namespace) -> int:
    if settings.lake and not options.lake:
        raise CommandError(
            f"REPOSIGNAL_PROFILE={settings.profile.value} is for a lake: add --lake, or unset it for a demo with files"
        )
    os.environ["REPOSIGNAL_PROFILE"] = Profile.LAKE_DEMO if options.lake else Profile.DEMO
    for name in ("RANKINGS_URL", "GH_ARCHIVE_URL", "GITHUB_API_URL", "WATCHLIST", "UNIVERSE_SIZE"):
        os.environ.pop(f"REPOSIGNAL_{name}", None)
    settings = load_settings()
    # looked up before the run puts this environment's programs on the path
    command = "reposignal" if shutil.which("reposignal") else os.path.relpath(sys.argv[0])
    whole = SAMPLE_FIRST_DAY, SAMPLE_LAST_DAY
    cycles = SAMPLE_LAST_DAY - dt.timedelta(days=SAMPLE_CYCLES - 1), SAMPLE_LAST_DAY
    done = _load({"rankings": whole, "repositories": cycles, "star_history": whole}, only_missing=True)
    from reposignal_pipeline.publishing.answers import week_in_words

    print(week_in_words(settings, SAMPLE_LAST_DAY, command))
    return 1 if done.incomplete else 0


def _run(settings: Settings, options: argparse.Namespace) -> int:
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    day = options.day or yesterday
    sources = list(options.source or settings.sources)
    _refuse_unconfigured(settings, sources)
    if "repositories" in sources and day != yesterday and settings.github_api_base is not None:
        if options.source:
            raise CommandError(f"repositories of {day}: totals cannot be read after the fact, only yesterday's can")
        sources.remove("repositories")
    _refuse_days_beyond_the_sample(settings, day, day)
    return _loaded(settings, _load(dict.fromkeys(sources, (day, day)), only_missing=False))


def _refuse_days_beyond_the_sample(settings: Settings, first: dt.date, last: dt.date) -> None:
    if settings.profile.is_sample and not SAMPLE_FIRST_DAY <= first <= last <= SAMPLE_LAST_DAY:
        raise CommandError(
            f"{settings.home} holds the demo, whose days are {SAMPLE_FIRST_DAY} to {SAMPLE_LAST_DAY};"
            " live days need a separate home: export REPOSIGNAL_HOME=$HOME/reposignal"
        )


def _loaded(settings: Settings, done: Done) -> int:
    """Print what was loaded and rebuilt, and the paths of the results; return the exit status."""
    lines = list(done.loaded.items())
    if done.is_published:
        lines += [
            ("rebuilt", done.rebuilt),
            ("published", f"{settings.published_db}   (reposignal sql, or read-only with any DuckDB client)"),
            ("site", f"{settings.published_dir / 'site' / 'index.html'}   (open it in a browser)"),
        ]
    else:
        lines.append(("published", "nothing: no day was observed yet"))
    for subject, text in lines:
        print(f"{subject:<12}  {text}")
    return 1 if done.incomplete else 0


def _refuse_unconfigured(settings: Settings, sources: Sequence[str]) -> None:
    for source in sources:
        if source in ("repositories", "star_history") and source not in settings.sources:
            raise CommandError(f"{source} is not configured: set GITHUB_TOKEN, or without a token REPOSIGNAL_WATCHLIST")
    if "gh_archive" in sources and "gh_archive" not in settings.sources:
        if settings.profile.is_sample:
            raise CommandError(
                "gh_archive is not configured: the sample has no archive files; live days need a separate home"
            )
        use_live_archive()


def _backfill(settings: Settings, options: argparse.Namespace) -> int:
    if options.first > options.last:
        raise CommandError(f"--from {options.first} is after --to {options.last}")
    _refuse_unconfigured(settings, [options.source])
    if options.source == "repositories":
        raise CommandError("repositories: totals cannot be read after the fact; `reposignal run` observes yesterday's")
    if options.reread and options.source != "star_history":
        raise CommandError("--reread is for star_history only: other sources do not revise past days")
    if options.workers > 1 and not settings.lake:
        raise CommandError("--workers: warehouse files have one writer; several workers need profile 'lake'")
    if options.workers > 1 and options.source not in ("rankings", "gh_archive"):
        raise CommandError(f"--workers: {options.source} has a single request budget, so one worker reads it")
    _refuse_days_beyond_the_sample(settings, options.first, options.last)
    done = _load(
        {options.source: (options.first, options.last)},
        only_missing=True,
        reread=options.reread,
        workers=options.workers,
    )
    return _loaded(settings, done)


def _load(
    loads: dict[str, tuple[dt.date, dt.date]], *, only_missing: bool, reread: bool = False, workers: int = 1
) -> Done:
    """Load days, print to standard error why data is still missing, and return what was done."""
    from reposignal_pipeline.home import ready_home

    ready_home(load_settings())  # before an orchestrator is imported
    with _progress():
        from reposignal_pipeline.defs.runs import LaunchError, load_days

        try:
            done = load_days(loads, only_missing=only_missing, reread=reread, workers=workers)
        except LaunchError as error:
            raise CommandError(str(error)) from None
    for reason in done.incomplete:
        print(f"reposignal: {reason}", file=sys.stderr)
    return done


@contextmanager
def _progress() -> Iterator[None]:
    """Show the progress of the runs of this block in a terminal, from the import of Dagster on."""
    from reposignal_pipeline.defs import progress

    with progress.in_terminal():
        progress.begin("start", stays=False)
        yield


def _sql(settings: Settings, options: argparse.Namespace) -> int:
    from reposignal_pipeline.publishing.answers import AnswerError, answer

    query = _standard_input() if options.query == "-" else options.query
    try:
        answer(settings, query, options.format, sys.stdout)
    except AnswerError as error:
        raise CommandError(str(error)) from None
    return 0


def _standard_input() -> str:
    """Return standard input as text: always UTF-8, with or without a byte order mark."""
    if sys.stdin is None:
        raise CommandError("standard input is closed: give the query as an argument")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(
            f"standard input is not UTF-8: byte {error.start + 1:,} is {error.object[error.start]:#04x}"
        ) from None


def _explain(settings: Settings, options: argparse.Namespace) -> int:
    from reposignal_pipeline.publishing.answers import AnswerError, explanation

    try:
        print(explanation(settings, options.full_name, options.day))
    except AnswerError as error:
        raise CommandError(str(error)) from None
    return 0


def _site(settings: Settings, options: argparse.Namespace) -> int:
    from reposignal_pipeline.home import ready_home
    from reposignal_pipeline.publishing.release import is_current
    from reposignal_pipeline.publishing.site.serving import server

    served = None
    if options.serve is not None:
        try:
            served = server(settings, options.serve)  # before building, so that an occupied port fails at once
        except OSError as error:
            raise CommandError(f"port {options.serve} of 127.0.0.1: {error.strerror}") from None
    ready_home(settings)
    if not is_current(settings):
        with _progress():
            from reposignal_pipeline.defs.runs import LaunchError, publish_again

            try:
                publish_again()
            except LaunchError as error:
                raise CommandError(str(error)) from None
    print(settings.published_dir / "site" / "index.html", flush=True)
    if served:
        print(f"http://127.0.0.1:{served.server_port}/site/  (Ctrl-C stops it)", flush=True)
        with suppress(KeyboardInterrupt), served:
            served.serve_forever()
    return 0


def _lake(settings: Settings) -> Lake:
    from reposignal_pipeline.lake.catalog import Lake, LakeError

    try:
        return Lake(settings)
    except LakeError as error:
        raise CommandError(str(error)) from None


def _lake_init(settings: Settings, options: argparse.Namespace) -> int:
    _lake(settings)
    with _lake_errors_in_one_line():
        from reposignal_pipeline.defs.runs import LaunchError, ready_instance

        try:
            ready_instance()
        except LaunchError as error:
            raise CommandError(str(error)) from None
    return _lake_status(settings, options)


def _lake_status(settings: Settings, _: argparse.Namespace) -> int:
    from reposignal_pipeline.lake.upkeep import status

    lake = _lake(settings)
    with _lake_errors_in_one_line():
        print("\n".join(status(lake)))
    return 0


def _lake_import(settings: Settings, options: argparse.Namespace) -> int:
    from reposignal_pipeline.home import ready_dagster_home
    from reposignal_pipeline.lake.moving import import_home

    lake = _lake(settings)
    with _lake_errors_in_one_line():
        ready_dagster_home()
        moved = import_home(lake, options.home.expanduser().absolute(), print)
    print(f"{moved.tables} tables, {moved.rows:,} rows copied and verified by count and checksum")
    print("Next: publish them from the lake with `reposignal site`")
    return 0


def _lake_export(settings: Settings, options: argparse.Namespace) -> int:
    from reposignal_pipeline.lake.moving import export_home

    lake = _lake(settings)
    with _lake_errors_in_one_line():
        moved = export_home(lake, options.home.expanduser().absolute(), print)
    print(f"{moved.tables} tables, {moved.rows:,} rows copied and verified by count and checksum")
    print(f"Next: REPOSIGNAL_HOME={options.home} reposignal site")
    return 0


@contextmanager
def _lake_errors_in_one_line() -> Iterator[None]:
    """Convert errors of a lake into a `CommandError` of one line."""
    import duckdb

    from reposignal_pipeline.lake.catalog import LakeError

    try:
        yield
    except (LakeError, duckdb.Error) as error:
        raise CommandError(" ".join(str(error).split())[:500]) from None


def _doctor(settings: Settings, _: argparse.Namespace) -> int:
    from reposignal_pipeline.publishing.doctor import Finding, examine

    findings = examine(settings)
    if (settings.dagster_home / "dagster.yaml").exists():
        from reposignal_pipeline.defs.runs import LaunchError, troubled_runs

        try:
            troubles = troubled_runs(settings)
        except LaunchError as error:
            troubles = [str(error)]
        text = "; ".join(troubles[:2]) or "none failed or was interrupted since the last publication"
        more = f"; {len(troubles) - 2} more" if len(troubles) > 2 else ""
        findings.append(Finding("runs", not troubles, f"{text}{more}"))
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{'ok   ' if finding.is_well else 'WRONG'}  {finding.subject:<{width}}  {finding.text}")
    return 0 if all(finding.is_well for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
