DROP TRIGGER community_members_lose_counts ON public.community_members;
DROP TRIGGER community_members_joined ON public.community_members;
DROP TRIGGER community_members_change_milestones ON public.community_members;
DROP FUNCTION public.community_members_lose_counts(), public.community_members_joined(),
    public.community_members_change_milestones();
DROP TABLE public.member_milestones, public.directory_hourly_counts, public.member_monthly_rooms,
    public.member_daily_rooms, public.member_monthly_highlights;
