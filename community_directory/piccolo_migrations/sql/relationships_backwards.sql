DROP TRIGGER member_relationships_before_write ON public.member_relationships;
DROP FUNCTION public.member_relationships_before_write();
