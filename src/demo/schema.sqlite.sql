-- The demo's tables and its fixture. The same rows on every machine.
-- Runs inside one transaction.

CREATE TABLE users (
    id          INTEGER PRIMARY KEY,
    email       TEXT    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,               -- seconds since 1970
    total_grams INTEGER NOT NULL DEFAULT 0      -- sum over the user's emissions
) STRICT;

CREATE TABLE roles (
    id   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE permissions (
    id       INTEGER PRIMARY KEY,
    resource TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    UNIQUE (resource, action)
) STRICT;

CREATE TABLE user_roles (
    user_id INTEGER NOT NULL REFERENCES users (id),
    role_id INTEGER NOT NULL REFERENCES roles (id),
    PRIMARY KEY (user_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE role_permissions (
    role_id       INTEGER NOT NULL REFERENCES roles (id),
    permission_id INTEGER NOT NULL REFERENCES permissions (id),
    PRIMARY KEY (role_id, permission_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY,
    user_id       INTEGER NOT NULL REFERENCES users (id),
    status        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    last_activity INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE emissions (
    id          INTEGER PRIMARY KEY,
    user_id     INTEGER NOT NULL REFERENCES users (id),
    kind        TEXT    NOT NULL,
    grams       INTEGER NOT NULL,               -- whole grams, so that sums are exact in any order
    recorded_at INTEGER NOT NULL
) STRICT;

-- Every twentieth user has no role: the case that naive aggregation gets wrong.
INSERT INTO users (id, email, name, status, created_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
SELECT i, 'user' || i || '@example.com', 'User ' || i, iif(i % 50 = 0, 'inactive', 'active'), 1700000000 + i FROM n;

INSERT INTO roles (id, name)
VALUES (1, 'admin'), (2, 'manager'), (3, 'analyst'), (4, 'auditor'), (5, 'member');

INSERT INTO permissions (id, resource, action)
SELECT row_number() OVER (ORDER BY r.key, a.key), r.value, a.value
FROM json_each('["users","sessions","emissions","reports"]') AS r, json_each('["read","write","delete"]') AS a;

-- Role k may do everything whose permission id is a multiple of k.
INSERT INTO role_permissions (role_id, permission_id)
SELECT roles.id, permissions.id FROM roles JOIN permissions ON permissions.id % roles.id = 0;

INSERT INTO user_roles (user_id, role_id)
SELECT users.id, roles.id FROM users JOIN roles
ON users.id % 20 <> 0 AND (roles.id = 1 + users.id % 5 OR (users.id % 3 = 0 AND roles.id = 1 + (users.id + 2) % 5));

INSERT INTO sessions (id, user_id, status, created_at, last_activity, expires_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
SELECT i, 1 + (i * 7919) % 10000, 'active', 1700000000 + i, 1700003600 + i, 4102444800 FROM n;

INSERT INTO emissions (id, user_id, kind, grams, recorded_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
SELECT i, 1 + (i * 7919) % 10000, json_extract('["travel","heating","freight","power"]', '$[' || (i % 4) || ']'),
       100 + (i * 104729) % 99900, 1700000000 + i FROM n;

CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX emissions_user ON emissions (user_id);

UPDATE users SET total_grams = (SELECT coalesce(sum(grams), 0) FROM emissions WHERE user_id = users.id);
