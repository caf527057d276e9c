"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Mutant

RULE = "docs/deploy.md: the role of a context can append audit rows and read them, and nothing else"
ATTACK = "tests/ops/audit_rows/test_attacks.py::test_the_role_can_neither_change_nor_remove_rows"
PRIVILEGE = (
    "tests/ops/audit_rows/test_privileges.py::test_a_privilege_with_which_rows_could_be_changed_is_found_and_taken"
)

MUTANTS = (
    Mutant(
        name="audit_table_belongs_to_its_role",
        what="the role of a context keeps the audit table that it has created",
        rule=RULE,
        module="ops.peel.ownership",
        replace='"ALTER TABLE public.{table} OWNER TO {owner}"',
        by='"ALTER TABLE public.{table} OWNER TO {role}"',
        caught_by=f"{PRIVILEGE}[owner of the table]",
    ),
    Mutant(
        name="schema_belongs_to_its_role",
        what="the role of a context owns the schema, and can drop the audit table with it",
        rule=RULE,
        module="ops.peel.ownership",
        replace="ALTER SCHEMA public OWNER TO pg_database_owner;",
        by="ALTER SCHEMA public OWNER TO {role};",
        caught_by=f"{ATTACK}[drop the schema]",
    ),
    Mutant(
        name="database_belongs_to_its_role",
        what="the role of a context owns the database, and with it the schema",
        rule=RULE,
        module="ops.peel.ownership",
        replace="ALTER DATABASE {database} OWNER TO {owner};",
        by="ALTER DATABASE {database} OWNER TO {role};",
        caught_by="tests/ops/audit_rows/test_attacks.py::test_a_role_cannot_drop_or_rename_its_database",
    ),
    Mutant(
        name="audit_rows_can_be_updated",
        what="the role of a context may update audit rows",
        rule=RULE,
        module="ops.peel.ownership",
        replace="GRANT SELECT, INSERT ({columns})",
        by="GRANT SELECT, UPDATE, INSERT ({columns})",
        caught_by=f"{ATTACK}[update]",
    ),
    Mutant(
        name="audit_time_can_be_chosen",
        what="the role of a context may write the time of an audit row",
        rule=RULE,
        module="ops.peel.ownership",
        replace='SET_BY_THE_DATABASE = ("id", "at")',
        by='SET_BY_THE_DATABASE = ("id",)',
        caught_by=f"{ATTACK}[another time]",
    ),
    Mutant(
        name="audit_privileges_are_kept",
        what="`manage.py databases` leaves privileges that were granted since",
        rule=RULE,
        module="ops.peel.ownership",
        replace="REVOKE ALL ON public.{table} FROM PUBLIC, {role};",
        by="",
        caught_by=f"{PRIVILEGE}[DELETE]",
    ),
    Mutant(
        name="audit_table_stays_unlocked",
        what="a role for which the audit table was unlocked may change it for ever",
        rule="docs/deploy.md: until `manage.py databases` runs again",
        module="ops.peel.ownership",
        replace="    for (grantor,) in grantors:",
        by="    for (grantor,) in grantors[:0]:",
        caught_by=f"{PRIVILEGE}[owner of the database]",
    ),
    Mutant(
        name="audit_table_is_not_unlocked",
        what="no role may ever change the audit table, so a migration of it fails",
        rule="docs/deploy.md: a migration of the audit table runs after `manage.py databases --unlock-audit-tables`",
        module="ops.management.commands.databases",
        replace="unlock_audit_table=unlock_audit_table)",
        by="unlock_audit_table=False)",
        caught_by="tests/ops/audit_rows/test_shops.py::test_a_migration_of_the_audit_table_needs_it_unlocked",
    ),
    Mutant(
        name="audit_privileges_are_not_reported",
        what="/ready says nothing of a role that can change audit rows",
        rule="docs/deploy.md: /ready reports what lets a role change audit rows",
        module="shop.http.health",
        replace='"audit_privileges": audit_privileges,',
        by='"audit_privileges": [],',
        caught_by="tests/ops/audit_rows/test_privileges.py::test_a_role_that_can_change_audit_rows_is_reported_at_start_and_by_ready",
    ),
    Mutant(
        name="audit_membership_is_not_found",
        what="a role that does not inherit from the owner, but can become it, passes for harmless",
        rule="docs/deploy.md: the check at start finds what lets a role change audit rows",
        module="shop.db.postgres.audit_privileges",
        replace="pg_has_role(role.oid, datdba, 'MEMBER')",
        by="pg_has_role(role.oid, datdba, 'USAGE')",
        caught_by=f"{PRIVILEGE}[owner of the database]",
    ),
    Mutant(
        name="moved_audit_table_belongs_to_its_role",
        what="after a move the role of the context owns its audit table",
        rule=RULE,
        module="ops.peel.move",
        replace="        self.new.limit_role()\n",
        by="",
        caught_by="tests/ops/peel/test_move.py::test_audit_rows_move_and_return_and_no_role_can_change_them",
    ),
)
