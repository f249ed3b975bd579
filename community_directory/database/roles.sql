-- The roles of the directory. Run this in its database after the migrations, and again after each
-- upgrade, in one transaction: as a superuser, or as a role with CREATEROLE that owns the database
-- and its tables. A second run changes nothing.
--
--   {owner}   owns the tables, and runs the migrations
--   {app}     the panel and the bots: no other objects, and no changes of the audit log
--   {reader}  reads everything except personal data and secrets
--
-- Nobody can log in as one of them. Give each program a login that is a member of one:
--
--   CREATE ROLE directory_panel LOGIN PASSWORD '...' IN ROLE {app};

SET LOCAL lock_timeout = '10s';

-- 1. The roles

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['{owner}', '{app}', '{reader}'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {owner}, {app}, {reader}', current_database());
    -- The owner creates extensions. pg_trgm is one that a superuser need not create.
    EXECUTE format('GRANT CREATE ON DATABASE %I TO {owner}', current_database());
    EXECUTE format('REVOKE CREATE ON DATABASE %I FROM PUBLIC, {app}, {reader}', current_database());
END $$;

GRANT USAGE, CREATE ON SCHEMA public TO {owner};
REVOKE CREATE ON SCHEMA public FROM PUBLIC, {app}, {reader};
GRANT USAGE ON SCHEMA public TO {app}, {reader};

DO $$
BEGIN
    IF has_schema_privilege('{app}', 'public', 'CREATE') THEN
        RAISE EXCEPTION 'permission denied to revoke CREATE on schema public'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

-- 2. The owner. An object that it owns already is not locked. Whoever owned an object before becomes
-- a member, and so loses no right, and may make the role the owner.

DO $$
DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT relowner AS former, format('TABLE %s', oid::regclass) AS described FROM pg_class
        WHERE oid = ANY(ARRAY[{owned}]::regclass[])
        UNION ALL
        SELECT proowner, format('FUNCTION %s', oid::regprocedure) FROM pg_proc
        WHERE oid = ANY(ARRAY[{functions}]::regprocedure[])
    LOOP
        IF object.former <> '{owner}'::regrole THEN
            IF NOT pg_has_role(object.former, '{owner}', 'USAGE') THEN
                EXECUTE format('GRANT {owner} TO %s', object.former::regrole);
            END IF;
            EXECUTE format('ALTER %s OWNER TO {owner}', object.described);
        END IF;
    END LOOP;
END $$;

-- 3. The privileges: those that a version before had, and this one does not need, are taken back.

REVOKE ALL ON TABLE
    {tables}
FROM PUBLIC, {app}, {reader};
REVOKE ALL ON SEQUENCE
    {sequences}
FROM PUBLIC, {app}, {reader};
REVOKE ALL ON FUNCTION
    {private_functions}
FROM PUBLIC, {app}, {reader};

{grants}
