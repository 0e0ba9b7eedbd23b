-- A payment that happens once, however often this file is run: key, payment and answer are one transaction.
CREATE TABLE IF NOT EXISTS payments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, reference text UNIQUE, amount int NOT NULL);

DO $$
DECLARE
    request bytea := convert_to('{"reference": "invoice 12", "amount": 5}', 'UTF8');
    use record;
    answer text;
BEGIN
    SELECT * INTO use FROM tandem.once_begin('shop/payments', 'key-1', sha256(request));
    IF use.outcome = 'first' THEN
        INSERT INTO payments (reference, amount) VALUES ('invoice 12', 5) RETURNING format('{"id": %s}', id) INTO answer;
        PERFORM tandem.once_finish('shop/payments', 'key-1', 201, body => convert_to(answer, 'UTF8'));
    END IF;
END
$$;

SELECT status, convert_from(body, 'UTF8') FROM tandem.idempotency_look_up('shop/payments', 'key-1', sha256(convert_to('{"reference": "invoice 12", "amount": 5}', 'UTF8')));
