"""Issues and grades forecasts; each week is a partition. Models are files in the home.

This module reads frames from the marts, writes the tables and decides when a model is fitted. The model, its fit and
its scores are in `analysis.forecast`.

The forecasts of a week are issued on the Monday after it, the day of the weekly job, from days before that Monday.
"""

import base64
import datetime as dt
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd

from reposignal_pipeline.analysis.forecast import (
    BACKTEST_DAYS,
    BREAKOUTS,
    CALL,
    EVENT,
    FAMILY,
    FORECASTS,
    FURTHER_EVENT,
    FURTHER_FROM,
    HORIZON_DAYS,
    LATE_DAYS,
    OUTCOMES,
    REACH,
    SHIPPED,
    SUPERSEDED,
    THRESHOLDS,
    TRACK_RECORD,
    Hashes,
    Model,
    TooShortError,
    fingerprint,
    fit,
    further,
    has_ended,
    quarter_of,
    reliability,
    reliability_png,
    row_hashes,
    scores,
    walk_forward,
)
from reposignal_pipeline.config import Settings
from reposignal_pipeline.defs.identities import checked, specs_of
from reposignal_pipeline.defs.partitions import DAYS_OF_WEEK, OWNERS, WRITER_POOL, week_of, weeks
from reposignal_pipeline.warehouse import (
    Warehouse,
    append_rows,
    ensure_table,
    replace_weeks,
    row_counts,
    transaction,
)

WEEK = dt.timedelta(weeks=1)
DAY = dt.timedelta(days=1)
WEEKS_AT_ONCE = 52
"""limits memory and the loss of a killed run; only complete weeks are written"""
FRAME_ROWS = 2_000_000
"""maximum rows of a frame for a fit, about 0.6 GB; with a longer history, every n-th repository is used"""
SAME_PROBABILITY = 1.5e-6
"""two probabilities that differ by less are equal, because they are rounded to six digits"""
MEMORY_DAYS = 400
"""look-back of paces: a year, and a month for gaps"""
MEMORY_WEEKS = MEMORY_DAYS // 7
WEEKS_BACK = (1, 2, 3, 4, 8, 12, 26, 52)
"""weeks n before a reading at which paces begin, or up to 2n + 1 weeks; after a longer gap the pace is unknown"""

_THRESHOLDS = ", ".join(str(threshold) for threshold in THRESHOLDS)
_BEFORE = ",\n".join(
    f"last_value(level) over w{n} as level_{n}w, last_value(as_of_date) over w{n} as as_of_{n}w" for n in WEEKS_BACK
)
_WINDOWS = ",\n".join(
    f"w{n} as (partition by repo_key order by week_number range between"
    f" {min(2 * n + 1, MEMORY_WEEKS)} preceding and {n} preceding)"
    for n in WEEKS_BACK
)
_PACES = ",\n".join(f"(level - level_{n}w) / nullif(as_of_date - as_of_{n}w, 0) as pace_{n}w" for n in WEEKS_BACK)
_STEPS = ", ".join(f"level_{n}w, as_of_{n}w" for n in WEEKS_BACK)
_BETWEEN = ",\n".join(
    f"(level_{near}w - level_{far}w) / nullif(as_of_{near}w - as_of_{far}w, 0) as pace_{far}w_{near}w"
    for near, far in ((1, 2), (2, 4), (4, 8))
)

