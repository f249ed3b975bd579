-- Drop the searched text of each member with its indexes, and the function that folds it.
ALTER TABLE public.community_members DROP COLUMN search_text;
DROP FUNCTION public.directory_search_text(text);
