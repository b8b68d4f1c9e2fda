-- The peer's tables: the service's model without what only the service needs. Numbers come from a plain
-- sequence, which costs least; a reader who follows them can skip fixes that are committed late.

CREATE TABLE trackers (
    id integer PRIMARY KEY,
    generation integer NOT NULL DEFAULT 1,
    previous_valid_until timestamptz,
    disabled_at timestamptz
);

-- A fix belongs to the vessel of the newest assignment that starts no later than the fix.
CREATE TABLE assignments (
    tracker_id integer NOT NULL REFERENCES trackers,
    starts_at timestamptz NOT NULL,
    vessel_id integer NOT NULL,
    PRIMARY KEY (tracker_id, starts_at)
);

CREATE TABLE positions (
    vessel_id integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    tracker_id integer NOT NULL,
    received_at timestamptz NOT NULL,
    lat double precision NOT NULL,
    lon double precision NOT NULL,
    sog real,
    cog real,
    heading real,
    nav_status smallint,
    accuracy_m real,
    battery_v real,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (vessel_id, recorded_at, tracker_id)
);

CREATE TABLE latest_positions (
    vessel_id integer PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    tracker_id integer NOT NULL,
    received_at timestamptz NOT NULL,
    lat double precision NOT NULL,
    lon double precision NOT NULL,
    sog real,
    cog real,
    heading real,
    nav_status smallint,
    accuracy_m real,
    battery_v real,
    seq bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE quarantine (
    vessel_id integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    tracker_id integer NOT NULL,
    received_at timestamptz NOT NULL,
    reason text NOT NULL,
    fix jsonb NOT NULL,
    PRIMARY KEY (vessel_id, recorded_at, tracker_id)
);

CREATE TABLE vessels (
    id integer PRIMARY KEY,
    name text NOT NULL,
    imo text,
    mmsi text,
    call_sign text,
    flag text,
    kind text,
    length_m real,
    beam_m real,
    draught_m real,
    max_speed_kn real,
    retired_at timestamptz
);

CREATE TABLE api_keys (
    id integer PRIMARY KEY,
    sha256 bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    all_vessels boolean NOT NULL,
    delay_s integer NOT NULL,
    coordinate_decimals smallint,
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE grants (
    api_key_id integer NOT NULL REFERENCES api_keys,
    vessel_id integer NOT NULL REFERENCES vessels,
    PRIMARY KEY (api_key_id, vessel_id)
);