# One row per repository and Monday: its last reading of the week before, paces in stars/day up to that reading (without
# the steps at level breaks, as in the marts), and the outcome.
FRAME = f"""
    with

    signal as (

        select * from fct_repo_signal_day
        where
            day between $first::date - {MEMORY_DAYS + 7} and $last::date + {HORIZON_DAYS + LATE_DAYS}
            and repo_key % $parts = 0
            and repo_key // $parts % $pieces = $piece

    ),

    facts as (

        select
            day,
            repo_key,
            list_has_any(dq_flags, ['total_dropped', 'total_restored']) as is_break,
            list_contains(dq_flags, 'below_former_level') as is_below
        from fct_repo_day
        where
            day between $first::date - {MEMORY_DAYS + 7} and $last::date + {HORIZON_DAYS + LATE_DAYS}
            and stars_total is not null

    ),

    observed as (

        select distinct day from facts

    ),

    stepped as (

        select
            signal.*,
            facts.is_break,
            facts.is_below,
            lag(signal.stars_total) over (partition by signal.repo_key order by signal.day) as previous_total
        from signal
        inner join facts on signal.day = facts.day and signal.repo_key = facts.repo_key

    ),

    readings as (

        select
            *,
            stars_total - sum(case when is_break then stars_total - previous_total else 0 end)
                over (partition by repo_key order by day) as level
        from stepped

    ),

    closings as (

        select
            date_trunc('week', day)::date + 7 as issued_on,
            -- range frames over whole numbers cost half of those over dates
            (date_trunc('week', day)::date - $first::date) // 7 as week_number,
            repo_key,
            max(day) as as_of_date,
            arg_max(full_name, day) as full_name,
            arg_max(stars_total, day) as stars_total,
            arg_max(level, day)::double as level,
            arg_max(is_below, day) as is_below,
            max(stars_total) as week_total,
            bool_or(is_break) as has_break,
            max_by({{'v': velocity_28d}}, day).v as velocity_28d,
            max_by({{'v': velocity_7d}}, day).v as velocity_7d,
            max_by({{'v': velocity_24h}}, day).v as velocity_24h,
            avg(velocity_24h) filter (where day >= date_trunc('week', day)::date + 4) as pace_3d,
            max(velocity_24h) as week_night
        from readings
        group by all

    ),

    seen as (

        select
            *,
            {_BEFORE},
            max(velocity_7d) over quarter as best_week,
            min(velocity_7d) over quarter as worst_week,
            max(week_night) over month as best_night,
            issued_on - min(as_of_date) over memory as days_seen,
            max(week_total) over ahead as total_ahead,
            bool_or(has_break) over ahead as break_ahead
        from closings
        window
            {_WINDOWS},
            memory as (
                partition by repo_key order by week_number range between {MEMORY_WEEKS} preceding and current row
            ),
            quarter as (partition by repo_key order by week_number range between 12 preceding and current row),
            month as (partition by repo_key order by week_number range between 3 preceding and current row),
            ahead as (
                partition by repo_key order by week_number
                range between 1 following and {HORIZON_DAYS // 7} following
            )

    ),

    paced as (

        select
            *,
            {_PACES},
            {_BETWEEN},
            as_of_date - as_of_1w as days_since_before,
            case
                when stars_total < {THRESHOLDS[-1]} and as_of_1w is not null and not is_below
                    then list_filter([{_THRESHOLDS}], lambda threshold: threshold > stars_total)[1]
            end as next_threshold
        from seen
        where
            issued_on between $first and $last
            and stars_total >= {THRESHOLDS[0] // REACH}
            and as_of_1w is not null
            and not is_below

    ),

    crossings as (

        select
            repo_key,
            day,
            unnest(list_filter(
                [{_THRESHOLDS}], lambda threshold: threshold > coalesce(previous_total, 0) and threshold <= stars_total
            )) as threshold
        from readings
        where day between $first and $last::date + {HORIZON_DAYS}

    ),

    settlings as (

        select
            day,
            repo_key,
            stars_total,
            is_break
        from readings
        where day between $first::date + {HORIZON_DAYS} and $last::date + {HORIZON_DAYS + LATE_DAYS}

    ),

    final as (

        select
            paced.* exclude (
                next_threshold, week_number, is_below, has_break, total_ahead, break_ahead, week_night, week_total,
                level, {_STEPS}
            ),
            case when paced.stars_total * {REACH} >= paced.next_threshold then paced.next_threshold end as threshold,
            -- if nothing was read from the due day on, crossings could be known, but misses could not
            case
                when observed.day <= paced.issued_on + {HORIZON_DAYS + LATE_DAYS}
                    then greatest(
                        paced.total_ahead,
                        case when settling.day = paced.issued_on + {HORIZON_DAYS} then settling.stars_total end
                    )
            end as best_total,
            case
                when settling.day <= paced.issued_on + {HORIZON_DAYS + LATE_DAYS} then settling.stars_total
            end as settling_total,
            case
                when settling.day <= paced.issued_on + {HORIZON_DAYS + LATE_DAYS} then settling.day
                else paced.issued_on + {HORIZON_DAYS + LATE_DAYS}
            end as settled_on,
            coalesce(paced.break_ahead, false)
            or (coalesce(settling.day = paced.issued_on + {HORIZON_DAYS}, false) and settling.is_break) as has_break,
            case when crossings.day <= paced.issued_on + {HORIZON_DAYS} then crossings.day end as crossed_on
        from paced
        asof left join observed on paced.issued_on + {HORIZON_DAYS} <= observed.day
        asof left join settlings as settling
            on paced.repo_key = settling.repo_key and paced.issued_on + {HORIZON_DAYS} <= settling.day
        asof left join crossings
            on
                paced.repo_key = crossings.repo_key
                and paced.next_threshold = crossings.threshold
                and paced.issued_on <= crossings.day

    )

    select * from final
    order by issued_on, repo_key
"""

