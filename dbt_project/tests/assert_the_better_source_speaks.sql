-- An observed total takes precedence over a history, and a history over the archive.
select
    day,
    repo_key
from {{ ref('fct_repo_day') }}
where
    {{ in_built_days() }}
    and (
        (source in ('rankings', 'repositories')) is distinct from (stars_total is not null)
        or (source = 'gh_archive' and stars_gained_source <> 'gh_archive')
        or (source = 'star_history' and stars_gained_source <> 'star_history')
        or (coalesce(stars_gained_source, '') = 'star_history') is distinct from (stars_gained_fetched_at is not null)
        or (stars_gained_source is null) is distinct from (stars_gained is null)
        or (stars_gained_source = 'gh_archive' and stars_gained is distinct from archive_stars_gained)
        or (stars_gained is null and archive_stars_gained is not null)
        or (stars_gained_source is distinct from 'gh_archive' and stars_gained_coverage is not null)
    )
