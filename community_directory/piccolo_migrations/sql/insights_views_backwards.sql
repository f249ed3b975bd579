DROP VIEW public.insights_at_risk, public.insights_contributions, public.insights_daily_activity,
    public.insights_funnel, public.insights_hourly_activity, public.insights_inviters,
    public.insights_retention, public.insights_rooms, public.insights_weekly_retention,
    public.insights_members;