# Forecasts to grade: those that are due and not graded yet. From $since on also those with an unknown outcome, and
# backtests, because late data change them and their outcomes.
GRADES = f"""
    with

    observed as (

        select distinct day from fct_repo_signal_day
        where day >= (select min(due_on) from fct_forecast)

    ),

    last_reading as (

        select max(day) as day from observed

    ),

    -- keys change when a rename is discovered; then the name identifies the repository
    named as (

        select
            lower(full_name) as name,
            arg_max(repo_key, seen_to) as repo_key
        from dim_repo_alias
        group by lower(full_name)

    ),

    due as (

        select
            forecasts.*,
            case
                when forecasts.repo_key in (select repo_key from dim_repo_alias) then forecasts.repo_key
                else named.repo_key
            end as found_key
        from fct_forecast as forecasts
        left join named on lower(forecasts.full_name) = named.name
        left join fct_forecast_outcome as outcomes on forecasts.forecast_id = outcomes.forecast_id
        where
            forecasts.due_on <= (select day from last_reading)
            and (
                outcomes.forecast_id is null
                or ((outcomes.happened is null or forecasts.is_backtest) and forecasts.due_on >= $since)
            )

    ),

    facts as (

        select
            day,
            repo_key,
            stars_total,
            list_has_any(dq_flags, ['total_dropped', 'total_restored']) as is_break,
            lag(stars_total) over (partition by repo_key order by day) as previous_total
        from fct_repo_day
        where
            stars_total is not null
            and day >= (select min(issued_on) - 7 from due)
            and day <= (select max(due_on) + {LATE_DAYS} from due)
            and repo_key in (select found_key from due)

    ),

    crossings as (

        select
            repo_key,
            day,
            unnest(list_filter(
                [{_THRESHOLDS}], lambda threshold: threshold > coalesce(previous_total, 0) and threshold <= stars_total
            )) as threshold
        from facts

    ),

    breaks as (

        select
            repo_key,
            day
        from facts
        where is_break

    ),

    found as (

        select
            due.*,
            case when crossings.day <= due.due_on then crossings.day end as crossed_on,
            case when breaks.day <= due.due_on then breaks.day end as broke_on,
            case when settling.day <= due.due_on + {LATE_DAYS} then settling.day end as settled_on,
            observed.day <= due.due_on + {LATE_DAYS} as is_scored,
            settling.stars_total as settling_total
        from due
        asof left join observed on due.due_on <= observed.day
        asof left join crossings
            on
                due.found_key = crossings.repo_key
                and due.threshold = crossings.threshold
                and due.issued_on <= crossings.day
        asof left join breaks on due.found_key = breaks.repo_key and due.issued_on <= breaks.day
        asof left join facts as settling on due.found_key = settling.repo_key and due.due_on <= settling.day

    ),

    judged as (

        select
            *,
            case
                when crossed_on is not null and (broke_on is null or crossed_on < broke_on) then true
                when broke_on is null and settled_on is not null and settling_total < threshold then false
            end as happened,
            case
                when crossed_on is not null and (broke_on is null or crossed_on < broke_on) then null
                when broke_on is not null then 'level_break'
                when settled_on is null then 'not_observed'
                when settling_total >= threshold then 'crossed_in_a_gap'
            end as reason
        from found

    ),

    final as (

        select
            forecast_id,
            case when happened is false then settled_on else due_on end as resolved_on,
            happened,
            case when happened then crossed_on end as crossed_on,
            round((probability - happened::integer) ** 2, 8) as brier,
            reason,
            is_scored and happened is not null as is_scored,
            $now::timestamp as graded_at
        from judged
        -- a miss without a reading on the due day can still be settled in the following days
        where happened is not null or reason <> 'not_observed' or due_on + {LATE_DAYS} <= (select day from last_reading)

    )

    select * from final
"""

