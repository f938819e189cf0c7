{#- Every constant of the method, defined once with its reason. -#}
{% macro constant(name) -%}
    {%- set constants = {
        "count_most": 2147483647,
        "github_began": "2007-10-01",
        "memory_days": 400,
        "rankings_hour": 4,
        "shortest_gap_hours": 12,
        "longest_gap_hours": 36,
        "rename_gap_days": 7,
        "floor_margin": 0.05,
        "replaced_places": 20,
        "lists_far_apart": 20,
        "rename_stars": 20,
        "rename_stars_share": 0.005,
        "rename_forks": 10,
        "rename_forks_share": 0.01,
        "rename_words": 20,
        "rename_rank": 10,
        "rename_pace": 3,
        "rename_pace_days": 7,
        "rename_forks_ratio": 2.0,
        "break_share": 0.10,
        "break_stars": 100,
        "lockstep_deviate": 3,
        "purge_loss": 5,
        "purge_repos": 16,
        "purge_ratio": 5,
        "purge_return_days": 3,
        "wave_gain": 20,
        "wave_age_days": 730,
        "wave_repos": 25,
        "wave_ratio": 2,
        "wave_nights_min": 7,
        "doubtful_stars": 10000,
        "doubtful_stars_per_fork": 1000,
        "doubtful_readings": 3,
        "usual_days": 56,
        "usual_days_min": 14,
        "dispersion": 0.15,
        "dispersion_prior_repos": 20,
        "unstar_dispersion": 0.8,
        "prior_shape_max": 4,
        "index_prior_stars": 50,
        "least_pace": 0.02,
        "least_judged": 0.6,
        "persistence_days": 28,
        "growth_least": 0.004,
        "growth_most": 1.0,
        "surprise_most": 10,
        "review_share": 0.5,
        "false_discovery_rate": 0.05,
        "breakout_ratio": 10,
        "hollow_share": 0.10,
        "archive_days": 28,
        "archive_named_in_utc_from": "2015-01-01",
        "share_hours_min": 3,
        "share_fall_a_year": 0.25,
        "events_fall_a_year": 0.10,
        "events_hours_min": 20,
        "events_least": 0.80,
        "low_coverage": 0.80,
        "agreement_share": 0.30,
        "agreement_stars": 10,
        "agreement_overlap": 0.60,
        "disagreeing_share": 0.20,
        "disagreeing_repos_min": 20,
        "star_edge_days": 28,
        "star_edge_readings_min": 200,
        "star_edge_ratio": 1.5,
    } -%}
    {#-
        count_most: the largest count that staging accepts, the same as `sources/schemas.py` uses for new rows; the most
            starred repository has 4,000 times less. Models hold counts in 32 bits, and their sums, differences and
            squares in 64 bits or more.
        github_began: before GitHub's first repository (2007-10-29). Earlier times are rejected.
        memory_days: how far back a previous reading is used; older ones count as none. Longer than any restore seen (88
            days) and than the longest gap in the rankings (77 days). It bounds what a new day reads.
        rankings_hour: the ranking file of a day is taken at about 03:00-04:30 UTC of that day; no file records the time.
        shortest_gap_hours: over a shorter gap, a change of the total is not scaled to 24 hours: one star in three hours
            is not eight a day. Readings of two sources can be that close.
        longest_gap_hours: over a longer gap, a change of the total is not scaled to 24 hours: a missed day doubles the
            next delta.
        rename_gap_days: over a longer gap, counts drift too far to be evidence of a rename.
        floor_margin: a repository with this much more than the last of its list was not pushed out of it; the file
            failed to return it. Margins of 2 to 25 % find the same days.
        replaced_places: a file with this many strangers in the places of such repositories is incomplete. Renames,
            deletions and changes of language cause 1 a day, at most 6, since 2024-04-09; on 2025-09-13 there were 105.
            Until 2024-04-08 there were tens to hundreds on most days, because the lists of large languages returned
            other repositories every day.
        lists_far_apart: largest difference in stars between the lists of one file, which are read minutes apart: 18
            until 2025, while 99.9 % differ by less than 6.
        rename_stars, rename_stars_share, rename_forks, rename_forks_share: the counts of two readings agree if they
            differ by no more than the larger of each pair. A burst can take a listed name to the counts of a name that
            leaves its list, but 15 of the 16 that did had another language and kept their description (rankings of
            2018-12 to 2026-03).
        rename_words: characters. A description of at least this length is evidence; shorter ones ("DEPRECATED",
            "Migrated:") occur for several repositories in one file.
        rename_rank: number of repositories of its language below a name that leaves, so that it did not simply fall off
            its list.
        rename_pace, rename_pace_days: a step is in line with the pace up to three times the largest daily gain of the
            last week. A name first listed within that week has no pace yet and may double.
        rename_forks_ratio: the relative gain in forks may be up to twice that in stars: at five renames in full growth
            it was 1.0 to 1.4 times as large.
        break_share, break_stars: a step of at least both is a break of the level, not stars given or withdrawn. In the
            rankings of 2018-2025, only four repositories fell by 10 % and 100 stars between readings: all were wipes or
            purges.
        lockstep_deviate: number of standard deviations of a repository's own nights (variance as for a surprise) beyond
            which a change is outside its noise. The number of such changes in a night is compared with the past.
        purge_loss: stars; a smaller loss is ordinary even for a repository that seldom loses any.
        purge_repos, purge_ratio: on a purge night at least this many repositories lose stars outside their noise, and
            at least this factor times one more than usual. The median night of 2019-2026 has 0 to 4; on the eight
            nights of 2025-07 to 2026-03 on which 20 or more lost 20 stars each, 65 to 219 did.
        purge_return_days: part of what a purge removed returns two nights later (46 of 49 repositories in 2026-03), and
            a little on the third.
        wave_gain, wave_age_days: a wave lifts repositories whose total is at least 730 days of their usual pace, each by
            at least 20 stars. Repositories that grow faster may break out on any night.
        wave_repos, wave_ratio: in a wave at least twice as many as usual, and 25 more, rise outside their noise. Until
            2025-06 no night had more than 30 (usual: 5 to 11); the four waves of 2026-02 and 2026-03 had 95 to 123.
        wave_nights_min: number of nights needed to know how many repositories usually rise.
        doubtful_stars, doubtful_stars_per_fork, doubtful_readings: a repository first seen with at least this many
            stars, and this many for each fork, counts from its fourth reading. Of 22,712 repositories in the recordings
            none was first seen like that: from 10,000 stars, the largest ratio at first sight was about 150.
        usual_days, usual_days_min: the usual pace is the mean of the trailing 56 days before today (8 whole weeks, so
            that weekdays balance), from at least 14 readings.
        dispersion, dispersion_prior_repos: negative-binomial alpha of daily gains (variance = mean + alpha mean^2),
            0.11-0.24 measured on real histories; each stratum of size and age has its own, shrunk to this one with the
            weight of 20 repositories.
        unstar_dispersion: a net change varies more than stars given, because stars are taken back. At 1-10 stars a day
            its variance is 1.8 times the mean, in addition to the alpha (rankings before 2024-07).
        prior_shape_max: a stratum's Gamma prior never weighs more than four stars.
        index_prior_stars: the index of a day, common to all repositories, is shrunk to 1 with the weight of 50 stars:
            with few repositories it is weak evidence.
        least_pace: stars/day; a repository that never moved is expected to get one star in 50 days.
        least_judged: stars/day; a repository that is expected to get less is judged as if it were expected to get this
            many. Near zero, stars come in twos and threes and are taken back: 3 or more in 1.2 of 1,000 nights at 0.02 a
            day, where the negative binomial predicts 0.02 (rankings before 2024-07). Below this value the dispersion of
            stars taken back would exceed 1.4.
        persistence_days: four whole weeks.
        growth_least, growth_most: 28-day growth below which differences hardly count, and at which points are full. The
            scale is logarithmic, so that scores rank like a product of the growths; any least growth of 0.2-2 % and most
            of 50-200 % rank alike (P@50 before 2024-07 within 0.001).
        surprise_most: sd; a surprise of this size gets full points. Half of the breakout calls exceed it.
        review_share: a score under review counts half until someone has checked it.
        false_discovery_rate: Benjamini-Hochberg across the repositories of a day.
        breakout_ratio: bursts decay to about a tenth within weeks, so from ten times the expected stars the rest still
            doubles the pace. Before 2024-07 the next fortnight did so after 68 % of such calls, and after 48 % of all
            surprises.
        hollow_share: an archive hour with less than this share of the usual events is hollow: the crawler was down, but
            the file exists. Nights and Sundays have a third of the busiest hours; hollow hours of 2015 had one event.
        archive_days: the usual events an hour are the median of the trailing 28 days, so that an outage of less than 14
            days (the longest known: six) does not become usual.
        archive_named_in_utc_from: files of earlier days are named in Pacific time; `sources/gh_archive.py` requests them
            by the same rule.
        share_hours_min: a share, or the usual one, is computed from at least this many hours of a day.
        share_fall_a_year: the largest genuine fall of the share of star events in a year, as bots and pushes grow faster
            than stars. A faster fall is a loss: from 2025-06 to 2026-06 the share went from 2.96 % to 0.05 %.
        events_fall_a_year: the largest genuine fall of GitHub's activity in a year; it has grown every year. The level is
            the highest median of one weekday over eight weeks, less this: holidays and gaps of some weeks do not lower
            it, and growth raises it within four weeks.
        events_hours_min: minimum observed hours of a day from which events are judged; nights have half the events of
            afternoons.
        events_least: a day with a smaller share of the level has lost events, not only stars. From 2025-05-25 it was
            0.65 (164 thousand events an hour, down from 253), at an unchanged share of stars. A fifth is the allowance
            for holidays.
        low_coverage: below it, the archive's stars of a day are marked as too few. A fifth is the allowance for weekends
            and bursts of pushes, which lower the share of stars although no star is lost.
        agreement_share, agreement_stars: two sources disagree on the stars of 24 hours if they differ by more than both.
            Stars are taken back, and do not arrive evenly over a day, which is assumed where sources cut days
            differently.
        agreement_overlap: daily counts are compared with the hours between two totals if they cover this share of them.
            A total of 09:00 UTC covers 15 hours (0.62) of the UTC day that it closes, and 23 of the star day.
        disagreeing_share, disagreeing_repos_min: a day on which more than this share of at least this many repositories
            disagree points to a wrong source, not to single repositories.
        star_edge_days, star_edge_readings_min: the hour at which star days end is fitted on the totals of four weeks,
            from at least this many readings.
        star_edge_ratio: another hour is accepted if totals and histories differ by this factor more at the configured
            hour. In simulated worlds of 40 to 1,000 repositories, an error of eight hours makes it 2.7 to 4.7, and a
            neighbouring hour at most 1.06.
    -#}
    {{- constants[name] -}}
{%- endmacro %}
