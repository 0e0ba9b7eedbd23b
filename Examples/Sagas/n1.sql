CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, saga uuid NOT NULL, customer int, item int, amount int);
