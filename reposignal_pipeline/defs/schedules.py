"""Jobs and their schedules; schedules run by default only against live upstreams."""

import datetime as dt

import dagster as dg

from reposignal_pipeline.defs.article import weekly_article
from reposignal_pipeline.defs.clusters import weekly_clusters
from reposignal_pipeline.defs.forecasts import forecast_model, weekly_forecasts
from reposignal_pipeline.defs.gh_archive import GH_ARCHIVE
from reposignal_pipeline.defs.github import REPOSITORIES, STAR_HISTORY
from reposignal_pipeline.defs.ingest import RANKINGS
from reposignal_pipeline.defs.partitions import days, weeks
from reposignal_pipeline.defs.publish import published_warehouse
from reposignal_pipeline.defs.resources import settings
from reposignal_pipeline.defs.trends import weekly_trends
from reposignal_pipeline.defs.warehouse import marts, verticals
from reposignal_pipeline.publishing.answers import AnswerError
from reposignal_pipeline.publishing.doctor import unreached
from reposignal_pipeline.sources.star_days import STAR_DAYS

_sources = {
    "rankings": RANKINGS,
    "repositories": REPOSITORIES,
    "star_history": STAR_HISTORY,
    "gh_archive": GH_ARCHIVE,
}
_ingest = dg.AssetSelection.assets(*(_sources[source] for source in settings.sources))
_any_ingest = dg.AssetSelection.assets(*_sources.values())
_verticals = dg.AssetSelection.assets(verticals)
_marts = dg.AssetSelection.assets(marts) | _verticals
_published = dg.AssetSelection.assets(published_warehouse)

daily = dg.define_asset_job(
    "daily",
    selection=_ingest | _marts | _published,
    partitions_def=days,
    description="One day, end to end: all configured sources, marts, published copy.",
)
weekly = dg.define_asset_job(
    "weekly",
    selection=dg.AssetSelection.assets(weekly_trends, weekly_clusters, weekly_forecasts, weekly_article)
    | _verticals
    | _published,
    partitions_def=weeks,
    description="One week or a range of weeks: trends, clusters, forecasts and grades, article, published copy.",
)
refit = dg.define_asset_job(
    "refit", selection=dg.AssetSelection.assets(forecast_model), description="A forecast model fitted on all past days."
)
# A run for a range logs every asset once per partition, so a range is loaded separately from unpartitioned assets.
ingest = dg.define_asset_job(
    "ingest", selection=_any_ingest, partitions_def=days, description="A range of days of any source from upstream."
)
build = dg.define_asset_job("build", selection=_marts, description="Marts with all loads that they do not contain yet.")
publish = dg.define_asset_job("publish", selection=_published, description="The published copy of the current marts.")

_status = dg.DefaultScheduleStatus.STOPPED if settings.profile.is_sample else dg.DefaultScheduleStatus.RUNNING

DAILY_HOUR = max(6, STAR_DAYS.hours_until_known(2026))
"""UTC hour of the daily job. By 06:00 the ranking file is published, and by this hour GitHub's day is final, in summer
and in winter. The hour is the same all year, so that totals are 24 hours apart."""

daily_schedule = dg.build_schedule_from_partitioned_job(
    daily,
    hour_of_day=DAILY_HOUR,
    minute_of_hour=0,
    default_status=_status,
    description="Yesterday, after its file is published and GitHub's star day has ended.",
)


@dg.schedule(
    job=daily,
    cron_schedule=f"0 {DAILY_HOUR + 3}-21/3 * * *",
    execution_timezone="UTC",
    default_status=_status,
    description="Yesterday again if a spent quota or an outage interrupted it: its totals cannot be read later.",
)
def catch_up_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Request yesterday again if the published copy shows that something was not reached."""
    day = context.scheduled_execution_time.date() - dt.timedelta(days=1)
    try:
        missing = unreached(settings, day)
    except AnswerError as error:
        return dg.SkipReason(str(error))
    if not missing:
        return dg.SkipReason(f"{day} is complete")
    config = {"ops": {source: {"config": {"only_missing": True}} for source in settings.sources}}
    return dg.RunRequest(partition_key=str(day), run_config=config)


weekly_schedule = dg.build_schedule_from_partitioned_job(
    weekly,
    hour_of_day=DAILY_HOUR + 2,
    minute_of_hour=0,
    default_status=_status,
    description="The week that ended on Sunday, after its last day.",
)
refit_schedule = dg.ScheduleDefinition(
    job=refit,
    cron_schedule=f"0 {DAILY_HOUR + 1} 2 * *",
    execution_timezone="UTC",
    default_status=_status,
    description="Every month, after its first day is built.",
)
