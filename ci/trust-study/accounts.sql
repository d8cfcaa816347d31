CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL, filler text NOT NULL);
INSERT INTO accounts SELECT i, 0, repeat('x', 80) FROM generate_series(1, 100000) AS i;
