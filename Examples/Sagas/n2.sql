CREATE TABLE stock (item int PRIMARY KEY, count int NOT NULL CHECK (count >= 0));
INSERT INTO stock VALUES (7, 10);
