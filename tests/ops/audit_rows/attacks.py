"""SQL that an intruder with the password of a context's role could try on its audit rows."""

from ops.peel.ownership import name_owner
from tests.ops.audit_rows.sessions import ROLE

OWNER = name_owner()

# Each changes, removes or hides rows, or decides about later ones, if the role owns what it owned in earlier releases.
ATTACKS = {
    "update": "UPDATE shop_auditentry SET actor = 'nobody'",
    "update after a grant": "GRANT UPDATE ON shop_auditentry TO CURRENT_USER; UPDATE shop_auditentry SET actor = 'nobody'",
    "delete": "DELETE FROM shop_auditentry",
    "truncate": "TRUNCATE shop_auditentry",
    "upsert": """INSERT INTO shop_auditentry (id, actor, action, object_type, object_id, detail)
                 SELECT id, actor, action, object_type, object_id, detail FROM shop_auditentry
                 ON CONFLICT (id) DO UPDATE SET actor = 'nobody'""",
    "merge": "MERGE INTO shop_auditentry USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "update of a view": "CREATE VIEW seen AS SELECT * FROM shop_auditentry; UPDATE seen SET actor = 'nobody'",
    "another time": """INSERT INTO shop_auditentry (at, actor, action, object_type, object_id, detail)
                       VALUES ('2020-01-01', 'nobody', 'x', 'x', 'x', '{}')""",
    "another id": """INSERT INTO shop_auditentry (id, actor, action, object_type, object_id, detail)
                     VALUES (-1, 'nobody', 'x', 'x', 'x', '{}')""",
    "drop the table": "DROP TABLE shop_auditentry CASCADE",
    "drop a column": "ALTER TABLE shop_auditentry DROP COLUMN actor",
    "rewrite a column": "ALTER TABLE shop_auditentry ALTER COLUMN actor TYPE varchar(254) USING 'nobody'",
    "backdate by a default": "ALTER TABLE shop_auditentry ALTER COLUMN at SET DEFAULT '2020-01-01'",
    "rename": "ALTER TABLE shop_auditentry RENAME TO hidden",
    "hide in a schema": "CREATE SCHEMA hidden; ALTER TABLE shop_auditentry SET SCHEMA hidden",
    "hide by row security": "ALTER TABLE shop_auditentry ENABLE ROW LEVEL SECURITY",
    "lose at the next crash": "ALTER TABLE shop_auditentry SET UNLOGGED",
    "trigger": """CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                  CREATE TRIGGER skip BEFORE INSERT ON shop_auditentry FOR EACH ROW EXECUTE FUNCTION skip()""",
    "rule": "CREATE RULE wipe AS ON INSERT TO shop_auditentry DO ALSO DELETE FROM shop_auditentry",
    "foreign key": """CREATE TABLE parent (id varchar(100) PRIMARY KEY);
                      INSERT INTO parent SELECT DISTINCT object_id FROM shop_auditentry;
                      ALTER TABLE shop_auditentry ADD FOREIGN KEY (object_id) REFERENCES parent ON DELETE CASCADE;
                      DELETE FROM parent""",
    "child table": """CREATE TABLE child () INHERITS (shop_auditentry);
                      INSERT INTO child SELECT * FROM shop_auditentry""",
    "member of an extension": "ALTER EXTENSION pg_trgm ADD TABLE shop_auditentry; DROP EXTENSION pg_trgm CASCADE",
    "drop the schema": "DROP SCHEMA public CASCADE",
    "rename the schema": "ALTER SCHEMA public RENAME TO hidden",
}  # fmt: skip

# Each would give the role what it needs for one of the attacks.
POWERS = {
    "become the owner": f"SET ROLE {OWNER}",
    "become the superuser": "SET SESSION AUTHORIZATION postgres",
    "join the owner": f"GRANT {OWNER} TO CURRENT_USER",
    "join those who write everywhere": "GRANT pg_write_all_data TO CURRENT_USER",
    "be made a superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "make roles": "CREATE ROLE helper",
    "own the table": "ALTER TABLE shop_auditentry OWNER TO CURRENT_USER",
    "own the schema": "ALTER SCHEMA public OWNER TO CURRENT_USER",
    "own the database": f"ALTER DATABASE {ROLE} OWNER TO CURRENT_USER",
    "own all of the owner": f"REASSIGN OWNED BY {OWNER} TO CURRENT_USER",
    "drop all of the owner": f"DROP OWNED BY {OWNER}",
    "replicate into it": """CREATE SUBSCRIPTION forged CONNECTION 'host=127.0.0.1 password=x' PUBLICATION forged
                            WITH (connect = false)""",
    "write without triggers": "SET session_replication_role = replica",
    "trigger on commands": """CREATE FUNCTION act() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
                              CREATE EVENT TRIGGER act ON sql_drop EXECUTE FUNCTION act()""",
    "write files": "COPY (SELECT 1) TO '/tmp/satsuma-audit'",
    "run programs": "COPY (SELECT 1) TO PROGRAM 'true'",
    "repeat ids": "SELECT setval(pg_get_serial_sequence('shop_auditentry', 'id'), 1)",
    "change the server": "ALTER SYSTEM SET zero_damaged_pages = on",
}  # fmt: skip
