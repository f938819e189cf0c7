{#- Constants of the authenticity of stars, each defined once with its reason. docs/authenticity.md has the figures. -#}
{% macro authenticity_constant(name) -%}
    {%- set constants = {
        "burst_days": 7,
        "burst_stars": 40,
        "burst_ratio": 2,
        "few_stars": 20,
        "forks_expected": 6,
        "few_forks_share": 0.06,
        "forks_lost": 5,
        "forks_lost_share": 0.10,
        "taken_back_share": 0.10,
        "settled_days": 2,
        "held_days": 28,
        "usual_readings": 35,
        "usual_days_most": 91,
        "memory_days": 120,
        "account_days": 28,
        "account_days_loaded": 14,
        "accounts": 30,
        "one_star_share": 0.80,
        "one_star_lift": 0.25,
        "lockstep_accounts": 10,
        "lockstep_share": 0.30,
        "lockstep_stars_most": 50,
    } -%}
    {#-
        burst_days: of 3, 7 and 14 days, 7 separated injected campaigns from real bursts best. Fewer days hold too few
            forks; more days hold more of the usual forks.
        burst_stars, burst_ratio: a burst exceeds the usual stars by at least this number and this factor.
        few_stars: a burst with at least this many stars, but fewer than burst_stars, is detected but not judged.
        forks_expected: with fewer forks expected, a burst without forks is not unusual.
        few_forks_share: a burst is suspect below this share of the forks that the repository's stars usually bring. Of
            real bursts of 200 stars and more, 2 % have less; a campaign brings none.
        forks_lost, forks_lost_share: if more forks than both were lost, forks are not evidence: on 2024-02-21 and the
            day after, the platform removed 185,000 forks of 3,300 repositories.
        taken_back_share: the total falls below that at the end of the burst by this share of the burst. Fewer than 1 %
            of real bursts do.
        settled_days: forks follow stars by a day or two. Judged at once, half as many real bursts again would have too
            few forks.
        held_days: number of days for which a burst counts in the 28-day growth.
        usual_readings, usual_days_most: the usual pace is that of the previous 35 readings (five whole weeks if none is
            missing), at most 91 days back including the burst.
        memory_days: the sum of both for a burst that is held. A break of the level is remembered equally long: across a
            break there is no usual pace.
        account_days, account_days_loaded: an account's other stars are looked up in the trailing 28 days, if at least 14
            of them are loaded.
        accounts: shares of fewer accounts are not evidence.
        one_star_share, one_star_lift: minimum share of accounts that starred nothing else, and its minimum excess over
            the median repository of the day. Not tuned: the recordings hold hours of the archive, not 28 days.
        lockstep_accounts, lockstep_share: minimum number of accounts that starred the same two repositories on one day,
            and their minimum share of the accounts of both. Not tuned, for the same reason.
        lockstep_stars_most: accounts with more stars on a day are collectors; their pairs would dominate all pairs.
    -#}
    {{- constants[name] -}}
{%- endmacro %}

{#- True for the window, for the archive days being rebuilt and the `after` days that depend on them, and for the
    `lookback` days before either. -#}
{% macro in_judged_days(day='day', lookback=0, after=0, window=true) -%}
    (
        {%- if window %} {{ in_window(day, lookback) }} or {% endif -%}
        {%- for days in var("archived_days") %}
            {{ day }} between date '{{ days | first }}' - {{ lookback }} and date '{{ days | last }}' + {{ after }} or
        {%- endfor %}
        false
    )
{%- endmacro %}

{#- Number of later days that depend on an archive day: through their accounts, then through the bursts of those days. -#}
{% macro days_after_accounts() -%} {{ authenticity_constant('account_days') | int - 1 }} {%- endmacro %}
{% macro days_after_authenticity() -%}
    {{ authenticity_constant('account_days') | int - 1 + authenticity_constant('held_days') | int }}
{%- endmacro %}

{#- Incremental strategy: replace the archive days and the later days whose accounts are judged by them. -#}
{% macro get_incremental_replace_account_days_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }}
    where {{ in_judged_days(after=days_after_accounts(), window=false) }};
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Incremental strategy: replace the window, the archive days and the later days that depend on them. -#}
{% macro get_incremental_replace_judged_days_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} where {{ in_judged_days(after=days_after_authenticity()) }};
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}