BREAKOUTS_OF_WEEKS = f"""
    with

    flagged as (

        select
            date_trunc('week', day)::date as week,
            repo_key,
            max(day) as as_of_date,
            arg_max(full_name, day) as full_name,
            arg_max(stars_total, day) as stars_total,
            count(*) as days_flagged
        from fct_repo_signal_day
        where is_breakout and day between $first and $last::date + 6
        group by all

    ),

    earlier as (

        select
            flagged.week,
            flagged.repo_key,
            min(signal.day) as first_flagged_on
        from flagged
        inner join fct_repo_signal_day as signal
            on
                flagged.repo_key = signal.repo_key
                and signal.day between flagged.as_of_date - 27 and flagged.as_of_date
                and signal.is_breakout
        where signal.day between $first::date - 27 and $last::date + 6
        group by all

    )

    select
        flagged.*,
        earlier.first_flagged_on,
        forecasts.probability,
        forecasts.threshold,
        forecasts.forecast_id,
        row_number() over (
            partition by flagged.week
            order by forecasts.probability desc nulls last, flagged.days_flagged desc, flagged.repo_key
        )::integer as rank
    from flagged
    inner join earlier using (week, repo_key)
    left join fct_forecast as forecasts
        on flagged.week = forecasts.week and flagged.repo_key = forecasts.repo_key and forecasts.event = '{EVENT}'
"""

RECORD_OF_WEEKS = f"""
    with

    graded as (

        select
            date_trunc('week', forecasts.due_on)::date as week,
            forecasts.model_version,
            forecasts.probability,
            forecasts.is_backtest,
            forecasts.issued_on,
            case when outcomes.is_scored then outcomes.happened end as happened,
            case when outcomes.is_scored then outcomes.happened::integer end as came,
            case when outcomes.is_scored then outcomes.brier end as brier,
            outcomes.crossed_on,
            forecasts.probability >= {CALL} as is_call
        from fct_forecast as forecasts
        left join fct_forecast_outcome as outcomes on forecasts.forecast_id = outcomes.forecast_id
        where forecasts.due_on between $first::date - 51 * 7 and $last::date + 6 and forecasts.event = '{EVENT}'

    ),

    weekly as (

        select
            week,
            model_version,
            count(*) as forecasts,
            count(came) as resolved,
            count(came) filter (where is_backtest) as backtested,
            coalesce(sum(came), 0)::bigint as happened,
            coalesce(sum(probability) filter (where came is not null), 0) as expected,
            count(came) filter (where is_call) as calls,
            avg(came) filter (where is_call) as hit_rate,
            avg(is_call::integer) filter (where happened) as recall,
            avg(brier) as brier,
            avg(-ln(greatest(case when happened then probability else 1 - probability end, 1e-6)))
                filter (where came is not null) as log_loss,
            avg(crossed_on - issued_on) filter (where happened and is_call) as mean_lead_days
        from graded
        where week >= $first
        group by week, model_version

    ),

    binned as (

        select
            years.week,
            least(floor(graded.probability * 10), 9) / 10 as probability_from,
            count(*) as forecasts,
            round(avg(graded.probability), 9) as mean_probability,
            round(avg(graded.came), 9) as happened_share,
            sum(graded.brier) as brier,
            sum(graded.came) as came
        from (select distinct week from weekly) as years
        inner join graded on graded.week between years.week - 51 * 7 and years.week
        where graded.came is not null
        group by all

    ),

    years as (

        select
            week,
            sum(came) / sum(forecasts) as base_rate,
            sum(brier) / sum(forecasts) as brier,
            list(
                {{
                    'probability_from': probability_from,
                    'forecasts': forecasts,
                    'mean_probability': mean_probability,
                    'happened_share': happened_share
                }}
                order by probability_from
            ) as reliability
        from binned
        group by week

    )

    -- rounded, because floating-point sums depend on the order in which threads add the numbers
    select
        weekly.* replace (
            round(weekly.expected, 6) as expected,
            round(weekly.hit_rate, 9) as hit_rate,
            round(weekly.recall, 9) as recall,
            round(weekly.brier, 9) as brier,
            round(weekly.log_loss, 9) as log_loss,
            round(weekly.mean_lead_days, 6) as mean_lead_days
        ),
        round(years.base_rate, 9) as base_rate,
        -- the mean of (base_rate - happened)^2, from the week's own share that happened
        round(
            1 - weekly.brier / nullif(
                years.base_rate ** 2 + (1 - 2 * years.base_rate) * weekly.happened / nullif(weekly.resolved, 0), 0
            ), 6
        ) as brier_skill,
        round(1 - years.brier / nullif(years.base_rate * (1 - years.base_rate), 0), 6) as brier_skill_52w,
        years.reliability as reliability_52w
    from weekly
    left join years on weekly.week = years.week
"""


