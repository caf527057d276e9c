"""Privileges with which the role of a context could change or remove the audit rows of its database. It should have none.

`manage.py databases` gives the database and its audit table to a role that cannot log in (ops/peel/ownership.py). Every process
checks the result at start, and /ready reports privileges that were granted since.
"""

AUDIT_TABLE = "shop_auditentry"

# Roles of PostgreSQL whose members may write to every table, or to the files of the server.
_POWERFUL_ROLES = ("pg_write_all_data", "pg_write_server_files", "pg_execute_server_program")

# Rules, foreign keys and index expressions run with the rights of the table's owner. A former owner may have left some.
READ_AUDIT_PRIVILEGES_SQL = f"""
SELECT privilege
FROM pg_class audit
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_database ON datname = current_database()
JOIN pg_roles role ON rolname = current_user
CROSS JOIN LATERAL (VALUES
    ('superuser', rolsuper),
    ('CREATEROLE', rolcreaterole),
    ('member of ' || (SELECT min(name) FROM unnest(ARRAY{list(_POWERFUL_ROLES)}) name
                      WHERE pg_has_role(role.oid, name, 'MEMBER')), true),
    ('owner of the database', pg_has_role(role.oid, datdba, 'MEMBER')),
    ('owner of the schema', pg_has_role(role.oid, nspowner, 'MEMBER')),
    ('owner of the table', pg_has_role(role.oid, relowner, 'MEMBER')),
    ('UPDATE', has_any_column_privilege(role.oid, audit.oid, 'UPDATE')),
    ('DELETE', has_table_privilege(role.oid, audit.oid, 'DELETE')),
    ('TRUNCATE', has_table_privilege(role.oid, audit.oid, 'TRUNCATE')),
    ('TRIGGER', has_table_privilege(role.oid, audit.oid, 'TRIGGER')),
    ('INSERT with a time or an id', has_column_privilege(role.oid, audit.oid, 'at', 'INSERT')
                                    OR has_column_privilege(role.oid, audit.oid, 'id', 'INSERT')),
    ('rule, foreign key or index expression of the table',
     EXISTS (SELECT FROM pg_rewrite WHERE ev_class = audit.oid)
     OR EXISTS (SELECT FROM pg_constraint WHERE conrelid = audit.oid AND contype = 'f')
     OR EXISTS (SELECT FROM pg_index WHERE indrelid = audit.oid AND (indexprs IS NOT NULL OR indpred IS NOT NULL)))
) AS held (privilege, is_held)
WHERE audit.oid = to_regclass('public.{AUDIT_TABLE}') AND is_held AND privilege IS NOT NULL"""
