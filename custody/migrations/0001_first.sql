-- Constraints do the guarding: what they forbid, no bug above them can do.

-- A time that every reader can read: beyond these years one row would stop them all.
CREATE DOMAIN moment AS timestamptz CHECK (VALUE BETWEEN '2000-01-01 UTC' AND '9999-12-30 UTC');

CREATE TABLE signer (
  audit_key text PRIMARY KEY,
  policy bytea NOT NULL,
  policy_digest text NOT NULL,
  book_version integer NOT NULL,
  book_digest text NOT NULL,
  seen moment NOT NULL,
  locked text NOT NULL DEFAULT '',
  locked_message text NOT NULL DEFAULT '',
  proposals jsonb NOT NULL DEFAULT '[]',
  epoch text NOT NULL DEFAULT '',
  freezes jsonb NOT NULL DEFAULT '[]',
  lease_until bigint NOT NULL DEFAULT 0 CHECK (lease_until BETWEEN 0 AND 253402300799999),
  watchtower text NOT NULL DEFAULT '',
  journal text NOT NULL DEFAULT ''
);

-- Every policy that a signer had in force, in the order in which custody learned of them.
CREATE TABLE policy_seen (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  digest text NOT NULL UNIQUE,
  file bytea NOT NULL
);

-- `changes`: a kura.signer.v1.PolicyVersion. `earliest`: Unix ms from which it can be in force, 0 when nobody knows.
CREATE TABLE policy_version (
  sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  digest text PRIMARY KEY,
  version integer NOT NULL CHECK (version > 0),
  file bytea NOT NULL CHECK (octet_length(file) <= 262144),
  changes bytea NOT NULL,
  people text NOT NULL,
  state text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'DELAYED', 'APPLIED', 'REFUSED')),
  earliest bigint NOT NULL DEFAULT 0 CHECK (earliest BETWEEN 0 AND 253402300799999),
  refusal_code text NOT NULL DEFAULT '' CHECK (state <> 'REFUSED' OR refusal_code <> ''),
  refusal_message text NOT NULL DEFAULT '',
  ask_at moment NOT NULL DEFAULT now(),
  create_time moment NOT NULL DEFAULT now()
);

CREATE INDEX policy_version_open ON policy_version (ask_at) WHERE state IN ('PENDING', 'DELAYED');

-- `change`: digest of the policy version that `person` stops.
CREATE TABLE veto (
  change text NOT NULL,
  person text NOT NULL,
  statement bytea NOT NULL,
  signature bytea NOT NULL,
  state text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'APPLIED', 'REFUSED')),
  refusal_code text NOT NULL DEFAULT '' CHECK (state <> 'REFUSED' OR refusal_code <> ''),
  refusal_message text NOT NULL DEFAULT '',
  ask_at moment NOT NULL DEFAULT now(),
  create_time moment NOT NULL DEFAULT now(),
  PRIMARY KEY (change, person)
);

CREATE INDEX veto_open ON veto (ask_at) WHERE state = 'PENDING';

-- Freezes, by the digest of the order, and what lifts them (`wallet` is '' then), by the digest of the epoch that begins.
-- `apply`: a kura.signer.v1.Apply.
CREATE TABLE freeze_order (
  sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  digest text PRIMARY KEY,
  wallet text NOT NULL,
  people text NOT NULL,
  apply bytea NOT NULL,
  state text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'APPLIED', 'REFUSED')),
  refusal_code text NOT NULL DEFAULT '' CHECK (state <> 'REFUSED' OR refusal_code <> ''),
  refusal_message text NOT NULL DEFAULT '',
  ask_at moment NOT NULL DEFAULT now(),
  create_time moment NOT NULL DEFAULT now()
);

CREATE INDEX freeze_order_open ON freeze_order (ask_at) WHERE state = 'PENDING';

-- `retired`: the version that the signer's book went back to, when this one was in force before; NULL otherwise.
CREATE TABLE book_version (
  version integer NOT NULL CHECK (version > 0),
  digest text PRIMARY KEY,
  statement bytea NOT NULL,
  changes bytea NOT NULL,
  applied boolean NOT NULL DEFAULT false,
  refusal text NOT NULL DEFAULT '',
  retired integer CHECK (retired IS NULL OR (retired >= 0 AND NOT applied))
);

CREATE UNIQUE INDEX book_version_number ON book_version (version) WHERE retired IS NULL;

