-- Relationships: a UUID has one spelling, so that the same entity is found whoever writes.

-- Store the entities of a relationship with UUIDs in lower case, as PostgreSQL and ElizaOS's own
-- tables spell them.
CREATE FUNCTION public.member_relationships_before_write() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    uuid_shape CONSTANT text :=
        '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$';
BEGIN
    IF NEW.entity_id_a ~ uuid_shape THEN
        NEW.entity_id_a := lower(NEW.entity_id_a);
    END IF;
    IF NEW.entity_id_b ~ uuid_shape THEN
        NEW.entity_id_b := lower(NEW.entity_id_b);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER member_relationships_before_write
    BEFORE INSERT OR UPDATE OF entity_id_a, entity_id_b ON public.member_relationships
    FOR EACH ROW EXECUTE FUNCTION public.member_relationships_before_write();

-- Of stored rows that become the same relationship the newest one stays, and a relationship of an
-- entity with itself goes. Then the trigger gives the others their spelling.
DELETE FROM public.member_relationships AS relationship
USING (
    SELECT id, a = b OR row_number() OVER (
        PARTITION BY a, b, relationship_type ORDER BY created_at DESC, id DESC
    ) > 1 AS is_duplicate
    FROM public.member_relationships,
        LATERAL (SELECT
            CASE WHEN entity_id_a ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                THEN lower(entity_id_a) ELSE entity_id_a END AS a,
            CASE WHEN entity_id_b ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                THEN lower(entity_id_b) ELSE entity_id_b END AS b
        ) AS spelled
) AS respelled
WHERE respelled.id = relationship.id AND respelled.is_duplicate;

UPDATE public.member_relationships
SET entity_id_a = entity_id_a, entity_id_b = entity_id_b
WHERE (entity_id_a ~ '^[0-9A-Fa-f-]{36}$' AND entity_id_a ~ '[A-F]')
    OR (entity_id_b ~ '^[0-9A-Fa-f-]{36}$' AND entity_id_b ~ '[A-F]');