def frame(connection: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date, parts: int = 1) -> pd.DataFrame:
    """Return one row per Monday from `first` to `last` and repository with a known pace and at least 200 stars.

    Unknown paces are NaN; `threshold` is NaN if the next one is out of reach. Paces use only days before the Monday;
    `best_total`, `settling_total`, `settled_on`, `has_break` and `crossed_on` describe the outcome.

    Args:
        connection: connection with the marts as default database.
        first: first Monday.
        last: last Monday.
        parts: use one of this many repositories.
    """
    pieces = 1 + (last - first) // WEEK // (2 * WEEKS_AT_ONCE)  # limits memory
    known = {"first": first, "last": last, "parts": parts, "pieces": pieces}
    frames = [connection.execute(FRAME, known | {"piece": piece}).df() for piece in range(pieces)]
    return frames[0] if pieces == 1 else pd.concat(frames).sort_values(["issued_on", "repo_key"], ignore_index=True)


def whole_past(connection: duckdb.DuckDBPyConnection, last: dt.date) -> pd.DataFrame:
    """Return the frame of all Mondays up to `last`, with a sample of the repositories if it would be too large."""
    first, parts = _extent(connection, last)
    return frame(connection, first, last, parts)


def _extent(connection: duckdb.DuckDBPyConnection, last: dt.date) -> tuple[dt.date, int]:
    """Return (first Monday of the history up to `last`, `parts` for a frame that fits `FRAME_ROWS`)."""
    row = connection.execute("select min(day), count(*) from fct_repo_signal_day where day < $1", [last]).fetchone()
    return (week_of(row[0]), 1 + row[1] // 7 // FRAME_ROWS) if row and row[0] else (last, 1)


# --- models: files of the home


def models_folder(settings: Settings) -> Path:
    """Return the folder of the models fitted in a home."""
    return settings.home / "models"


def save(model: Model, folder: Path) -> Path:
    """Write a model to a file atomically, and return the path of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model.version}.json"
    making = path.with_suffix(".making")
    making.write_text(model.to_json(), encoding="utf-8")
    with making.open("rb") as file:
        os.fsync(file.fileno())
    making.replace(path)
    return path


def known_models(folder: Path) -> list[Model]:
    """Return the models of the current method that were fitted in the home, oldest first."""
    return [Model.from_json(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{FAMILY}+*.json"))]


def speaker(models: list[Model], issued_on: dt.date) -> Model | None:
    """Return the newest model fitted only on days before a Monday; None if there is none."""
    return max((model for model in models if model.fitted_to_day <= issued_on), key=_fitted_to, default=None)


def _fitted_to(model: Model) -> dt.date:
    return model.fitted_to_day


class Speakers:
    """The models for Mondays up to `last`; the model of a quarter is fitted on first use.

    Days from `changed_from` on may have changed since a model was fitted. A model whose history includes changed rows
    is fitted again, so that a backtest does not depend on the order of loads.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folder: Path, last: dt.date, changed_from: dt.date | None = None
    ) -> None:
        self._connection, self._folder, self._last = connection, folder, last
        self._changed_from = changed_from or dt.date.max
        self._own = {model.fitted_to_day: model for model in known_models(folder)}
        self._shipped = [Model.from_json(SHIPPED.read_text(encoding="utf-8"))]
        self._settled: set[dt.date] = set()
        """quarters whose model is up to date"""

    def of(self, issued_on: dt.date) -> Model | None:
        quarter = quarter_of(issued_on)
        own = speaker(list(self._own.values()), issued_on)
        if quarter not in self._settled and (own is None or own.fitted_to_day <= quarter):
            self._settled.add(quarter)
            if own is None or own.fitted_to_day < quarter or self._is_out_of_date(own):
                with suppress(TooShortError):
                    self._own[quarter] = own = fit(self._past, quarter, self._hashes)
                    save(own, self._folder)
        return own or speaker(self._shipped, issued_on)

    def rows(self, first: dt.date, last: dt.date) -> pd.DataFrame:
        """Return the rows with a threshold of the Mondays from `first` to `last`.

        A run of more than a year fits models in any case, so it uses their frame, unless that is only a sample.
        """
        is_long = self._last - self._changed_from > WEEKS_AT_ONCE * WEEK
        if is_long and _extent(self._connection, self._last)[1] == 1:
            found = self._past[self._past["issued_on"].between(pd.Timestamp(first), pd.Timestamp(last))]
        else:
            found = frame(self._connection, first, last)
        return found[found["threshold"].notna()]

    def _is_out_of_date(self, model: Model) -> bool:
        day = model.fitted_to_day
        return self._changed_from < day and fingerprint(self._hashes[has_ended(self._past, day)]) != model.past

    @cached_property
    def _past(self) -> pd.DataFrame:
        return whole_past(self._connection, self._last)

    @cached_property
    def _hashes(self) -> Hashes:
        return row_hashes(self._past)