CREATE TABLE book_entry (
  network text NOT NULL,
  address text NOT NULL,
  memo text NOT NULL,
  label text NOT NULL,
  sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  ends text NOT NULL GENERATED ALWAYS AS (lower((left(address, 4) || right(address, 4)) COLLATE "C")) STORED,
  PRIMARY KEY (network, address, memo)
);

CREATE INDEX book_entry_ends ON book_entry (network, ends, sequence);

-- Base units. `total` is what our own books say; `minimum` is what the chain wants to stay in the account; `set_aside` is
-- what came in for the withdrawals that wait longest for funds.
CREATE TABLE balance (
  wallet text PRIMARY KEY,
  asset text NOT NULL,
  total bigint NOT NULL DEFAULT 0,
  in_use bigint NOT NULL DEFAULT 0,
  set_aside bigint NOT NULL DEFAULT 0 CHECK (set_aside >= 0),
  minimum bigint NOT NULL DEFAULT 0 CHECK (minimum >= 0),
  CHECK (in_use >= 0 AND in_use + set_aside <= total)
);

CREATE TABLE withdrawal (
  sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  digest text PRIMARY KEY,
  requester text NOT NULL,
  request_id text NOT NULL,
  statement bytea NOT NULL CHECK (octet_length(statement) <= 8192), -- 64 of them fit into a frame
  signature bytea NOT NULL,
  wallet text NOT NULL,
  network text NOT NULL,
  asset text NOT NULL,
  address text NOT NULL,
  memo text NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  expires bigint NOT NULL CHECK (expires BETWEEN 0 AND 253402300799999), -- the year 9999
  state text NOT NULL CHECK (state IN ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'SIGNED', 'BROADCASTING',
    'CONFIRMING', 'COMPLETED', 'ENDING', 'BLOCKED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED')),
  ending text NOT NULL DEFAULT '' CHECK (ending IN ('', 'BLOCKED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED')),
  waiting_for text NOT NULL DEFAULT '',
  retry_at moment NOT NULL DEFAULT now(),
  introduce_at moment DEFAULT now(), -- when the signer is to see it first; NULL once it did
  reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  set_aside bigint NOT NULL DEFAULT 0 CHECK (set_aside >= 0 AND (set_aside = 0 OR state = 'QUEUED')),
  nonce_index integer CHECK (nonce_index >= 0),
  nonce_value bytea CHECK (octet_length(nonce_value) = 32),
  unit_price bigint NOT NULL DEFAULT 0 CHECK (unit_price >= 0),
  transaction bytea,
  transaction_id text UNIQUE,
  fee bigint,
  receipt bytea, -- the signer's newest: of its signature, then of its tombstone
  acknowledged boolean NOT NULL DEFAULT false, -- by the watchtower, that receipt
  refused_by text NOT NULL DEFAULT '',
  refusal_code text NOT NULL DEFAULT '',
  refusal_rule text NOT NULL DEFAULT '',
  refusal_message text NOT NULL DEFAULT '',
  create_time moment NOT NULL DEFAULT now(),
  update_time moment NOT NULL DEFAULT now(),
  trace text NOT NULL DEFAULT '',
  UNIQUE (request_id, requester), -- in this order, for whoever looks for a request_id of any requester
  CHECK ((ending <> '') = (state = 'ENDING')),
  CHECK ((transaction IS NULL) = (state IN ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'BLOCKED', 'REJECTED', 'CANCELLED',
    'EXPIRED') OR state = 'ENDING' AND ending <> 'FAILED')),
  CHECK (receipt IS NOT NULL OR transaction IS NULL AND state IN ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'ENDING')),
  CHECK (acknowledged OR state NOT IN ('BROADCASTING', 'CONFIRMING', 'COMPLETED')),
  CHECK (receipt IS NOT NULL OR NOT acknowledged)
);

CREATE INDEX withdrawal_live ON withdrawal (state, retry_at) WHERE state IN
  ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'SIGNED', 'BROADCASTING', 'CONFIRMING', 'ENDING');
CREATE INDEX withdrawal_introduce ON withdrawal (introduce_at) WHERE introduce_at IS NOT NULL
  AND state IN ('PENDING_APPROVAL', 'QUEUED');
CREATE INDEX withdrawal_receipt ON withdrawal (retry_at) WHERE receipt IS NOT NULL AND NOT acknowledged;
CREATE INDEX withdrawal_requester ON withdrawal (requester, sequence);
CREATE INDEX withdrawal_wallet ON withdrawal (wallet, sequence);
CREATE INDEX withdrawal_live_sequence ON withdrawal (sequence) WHERE state IN
  ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'SIGNED', 'BROADCASTING', 'CONFIRMING', 'ENDING');

