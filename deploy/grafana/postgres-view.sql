-- A view for Grafana's PostgreSQL data source, and a role that may read it and nothing else.
--
--     psql -v ON_ERROR_STOP=1 -f deploy/grafana/postgres-view.sql postgres://owner@host/annals
--
-- Filter by stored_at, as in the dashboard: it is in the index and decides which partitions are read. A filter by
-- "time" is right as well, but reads all of a record's rows.
--
-- The view depends on the tables of the history. Before `annals migrate`, run DROP VIEW annals.samples; afterwards, run
-- this file again.
BEGIN;
CREATE OR REPLACE VIEW annals.samples AS
    SELECT to_timestamp(h.stored_at / 1000.0) AS "time",
           r.name AS record,
           h.value::jsonb AS value,
           h.stored_at
    FROM annals.history h JOIN annals.records r ON r.id = h.record_id;
COMMENT ON VIEW annals.samples IS 'The history for Grafana';
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') THEN
        CREATE ROLE grafana LOGIN;
    END IF;
END
$$;
GRANT USAGE ON SCHEMA annals TO grafana;
GRANT SELECT ON annals.samples TO grafana;
ALTER ROLE grafana SET default_transaction_read_only = on;
COMMIT;