# --- issuing and grading forecasts


def issue(
    connection: duckdb.DuckDBPyConnection, speakers: Speakers, first: dt.date, last: dt.date, now: dt.datetime
) -> int:
    """Write the forecasts of the Mondays from `first` to `last`; return the number of new rows.

    A forecast that was issued in time never changes. A backtest row is updated with late data of the days before its
    Monday, so that it does not depend on the order of loads; its former version is appended to `SUPERSEDED`, and its
    outcome is graded again.
    """
    forecasts = _probabilities(speakers, first, last)
    connection.register("predicted", forecasts)
    with transaction(connection):
        for table in (FORECASTS, OUTCOMES, SUPERSEDED):
            ensure_table(connection, table)
        connection.execute(COMPUTED, {"now": now})
        connection.execute(REPLACED, {"first": first, "last": last, "now": now})
        replaced = "forecast_id in (select forecast_id from replaced)"
        connection.execute(f"insert into {SUPERSEDED.name} by name from replaced")
        connection.execute(f"delete from {OUTCOMES.name} where {replaced}")
        connection.execute(f"delete from {FORECASTS.name} where {replaced}")
        row = connection.execute(
            f"insert into {FORECASTS.name} by name"
            f" select * from computed anti join {FORECASTS.name} using (forecast_id)"
            " order by issued_on, repo_key, threshold"
        ).fetchone()
        connection.execute("drop table computed")
        connection.execute("drop table replaced")
    connection.unregister("predicted")
    return int(row[0]) if row else 0


# The forecasts in `predicted` from the data known now, without repositories whose forecasts were issued in time.
COMPUTED = f"""
    create or replace temp table computed as

    with

    issued_in_time as (

        select
            issued_on,
            repo_key,
            lower(full_name) as name
        from fct_forecast
        where not is_backtest

    )

    select
        concat_ws('/', predicted.issued_on::date, predicted.repo_key, predicted.threshold::bigint) as forecast_id,
        predicted.issued_on::date as issued_on,
        predicted.issued_on::date - 7 as week,
        predicted.repo_key,
        predicted.full_name,
        predicted.event,
        predicted.threshold::bigint as threshold,
        {HORIZON_DAYS} as horizon_days,
        predicted.issued_on::date + {HORIZON_DAYS} as due_on,
        predicted.probability,
        predicted.as_of_date::date as as_of_date,
        predicted.stars_total,
        predicted.model_version,
        $now::timestamp as made_at,
        $now::date > predicted.issued_on::date + {BACKTEST_DAYS} as is_backtest
    from predicted
    -- a repository whose key changed since is recognised by its name
    anti join issued_in_time as by_key
        on predicted.issued_on::date = by_key.issued_on and predicted.repo_key = by_key.repo_key
    anti join issued_in_time as by_name
        on predicted.issued_on::date = by_name.issued_on and lower(predicted.full_name) = by_name.name
"""

# Backtest rows of the same Mondays that differ from the current data. Probabilities have six digits, and the last one
# may depend on the number of rows that a model evaluates at once.
REPLACED = f"""
    create or replace temp table replaced as
    select
        former.*,
        $now::timestamp as superseded_at,
        case when computed.forecast_id is null then 'withdrawn' else 'revised' end as reason
    from fct_forecast as former
    left join computed on former.forecast_id = computed.forecast_id
    where
        former.is_backtest
        and former.issued_on between $first and $last
        and (
            computed.forecast_id is null
            or abs(former.probability - computed.probability) > {SAME_PROBABILITY}
            or (former.full_name, former.event, former.as_of_date, former.stars_total, former.model_version)
            is distinct from
            (computed.full_name, computed.event, computed.as_of_date, computed.stars_total, computed.model_version)
        )
"""