CREATE TABLE approval (
  sequence bigint GENERATED ALWAYS AS IDENTITY,
  withdrawal text NOT NULL REFERENCES withdrawal,
  digest text NOT NULL,
  approver text NOT NULL,
  decision text NOT NULL CHECK (decision IN ('approve', 'reject')),
  policy text NOT NULL,
  expires bigint NOT NULL,
  statement bytea NOT NULL,
  signature bytea NOT NULL,
  PRIMARY KEY (withdrawal, approver, decision)
);

-- A pool of durable nonces: each stands in at most one transaction under way.
-- `journal`: the signer's, since which no transaction of an earlier one can use the account.
CREATE TABLE nonce (
  wallet text NOT NULL,
  index integer NOT NULL CHECK (index >= 0),
  value bytea CHECK (octet_length(value) = 32),
  spent bytea CHECK (octet_length(spent) = 32),
  holder text UNIQUE REFERENCES withdrawal,
  opening_id text,
  opening_transaction bytea,
  opening_receipt bytea,
  acknowledged boolean NOT NULL DEFAULT false,
  opening_time moment NOT NULL DEFAULT now(),
  retry_at moment NOT NULL DEFAULT now(),
  reserved bigint NOT NULL DEFAULT 0,
  journal text NOT NULL,
  PRIMARY KEY (wallet, index)
);

-- Nonce values to be used up, so that no transaction which stands on one can land any more.
CREATE TABLE advance (
  wallet text NOT NULL,
  index integer NOT NULL CHECK (index >= 0),
  value bytea NOT NULL CHECK (octet_length(value) = 32),
  done boolean NOT NULL DEFAULT false,
  journal text NOT NULL DEFAULT '',
  transaction bytea,
  transaction_id text UNIQUE,
  receipt bytea,
  acknowledged boolean NOT NULL DEFAULT false,
  reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  retry_at moment NOT NULL DEFAULT now(),
  PRIMARY KEY (wallet, index, value),
  CHECK (num_nulls(transaction, transaction_id, receipt) IN (0, 3))
);

CREATE INDEX advance_open ON advance (retry_at) WHERE NOT done;

-- Every movement of our books. Only added to.
CREATE TABLE ledger_entry (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  wallet text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('inflow', 'withdrawal', 'fee', 'nonce')),
  amount bigint NOT NULL,
  reference text NOT NULL,
  time moment NOT NULL DEFAULT now(),
  UNIQUE (kind, reference)
);

-- The audit log. Rows are added by the transactions they tell of, then sealed: given their position in the chain.
-- `requester`: whose withdrawal a WITHDRAWAL tells of, to find it by; not part of the chain.
CREATE TABLE event (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  time moment NOT NULL DEFAULT clock_timestamp(),
  kind text NOT NULL CHECK (kind IN ('WITHDRAWAL', 'ORDER', 'REFUSAL', 'SIGN_IN', 'CONFIGURATION')),
  event text NOT NULL,
  actor text NOT NULL,
  subject text NOT NULL,
  details jsonb NOT NULL CHECK (jsonb_typeof(details) = 'object'),
  requester text NOT NULL DEFAULT '' CHECK (requester = '' OR kind = 'WITHDRAWAL'),
  position bigint UNIQUE CHECK (position > 0),
  previous text,
  hash text,
  CHECK (num_nulls(position, previous, hash) IN (0, 3))
);

CREATE INDEX event_unsealed ON event (sequence) WHERE position IS NULL;
CREATE INDEX event_withdrawal ON event (position) WHERE kind = 'WITHDRAWAL';
CREATE INDEX event_requester ON event (requester, position) WHERE requester <> '';

-- Nothing is changed or deleted; an event is sealed once.
CREATE FUNCTION only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'event' THEN
    IF OLD.position IS NULL AND (NEW.sequence, NEW.time, NEW.kind, NEW.event, NEW.actor, NEW.subject, NEW.details,
      NEW.requester) = (OLD.sequence, OLD.time, OLD.kind, OLD.event, OLD.actor, OLD.subject, OLD.details, OLD.requester) THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'table % is only added to', TG_TABLE_NAME;
END $$;

CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION only_added_to();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION only_added_to();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON ledger_entry FOR EACH ROW EXECUTE FUNCTION only_added_to();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON ledger_entry FOR EACH STATEMENT EXECUTE FUNCTION only_added_to();
