{#- Constants and days of the authenticity of stars, each once, with its reason. docs/authenticity.md has the figures. -#}
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
        burst_days: of the best 3, 7 and 14 days, 7 told injected campaigns from real bursts best: fewer days hold too few
            forks, more hold more of the usual ones.
        burst_stars, burst_ratio: a burst has at least so many stars above the usual, and above so many times the usual.
        few_stars: a burst of at least so many, but fewer than burst_stars, is seen but not judged.
        forks_expected: with fewer forks expected, none of them is no news.
        few_forks_share: a burst that brought less than this share of the forks that the repository's stars come with. Of
            real bursts of 200 stars and more 2 % have less; a campaign brings none.
        forks_lost, forks_lost_share: if forks were lost, more than both, they tell nothing: on 2024-02-21 and the day after
            the platform took back 185,000 forks of 3,300 repositories.
        taken_back_share: the total is below that at the end of the burst by so much of it. Of real bursts less than 1 %.
        settled_days: forks follow stars by a day or two: judged at once, half as many real bursts again have too few.
        held_days: a burst counts in the 28-day growth for so long.
        usual_readings, usual_days_most: what is usual is the pace over the 35 readings before, five whole weeks where
            none is missing, and at most 91 days ago with the burst.
        memory_days: both, of a burst that is held. A break of the level is remembered as long: across it, nothing is
            usual.
        account_days, account_days_loaded: an account's other stars are looked for in the trailing 28 days, if the archive
            has at least 14 of them.
        accounts: of fewer accounts, shares say little.
        one_star_share, one_star_lift: accounts that starred nothing else: so large a share, and above that of the median
            repository of the day by so much. Not tuned: the recordings hold hours of the archive, no 28 days.
        lockstep_accounts, lockstep_share: so many accounts that starred the same two repositories on one day, and so
            large a share of the accounts of both. Not tuned, for the same reason.
        lockstep_stars_most: accounts with more stars on a day collect; their pairs would be most of all pairs.
    -#}
    {{- constants[name] -}}
{%- endmacro %}

{#- True for the window, for the archive days being rebuilt and the `after` days that remember them, and for `lookback`
    days before either. -#}
{% macro in_judged_days(day='day', lookback=0, after=0, window=true) -%}
    (
        {%- if window %} {{ in_window(day, lookback) }} or {% endif -%}
        {%- for days in var("archived_days") %}
            {{ day }} between date '{{ days | first }}' - {{ lookback }} and date '{{ days | last }}' + {{ after }} or
        {%- endfor %}
        false
    )
{%- endmacro %}

{#- How long an archive day is remembered: by the accounts of later days, then by the bursts of these. -#}
{% macro days_after_accounts() -%} {{ authenticity_constant('account_days') | int - 1 }} {%- endmacro %}
{% macro days_after_authenticity() -%}
    {{ authenticity_constant('account_days') | int - 1 + authenticity_constant('held_days') | int }}
{%- endmacro %}

{#- Incremental strategy: archive days, and the days after them whose accounts are judged by them. -#}
{% macro get_incremental_replace_account_days_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }}
    where {{ in_judged_days(after=days_after_accounts(), window=false) }};
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Incremental strategy: the window, archive days, and the days after these that remember them. -#}
{% macro get_incremental_replace_judged_days_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} where {{ in_judged_days(after=days_after_authenticity()) }};
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}
