CREATE TABLE purse (customer int PRIMARY KEY, money int NOT NULL CHECK (money >= 0));
INSERT INTO purse VALUES (1, 100);
CREATE TABLE payment (order_id bigint NOT NULL, amount int NOT NULL);
