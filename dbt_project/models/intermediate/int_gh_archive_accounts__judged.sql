{{ config(incremental_strategy='replace_account_days') }}

{%- set account_days = authenticity_constant('account_days') | int %}

with

-- each account and repository once a day, in any file
stars as (

    select distinct
        day,
        repo_ref,
        actor_hash
    from {{ ref('stg_gh_archive__stars') }}
    where
        {{ in_judged_days(lookback=account_days - 1, after=days_after_accounts(), window=false) }}
        and actor_hash is not null

),

repo_days as (

    select
        day,
        repo_ref,
        count(*) as accounts
    from stars
    where {{ in_judged_days(after=days_after_accounts(), window=false) }}
    group by day, repo_ref
    having count(*) >= {{ authenticity_constant('lockstep_accounts') }}

),

-- other stars of the accounts in the days before, only of accounts that count
accounts as (

    select distinct stars.actor_hash
    from stars
    semi join repo_days on stars.day = repo_days.day and stars.repo_ref = repo_days.repo_ref

),

histories as (

    select
        stars.*,
        lag(stars.day) over by_day as previous_day,
        count(*) over (partition by stars.actor_hash, stars.day) as stars_of_day
    from stars
    semi join accounts on stars.actor_hash = accounts.actor_hash
    window by_day as (partition by stars.actor_hash order by stars.day)

),

judged_stars as (

    select
        histories.*,
        repo_days.accounts,
        histories.stars_of_day = 1
        and coalesce(histories.previous_day <= histories.day - {{ account_days }}, true) as is_one_star
    from histories
    inner join repo_days on histories.day = repo_days.day and histories.repo_ref = repo_days.repo_ref

),

pairs as (

    select
        one.day,
        one.repo_ref,
        other.repo_ref as other_ref,
        one.accounts,
        count(*) as common_accounts
    from judged_stars as one
    inner join judged_stars as other
        on one.day = other.day and one.actor_hash = other.actor_hash and one.repo_ref <> other.repo_ref
    where one.stars_of_day between 2 and {{ authenticity_constant('lockstep_stars_most') }}
    group by one.day, one.repo_ref, other.repo_ref, one.accounts, other.accounts
    having
        count(*) >= {{ authenticity_constant('lockstep_accounts') }}
        and count(*) >= {{ authenticity_constant('lockstep_share') }} * greatest(one.accounts, other.accounts)

),

lockstep as (

    select
        day,
        repo_ref,
        count(*) as lockstep_repos,
        max(common_accounts) as lockstep_accounts
    from pairs
    group by day, repo_ref

),

days as (

    select
        day,
        -- earlier days in which an account's stars can be looked up
        count(*) over (
            order by day range between interval {{ account_days - 1 }} days preceding and interval 1 day preceding
        ) as days_loaded
    from stars
    group by day

),

counted as (

    select
        day,
        repo_ref,
        accounts,
        count(*) filter (where is_one_star) as one_star_accounts
    from judged_stars
    group by day, repo_ref, accounts

),

shared as (

    select
        counted.*,
        case
            when days.days_loaded >= {{ authenticity_constant('account_days_loaded') }}
                then counted.one_star_accounts::double / counted.accounts
        end as one_star_share
    from counted
    inner join days on counted.day = days.day

),

compared as (

    select
        *,
        median(one_star_share) over (partition by day) as usual_one_star_share
    from shared

),

final as (

    select
        compared.day,
        compared.repo_ref,
        compared.accounts,
        compared.one_star_accounts,
        round(compared.one_star_share, 4) as one_star_share,
        round(compared.usual_one_star_share, 4) as usual_one_star_share,
        coalesce(lockstep.lockstep_accounts, 0) as lockstep_accounts,
        coalesce(lockstep.lockstep_repos, 0) as lockstep_repos,
        case
            when compared.one_star_share is not null
                then
                    compared.accounts >= {{ authenticity_constant('accounts') }}
                    and compared.one_star_share >= {{ authenticity_constant('one_star_share') }}
                    and compared.one_star_share - compared.usual_one_star_share
                    >= {{ authenticity_constant('one_star_lift') }}
        end as is_one_star,
        lockstep.day is not null as is_lockstep
    from compared
    left join lockstep on compared.day = lockstep.day and compared.repo_ref = lockstep.repo_ref
    order by compared.day, compared.repo_ref

)

select * from final