def _probabilities(speakers: Speakers, first: dt.date, last: dt.date) -> pd.DataFrame:
    """Return one row per Monday, repository and threshold with a forecast, with its probability."""
    rows = speakers.rows(first, last)
    predicted = []
    for day in sorted(rows["issued_on"].dt.date.unique()):
        of_monday = rows[rows["issued_on"] == pd.Timestamp(day)]
        model = speakers.of(day)
        if model:
            probability = model.probabilities(of_monday)
            beyond = further(of_monday[probability >= FURTHER_FROM])
            further_probability = model.probabilities(beyond)
            for event, asked, of in ((EVENT, of_monday, probability), (FURTHER_EVENT, beyond, further_probability)):
                predicted.append(
                    asked[["issued_on", "repo_key", "full_name", "threshold", "as_of_date", "stars_total"]].assign(
                        event=event, probability=np.round(of, 6), model_version=model.version
                    )
                )
    empty = rows.head(0).assign(event="", probability=0.0, model_version="")
    forecasts = pd.concat(predicted or [empty]).sort_values(["issued_on", "repo_key", "threshold"], ignore_index=True)
    # a further threshold cannot be more likely
    forecasts["probability"] = forecasts.groupby(["issued_on", "repo_key"])["probability"].cummin()
    return forecasts


def grade(connection: duckdb.DuckDBPyConnection, since: dt.date, now: dt.datetime) -> tuple[int, dt.date | None]:
    """Append the outcomes of due forecasts; return (number of outcomes, first due day among them or None).

    Args:
        connection: connection to the warehouse.
        since: from this due day on, unknown outcomes and those of backtests are graded again.
        now: time of grading, naive UTC.
    """
    connection.execute("create or replace temp table graded as " + GRADES, {"since": since, "now": now})
    # unchanged outcomes are not written again
    fresh = """
        from graded anti join fct_forecast_outcome as former
            on
                graded.forecast_id = former.forecast_id
                and (graded.happened, graded.reason, graded.resolved_on, graded.crossed_on, graded.is_scored)
                is not distinct from
                (former.happened, former.reason, former.resolved_on, former.crossed_on, former.is_scored)
    """
    row = connection.execute(
        f"select min(due_on) from fct_forecast semi join (select forecast_id {fresh}) as fresh using (forecast_id)"
    ).fetchone()
    count = append_rows(
        connection,
        OUTCOMES,
        f"select graded.* {fresh} order by graded.forecast_id",
        # these never include a known outcome of a forecast that was issued in time
        instead="forecast_id in (select forecast_id from new_rows)",
    )
    connection.execute("drop table graded")
    return count, row[0] if row else None


_DEPS: dict[str, list[str]] = {
    # the rankings too, as for the weekly trends: daily assets tell a backfill which weeks it affects
    FORECASTS.name: ["fct_repo_signal_day", "fct_repo_day", "forecast_model", "rankings"],
    SUPERSEDED.name: [FORECASTS.name],
    OUTCOMES.name: [FORECASTS.name, "fct_repo_day", "dim_repo_alias"],
    BREAKOUTS.name: [FORECASTS.name, "fct_repo_signal_day", "weekly_repo_trends"],
    TRACK_RECORD.name: [FORECASTS.name, OUTCOMES.name],
}


@dg.multi_asset(
    name="weekly_forecasts",
    specs=[
        dg.AssetSpec(
            table.name,
            deps=[
                dg.AssetDep(name, partition_mapping=DAYS_OF_WEEK if name == "rankings" else None)
                for name in _DEPS[table.name]
            ],
            description=table.comment,
            group_name="forecasts",
            owners=OWNERS,
            kinds={"duckdb", "python"},
            partitions_def=weeks,
        )
        for table in (FORECASTS, SUPERSEDED, OUTCOMES, BREAKOUTS, TRACK_RECORD)
    ],
    check_specs=specs_of(BREAKOUTS.name, TRACK_RECORD.name),
    partitions_def=weeks,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def weekly_forecasts(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Issue the forecasts of the Mondays after the weeks of this run, grade due ones, rebuild the summary tables."""
    keys = context.partition_key_range
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    rows = dict.fromkeys(_DEPS, 0)
    with warehouse.rewriting(f"run {context.run_id}: forecasts", context.log), warehouse.connected() as connection:
        for table in (FORECASTS, SUPERSEDED, OUTCOMES):
            append_rows(connection, table)
        former_last_due = _last_due(connection, last)
        speakers = Speakers(connection, models_folder(warehouse.settings), last + WEEK, changed_from=first)
        start = first
        while start <= last:
            end = min(start + (WEEKS_AT_ONCE - 1) * WEEK, last)
            rows[FORECASTS.name] += issue(connection, speakers, start + WEEK, end + WEEK, now)
            start = end + WEEK
        # the readings of a week settle forecasts due in it or up to two weeks before
        rows[OUTCOMES.name], earliest = grade(connection, first - LATE_DAYS * DAY, now)
        # any outcome changes the 52-week figures of the following weeks
        graded_from = min(first, week_of(earliest or first))
        graded_to = max(former_last_due, _last_due(connection, last))
        for table, sql, since, until in (
            (BREAKOUTS, BREAKOUTS_OF_WEEKS, first, last),
            (TRACK_RECORD, RECORD_OF_WEEKS, graded_from, graded_to),
        ):
            found = connection.execute(sql, {"first": since, "last": until}).to_arrow_table()
            replace_weeks(connection, table, found, since, until)
            rows[table.name] = len(found)
        counts = row_counts(connection, rows)
        checks = list(checked(connection, first, last, *rows))
    for name, written in rows.items():
        yield dg.MaterializeResult(
            asset_key=name, metadata={"dagster/row_count": counts.get(name, 0), "rows_written": written}
        )
    yield from checks


def _last_due(connection: duckdb.DuckDBPyConnection, last: dt.date) -> dt.date:
    """Return the last week with a graded forecast, but at least `last`."""
    row = connection.execute(
        "select max(due_on) from fct_forecast semi join fct_forecast_outcome using (forecast_id)"
    ).fetchone()
    return max(last, week_of(row[0])) if row and row[0] else last


# --- fit and backtest


@dg.asset(
    name="forecast_model",
    deps=["fct_repo_signal_day", "fct_repo_day"],
    group_name="forecasts",
    owners=OWNERS,
    kinds={"scikitlearn", "json"},
    pool=WRITER_POOL,
    description="The model of the home, fitted on days before this month, with the scores of older models since.",
)
def forecast_model(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Fit and save a model; if the history is too short, report it and keep the shipped model."""
    with warehouse.writing(f"run {context.run_id}: forecast_model", context.log), warehouse.connected() as connection:
        row = connection.execute("select max(day) from fct_repo_signal_day").fetchone()
        last = row[0] if row and row[0] else None
        past = whole_past(connection, last) if last else None
    if past is None or last is None:
        return dg.MaterializeResult(metadata={"speaks": SHIPPED.stem, "because": "no day was built yet"})
    fitted_to = (last + DAY).replace(day=1)
    try:
        model = fit(past, fitted_to)
    except TooShortError as error:
        return dg.MaterializeResult(metadata={"speaks": SHIPPED.stem, "because": str(error)})
    path = save(model, models_folder(warehouse.settings))
    since = quarter_of(fitted_to - dt.timedelta(days=HORIZON_DAYS + 91))
    held_out = walk_forward(past, since, fitted_to)
    return dg.MaterializeResult(
        metadata={
            "speaks": model.version,
            "path": dg.MetadataValue.path(str(path)),
            "examples": model.examples,
            "crossings": model.crossings,
            "held_out_from": str(since),
            **_score_metadata(held_out),
        }
    )


@dg.asset(
    name="forecast_backtest",
    deps=["fct_repo_signal_day", "fct_repo_day"],
    group_name="forecasts",
    owners=OWNERS,
    kinds={"scikitlearn"},
    pool=WRITER_POOL,
    description="Scores of forecasts for every past Monday of the home, compared with simpler rules.",
)
def forecast_backtest(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Run a walk-forward backtest, quarter by quarter, each with a model fitted on earlier outcomes."""
    with warehouse.writing(f"run {context.run_id}: backtest", context.log), warehouse.connected() as connection:
        row = connection.execute("select min(day), max(day) from fct_repo_signal_day").fetchone()
        if not row or row[0] is None:
            return dg.MaterializeResult(metadata={"because": "no day was built yet"})
        first, last = row
        past = whole_past(connection, last)
    return dg.MaterializeResult(metadata=_score_metadata(walk_forward(past, first, last)))


def _score_metadata(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return metadata: a table of scores compared with simpler rules, and the reliability plot."""
    if not predictions["happened"].notna().any() or predictions["happened"].nunique(dropna=True) < 2:
        return {"scores": "nothing to compare: no forecast of the home's model is due"}
    rules = ("probability", "one_variable", "linear", "base_rate")
    found = {rule: scores(predictions, rule) for rule in rules}
    names = ("skill", "brier", "log_loss", "average_precision", "hit_rate", "lead_days")
    lines = [f"| | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    lines += [f"| {rule} | {' | '.join(f'{found[rule][name]:.4f}' for name in names)} |" for rule in rules]
    plot = base64.b64encode(reliability_png(reliability(predictions))).decode()
    return {
        "forecasts": int(found["probability"]["forecasts"]),
        "skill": found["probability"]["skill"],
        "scores": dg.MetadataValue.md("\n".join(lines)),
        "reliability": dg.MetadataValue.md(f"![reliability](data:image/png;base64,{plot})"),
    }
